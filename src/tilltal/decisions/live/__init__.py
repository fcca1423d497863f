"""Deciding for one customer within microseconds; `decisions.single` is the meaning.

Begin with `decider`.
"""
