"""What counts as a number and which values are the same, for fields that may hold any JSON scalar."""

from __future__ import annotations

import json
from collections.abc import Iterable


def numbers_in(values: Iterable[object], *, as_floats: bool) -> list[float]:
    """Return the numbers among values; texts and booleans are never converted."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return [float(number) for number in numbers] if as_floats else numbers


def distinct_key(value: object) -> object:
    """Return a key that is equal for equal values: 1 and 1.0 are one value, 1, true and '1' are three.

    A list or a mapping, which is no scalar and should not come, is its JSON text, as in a store.
    """
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return (isinstance(value, bool), value)
