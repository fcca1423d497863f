"""Who may know what: pseudonyms and the vault of direct identifiers.

Begin with `pseudonyms`.
"""
