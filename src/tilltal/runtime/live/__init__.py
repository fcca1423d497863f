"""The server's inside: messages in, states and decisions out, one transaction per micro-batch.

Begin with `serving.service`; `contract` says what it offers.
"""
