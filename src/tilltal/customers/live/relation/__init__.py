"""The lifecycle of one customer from mergeable facts.

Begin with `plan`.
"""
