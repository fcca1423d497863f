"""The HTTP face: routes, keys, limits and errors. It has no logic of its own: `runtime.live` does the work.

Begin with `app`.
"""
