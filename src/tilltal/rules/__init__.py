"""The expression dialect: parse and type-check once, then emit SQL text or Python.

No I/O, no other way to write a condition. Begin with `expression`.
"""
