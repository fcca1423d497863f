"""What counts as a number and which values are the same, for fields that may hold any JSON scalar."""

from __future__ import annotations


def number_of(value: object) -> float | int | None:
    """Return a value if it is a number; texts and booleans are never converted."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def distinct_key(value: object) -> object:
    """Return a key that is equal for equal values: 1 and 1.0 are one value, 1, true and '1' are three."""
    return (isinstance(value, bool), value)
