"""The server itself: groups of work, definitions that change, changes told, keys, figures.

Begin with `service`; `opening` makes one.
"""
