"""Storage: the store's folders, and writing so that a crash leaves the old or the new.

Begin with `store`.
"""
