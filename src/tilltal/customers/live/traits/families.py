"""What must be remembered of events so that traits can be told from it.

Traits that differ in their measures and windows only are one family.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from tilltal.core.time import Window
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure

Need = Literal["count", "numbers", "sum", "least", "most", "first", "last", "latest", "keys", "quarters"]

ALL_NEEDS: tuple[Need, ...] = (
    "count", "numbers", "sum", "least", "most", "first", "last", "latest", "keys", "quarters",
)  # fmt: skip
NEEDS: Mapping[Measure, tuple[Need, ...]] = {
    "count": ("count",),
    "exists": ("count",),
    "sum": ("numbers", "sum"),
    "avg": ("numbers", "sum"),
    "min": ("least",),
    "max": ("most",),
    "first": ("first",),
    "last": ("last",),
    "recency": ("latest",),
    "distinct": ("keys",),
}

Key = tuple[tuple[str, ...], str, str | None, bool]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the events of some types that fulfil a condition.

    A family keeps partial aggregates per local day for its windows of days and months, and single
    occurrences for its windows of elapsed time. A whole one keeps single occurrences only, with `fields`.

    Attributes:
        types: Event types, sorted.
        where: The condition's text; empty where every event counts. A whole family keeps the events of a
            condition that reads the clock whether they fulfil it or not.
        of: The measured field; an event without it does not count.
        of_type: Its common type.
        divisor: Minor units per major unit where it is money: it is kept in minor units.
        needs: The partial aggregates of a day.
        windows: The windows that are read, sorted.
        is_endless: Whether all time is read, too.
        keeps_days: Whether days stay apart for ever, however short the windows.
        is_whole: Whether occurrences are kept for all windows, in place of days.
        fields: What a whole family keeps of each event, as expressions see it.
    """

    types: tuple[str, ...]
    where: str = ""
    of: str | None = None
    of_type: Type | None = None
    divisor: int | None = None
    needs: tuple[Need, ...] = ()
    windows: tuple[Window, ...] = ()
    is_endless: bool = False
    keeps_days: bool = False
    is_whole: bool = False
    fields: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """What families must have in common to be one."""
        return self.types, self.where, self.of, self.is_whole

    @property
    def calendar(self) -> tuple[Window, ...]:
        """The windows of days and months."""
        return tuple(window for window in self.windows if not window.unit.is_elapsed)

    @property
    def elapsed(self) -> tuple[Window, ...]:
        """The windows of elapsed time."""
        return tuple(window for window in self.windows if window.unit.is_elapsed)

    @property
    def is_daily(self) -> bool:
        """True where days are kept apart; else all of time is one partial aggregate."""
        return not self.is_whole and (self.keeps_days or bool(self.calendar))

    @property
    def has_days(self) -> bool:
        """True where there are partial aggregates."""
        return self.is_daily or (self.is_endless and not self.is_whole)

    @property
    def has_occurrences(self) -> bool:
        """True where single occurrences are kept."""
        return self.is_whole or bool(self.elapsed)

    @property
    def has_stamps(self) -> bool:
        """True where occurrences must be told apart that happened at the same instant."""
        return "first" in self.needs or "last" in self.needs


def family_of(trait: CompiledTrait, *, keeps_days: bool = False) -> Family:
    """Return what a trait needs; with `keeps_days` every day for ever."""
    is_measured = trait.measure != "recency"  # which is taken of events, with or without the field
    reads_clock = trait.where is not None and bool(trait.where.functions & {"NOW", "TODAY"})
    return Family(
        types=trait.types,
        where=trait.where_text,
        of=trait.of if is_measured else None,
        of_type=trait.of_type if is_measured else None,
        divisor=trait.divisor if is_measured else None,
        needs=NEEDS[trait.measure],
        windows=() if trait.window is None else (trait.window,),
        is_endless=trait.window is None,
        keeps_days=keeps_days,
        is_whole=reads_clock,
        fields=tuple(sorted(trait.where.names)) if reads_clock and trait.where is not None else (),
    )


def merged_families(families: Iterable[Family]) -> tuple[Family, ...]:
    """Return families with distinct keys that keep all that these keep, in the order of first mention."""
    found: dict[Key, Family] = {}
    for family in families:
        found[family.key] = _both(found.get(family.key, family), family)
    return tuple(found.values())


def _both(one: Family, other: Family) -> Family:
    wanted = {*one.needs, *other.needs}
    return msgspec.structs.replace(
        one,
        needs=tuple(need for need in ALL_NEEDS if need in wanted),
        windows=tuple(sorted({*one.windows, *other.windows})),
        is_endless=one.is_endless or other.is_endless,
        keeps_days=one.keeps_days or other.keeps_days,
        fields=tuple(sorted({*one.fields, *other.fields})),
    )


def fingerprint_of(*layout: object) -> str:
    """Return a short text that differs where the layout of stored state does."""
    return hashlib.sha256(msgspec.json.encode(layout, order="deterministic")).hexdigest()[:32]
