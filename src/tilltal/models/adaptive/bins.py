"""Bins: which of few values a predictor takes. Bin 0 is NULL; bins never change while a model learns."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Protocol
from zlib import crc32

import msgspec

from tilltal.rules.types import Type

_NUMBERS = (int, float)
_PARTS = 32  # of equal mass; fine, since `grouping` joins what holds too few answers
_VALUES = 32
_STEPS = tuple(step * 10.0**power for power in range(-2, 7) for step in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
_ROUND = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)
_LUSTRA = tuple(float(date(year, 1, 1).toordinal()) for year in range(1930, 2061, 5))


class Bins(Protocol):
    """Maps a value to a bin below `size`."""

    @property
    def size(self) -> int:
        """How many bins there are, that of NULL included."""

    def of(self, value: object) -> int:
        """Return a value's bin."""


class Borders(msgspec.Struct, frozen=True, tag="borders"):
    """Numbers, booleans, dates and instants (in days since year 1): bin i + 1 begins at border i."""

    borders: tuple[float, ...]

    @property
    def size(self) -> int:
        """One more than spans, for NULL."""
        return len(self.borders) + 2

    def of(self, value: object) -> int:
        """Return the bin of a number or date; anything else counts as NULL."""
        if isinstance(value, _NUMBERS):
            return bisect_right(self.borders, value) + 1 if value == value else 0
        return bisect_right(self.borders, days(value)) + 1 if isinstance(value, date) else 0


class Listed(msgspec.Struct, frozen=True, tag="listed"):
    """Texts that are known beforehand, and one bin for all others."""

    texts: tuple[str, ...]

    @property
    def size(self) -> int:
        """NULL, others, and each text."""
        return len(self.texts) + 2

    def of(self, value: object) -> int:
        """Return the bin of a text."""
        if value is None:
            return 0
        return self.texts.index(value) + 2 if value in self.texts else 1


class Hashed(msgspec.Struct, frozen=True, tag="hashed"):
    """Texts of which nothing is known beforehand, spread over bins by their checksum."""

    buckets: int = _VALUES

    @property
    def size(self) -> int:
        """One more than buckets, for NULL."""
        return self.buckets + 1

    def of(self, value: object) -> int:
        """Return the bin of a text."""
        return 0 if value is None else crc32(str(value).encode()) % self.buckets + 1


AnyBins = Borders | Listed | Hashed


def days(value: date) -> float:
    """Return a date's or an instant's days since year 1, with the fraction of the day."""
    if isinstance(value, datetime):
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return value.toordinal() + seconds / 86400
    return float(value.toordinal())


def plain_bins(kind: Type) -> AnyBins:
    """Return bins for a type of which no values are known: round numbers, checksums of texts.

    >>> plain_bins(Type.NUMBER).of(99.0) == plain_bins(Type.NUMBER).of(80.0)
    True
    """
    match kind:
        case Type.BOOLEAN:
            return Borders((1.0,))
        case Type.INTEGER | Type.NUMBER:
            return Borders(_ROUND)
        case Type.DATE | Type.TIMESTAMP:
            return Borders(_LUSTRA)
    return Hashed()


def bins_from(values: Iterable[object], kind: Type) -> AnyBins:
    """Return bins that follow the values of a snapshot: parts of equal mass, or the commonest texts.

    >>> bins_from(range(100), Type.INTEGER).size
    33
    """
    present = [value for value in values if value is not None]
    if not present or kind is Type.BOOLEAN:
        return plain_bins(kind)
    if kind in (Type.TEXT, Type.ANY):
        counted = sorted(Counter(map(str, present)).items(), key=lambda item: (-item[1], item[0]))
        return Listed(tuple(sorted(text for text, _ in counted[:_VALUES])))
    numbers = sorted(_number(each) for each in present)
    cuts = {numbers[len(numbers) * part // _PARTS] for part in range(1, _PARTS)}
    return Borders(tuple(sorted(cuts - {numbers[0]})))


def _number(value: object) -> float:
    return days(value) if isinstance(value, date) else float(str(value))
