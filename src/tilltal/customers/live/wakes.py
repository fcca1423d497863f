"""When a customer must be looked at again although nothing comes.

That is the first instant at which time alone may change a value that audiences read; too early is harmless,
too late is not. A recency that is only compared with fixed numbers changes nothing until it reaches one of
them, so nobody is woken every minute to learn that another minute has passed.
"""

from __future__ import annotations

import calendar
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from tilltal.core.instants import EPOCH, micros
from tilltal.core.time import Unit
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.expiry import Expiry
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.live.traits.readers import Frame, TraitReader
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.tree import Call, Literal, Name, Node, walk
from tilltal.rules.types import Type

_HOUR = timedelta(hours=1)
_AS_NUMBER = "as number"  # what the checker puts around an integer where a number is wanted
_STRICT = ("=", "<>", "<", "<=", ">", ">=")  # NULL where an argument is
_COMPARISONS = (*_STRICT, "BETWEEN", "IN")


class TraitWake:
    """Tells when one trait may matter anew.

    It `may_age` if its value may change before. It `is_foreseen` if an event more says all by its own day.
    """

    def __init__(self, reader: TraitReader, days: LocalDays, limits: Sequence[int] | None) -> None:
        """Take a trait; `limits` are the only numbers it is compared with, rising, None where unknown."""
        self._expiry, self._days = Expiry(reader, days), days
        is_plain = reader.trait.measure == "recency" and reader.window is None and reader.condition is None
        self._limits = limits if is_plain else None
        self.may_age = self._limits is not None
        self.is_foreseen = reader.reads_days and reader.trait.measure != "recency"
        unit = reader.trait.unit
        self._unit_us = None if unit is Unit.DAYS else unit.seconds * 1_000_000

    def next_change(self, state: TraitState, frame: Frame, value: Any) -> int | None:
        """Return the instant in microseconds, given the trait's value as of the frame."""
        if self._limits is None or value is None:
            return self._expiry.next_change(state, frame)
        place = bisect_right(self._limits, value)
        if place == len(self._limits):
            return None
        ahead = self._limits[place] - value
        if self._unit_us is None:
            return self._days.start(frame.today + ahead)
        following = self._expiry.next_change(state, frame)
        return None if following is None else following + (ahead - 1) * self._unit_us


def limits_of(name: str, expressions: Iterable[Expression]) -> tuple[int, ...] | None:
    """Return where comparisons of a whole number with constants may turn; None if it is used otherwise.

    >>> limits_of("age", [parse("age >= 30 OR age = 5", {"age": Type.INTEGER})])
    (5, 6, 30, 31)
    """
    found: set[int] = set()
    for expression in expressions:
        for parent in _uses(name, expression.tree):
            numbers = None if parent is None else _compared(name, parent)
            if numbers is None:
                return None
            for number in numbers:
                found |= {math.floor(number), math.floor(number) + 1}
    return tuple(sorted(found))


def _uses(name: str, tree: Node) -> Iterator[Call | None]:
    """Yield what each mention of a name is an argument of; None where it is the whole expression."""
    if _is_mention(name, tree):
        yield None
    elif isinstance(tree, Call):
        for arg in tree.args:
            if _is_mention(name, arg):
                yield tree
            else:
                yield from _uses(name, arg)


def _is_mention(name: str, node: Node) -> bool:
    """True for the name itself, or with a constant in place of NULL."""
    if isinstance(node, Call) and node.op == "COALESCE":
        first, *others = node.args
        return _is_mention(name, first) and all(isinstance(other, Literal) for other in others)
    if isinstance(node, Call) and node.op == _AS_NUMBER:
        return _is_mention(name, node.args[0])
    return isinstance(node, Name) and node.name == name


def _compared(name: str, parent: Call) -> list[float] | None:
    """Return the constants that a name is compared with; None where it is used otherwise."""
    if parent.op == "IS NULL":
        return []
    others = [arg for arg in parent.args if not _is_mention(name, arg)]
    if parent.op not in _COMPARISONS or not all(isinstance(other, Literal) for other in others):
        return None
    values = [other.value for other in others if isinstance(other, Literal)]
    return [float(value) for value in values if isinstance(value, int | float)]


class _Turn(msgspec.Struct, frozen=True):
    """When a call that reads TODAY() may give another value: never while one of some inputs is NULL.

    With `is_yearly` only on the anniversaries of its only input; with `is_after` on the days after them, as
    where it counts years from TODAY() on.
    """

    slots: tuple[int, ...]
    is_yearly: bool
    is_after: bool = False

    def days(self, values: Sequence[Any], today: int) -> int | None:
        """Return in how many days that is."""
        if any(values[slot] is None for slot in self.slots):
            return None
        if not self.is_yearly:
            return 1
        day = values[self.slots[0]]
        return _anniversary(_following(day) if self.is_after else day, today) - today


def _turn(parent: Call | None, places: Mapping[str, int]) -> _Turn:
    """Return when a call may turn that has TODAY() among its arguments; None is TODAY() itself."""
    if parent is None or (parent.form is None and parent.op not in _STRICT):
        return _Turn((), is_yearly=False)
    named = [arg.name for arg in parent.args if isinstance(arg, Name)]
    slots = tuple(places[name] for name in named if name in places)
    is_yearly = parent.op == "YEARS_BETWEEN" and len(slots) == 1
    return _Turn(slots, is_yearly, is_after=is_yearly and isinstance(parent.args[1], Name))


def _todays(tree: Node) -> Iterator[Call | None]:
    """Yield the call that each TODAY() is an argument of; None where it is the whole expression."""
    if isinstance(tree, Call) and tree.op == "TODAY":
        yield None
    for node in walk(tree):
        if isinstance(node, Call) and any(isinstance(arg, Call) and arg.op == "TODAY" for arg in node.args):
            yield node


def _anniversary(day: date, today: int) -> int:
    """Return the ordinal of the next day on which the years since a day are one more."""
    now = date.fromordinal(today)
    year = now.year + ((now.month, now.day) >= (day.month, day.day))
    if (day.month, day.day) == (2, 29) and not calendar.isleap(year):
        return date(year, 3, 1).toordinal()
    return date(year, day.month, day.day).toordinal()


def _following(day: date) -> date:
    """Return the day after a day and month, 29 February included, in whatever year."""
    return date(2000, day.month, day.day) + timedelta(days=1)


def _instants(tree: Node, clock: Clock) -> Iterator[datetime]:
    """Yield the constant instants in an expression; a clock time is one of the clock's zone."""
    if isinstance(tree, Literal) and isinstance(tree.value, datetime):
        yield tree.value
    elif isinstance(tree, Call):
        for instant in (found for arg in tree.args for found in _instants(arg, clock)):
            yield clock.instant_of(instant) if tree.op == "LOCAL" else instant


class ClockWake:
    """Tells when expressions that read the clock themselves may change; `reads_clock` where any does."""

    def __init__(
        self,
        expressions: Sequence[Expression],
        inputs: Sequence[str],
        types: Mapping[str, Type],
        days: LocalDays,
    ) -> None:
        functions = frozenset().union(*(each.functions for each in expressions))
        self._days = days
        reads_now = "NOW" in functions
        self._is_daily = reads_now and "DATE_OF" in functions
        places = {name: slot for slot, name in enumerate(inputs)}
        self._turns = {_turn(parent, places) for each in expressions for parent in _todays(each.tree)}
        self._is_hourly = reads_now and "HOUR_OF" in functions
        self._slots = [
            slot for slot, name in enumerate(inputs) if reads_now and types[name] is Type.TIMESTAMP
        ]
        anytime = Clock(EPOCH, days.zone)
        self._literals = [
            _micros(at) for each in expressions if reads_now for at in _instants(each.tree, anytime)
        ]
        self.reads_clock = any((self._is_daily, self._turns, self._is_hourly, self._slots, self._literals))

    def next_changes(self, values: Sequence[Any], frame: Frame) -> Iterable[int]:
        """Return instants in microseconds, given the values of the inputs.

        No function shifts an instant, so NOW() turns a comparison only where it meets an instant that is
        an input or a constant: when it reaches it, and when it leaves it behind.
        """
        return self._next_changes(values, frame) if self.reads_clock else ()

    def _next_changes(self, values: Sequence[Any], frame: Frame) -> Iterator[int]:
        ahead = [1] if self._is_daily else []
        ahead += [days for turn in self._turns if (days := turn.days(values, frame.today)) is not None]
        if ahead:
            yield self._days.start(frame.today + min(ahead))
        if self._is_hourly:
            yield micros(_next_hour(frame.clock))
        instants = [_micros(values[slot]) for slot in self._slots if values[slot] is not None]
        for instant in (*instants, *self._literals):
            if instant >= frame.now:
                yield instant if instant > frame.now else instant + 1


def _next_hour(clock: Clock) -> datetime:
    """Return when the next hour of local time begins; a change of the clock itself falls on one."""
    offset = clock.now.astimezone(clock.zone).utcoffset() or timedelta()
    past = (clock.now - EPOCH + offset) % _HOUR
    return clock.now + _HOUR - past


def _micros(value: datetime) -> int:
    return micros(value.replace(tzinfo=UTC))
