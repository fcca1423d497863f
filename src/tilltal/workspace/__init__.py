"""A bank's definitions as text files: load, check, and what they may refer to.

Begin with `load`; the shapes are in `definitions`.
"""
