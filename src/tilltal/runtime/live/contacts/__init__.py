"""Contacts while serving: reserved, committed and released in the operational store, so that caps hold.

Begin with `contract`, then `books`.
"""
