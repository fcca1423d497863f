"""Reasons in words that a customer understands, one catalogue a language.

Begin with `saying`.
"""
