"""Linking while customers live: records are compared as they arrive, behind the log.

Begin with `linking`; `verdicts` is what a person takes back.
"""
