"""A workspace's own cases, run by the code that refreshes and decides.

Begin with `testing`.
"""
