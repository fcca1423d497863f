"""The Segment tracking protocol: from bodies of clients to messages of the live service.

It checks form only (JSON, sizes, ids that are text, instants that can be read); what a message means and
whether it is kept is for `runtime.live` and the contract of its source. Begin with `messages`.
"""
