"""Contracts of sources for single messages: the Python form of what SQL checks in files.

Begin with `contract`, for which `writing` writes one function; `router` finds the contracts of a message.
"""
