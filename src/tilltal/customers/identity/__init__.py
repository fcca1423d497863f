"""Identity: which identifiers belong to one person. Not where they come from, nor how they are kept secret.

Begin with `graph.resolve`, the rules in their plainest form; `bulk.resolve_table` does the same for millions.
"""
