"""Traits: measures over a customer's events.

Begin with `compiled`; `batch` makes SQL, `online` evaluates in Python, `timeline` finds instants of change.
"""
