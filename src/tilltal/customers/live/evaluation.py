"""Evaluating one customer: what audiences read is kept with the state, and found again where it changed.

`Evaluation` brings audiences and stage up to an instant; `Reading` tells any other names of a customer that
is up to date.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import utc_naive
from tilltal.customers.audiences import PREFIX
from tilltal.customers.live.inputs import Inputs, Whole
from tilltal.customers.live.program import Nodes, Scope
from tilltal.customers.live.relation.plan import LifecyclePlan, days_in_stage
from tilltal.customers.live.state import Facet, Fragment, ProfileState
from tilltal.customers.live.traits.families import fingerprint_of
from tilltal.customers.live.traits.local_days import leaves
from tilltal.customers.live.traits.readers import Frame, Frames, TraitReader
from tilltal.customers.live.wakes import ClockWake, TraitWake, limits_of
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.workspace import Workspace

_DAYS = "lifecycle.days"
_QUARTER_US = 15 * 60 * 1_000_000

Watched = tuple[int, TraitReader, TraitWake]
Watches = tuple[tuple[Watched, ...], tuple[Watched, ...]]
"""What some families concern, and those of them whose next change an event does not tell by its own day."""


class Facets:
    """Where the names told from records, consents, holdings and the lifecycle stand among some inputs."""

    def __init__(self, names: Sequence[str], inputs: Inputs) -> None:
        self._inputs = inputs
        self._slots: dict[int, list[tuple[int, str]]] = {1 << bit: [] for bit in range(4)}
        for slot, name in enumerate(names):
            if name in inputs.facet_of:
                self._slots[inputs.facet_of[name]].append((slot, name))
        self.known = names.index("is_known") if "is_known" in names else None
        self.has_holdings = bool(self._slots[Facet.HOLDINGS])

    def fill(self, values: list[Any], facets: int, whole: Whole, clock: Clock, state: ProfileState) -> None:
        """Put in the values of some facets."""
        if self.known is not None:
            values[self.known] = state.is_known
        if not facets:
            return
        inputs, slots = self._inputs, self._slots
        if facets & Facet.LIFECYCLE and slots[Facet.LIFECYCLE] and inputs.lifecycle is not None:
            _put(values, slots[Facet.LIFECYCLE], inputs.lifecycle.values(state.standing, clock))
        if facets & Facet.RECORDS and slots[Facet.RECORDS]:
            _put(values, slots[Facet.RECORDS], inputs.attributes(whole))
        if facets & Facet.CONSENTS and slots[Facet.CONSENTS]:
            _put(values, slots[Facet.CONSENTS], inputs.consents(whole))
        if facets & Facet.HOLDINGS and slots[Facet.HOLDINGS]:
            _put(values, slots[Facet.HOLDINGS], inputs.held(whole, clock))


def _put(values: list[Any], slots: Sequence[tuple[int, str]], found: Mapping[str, object]) -> None:
    for slot, name in slots:
        values[slot] = found[name]


class Evaluation:
    """Keeps the audiences and the stage of customers up to date.

    Attributes:
        audiences: the audiences in the order of the bits of masks.
        scope: the audiences and what they need.
        steady: inputs whose kept values hold until the customer is due; others may age in between.
    """

    def __init__(self, workspace: Workspace, types: Mapping[str, Type], inputs: Inputs, nodes: Nodes) -> None:
        names = [PREFIX + name for name in workspace.audiences]
        names += ["lifecycle.stage"] if workspace.lifecycle else []
        self._workspace, self._inputs, self._nodes = workspace, inputs, nodes
        self.scope = scope = Scope(nodes, names)
        self.audiences = scope.audiences
        self._width, self._concerned = len(scope.inputs), scope.concerned
        self._facets = Facets(scope.inputs, inputs)
        self._days = scope.inputs.index(_DAYS) if _DAYS in scope.inputs else None
        self.frames = Frames(
            [window for family in inputs.traits.families for window in family.windows], inputs.days
        )
        self._clock_wake = ClockWake(scope.expressions, scope.inputs, types, inputs.days)
        self._is_timed = self._clock_wake.reads_clock or (
            inputs.lifecycle is not None and inputs.lifecycle.reads_now
        )
        self._stage = scope.slots.get("lifecycle.stage")
        self._persona = scope.slots.get("persona.name")
        direct = scope.direct
        self._limits = {
            name: None if name in direct else limits_of(name, scope.expressions) for name in scope.inputs
        }
        self._watched: tuple[Watched, ...] = tuple(
            (slot, reader, TraitWake(reader, inputs.days, self._limits[reader.name]))
            for slot, reader in inputs.readers(scope.inputs)
        )
        self.steady = (
            frozenset(scope.inputs)
            - {_DAYS}
            - {reader.name for _, reader, wake in self._watched if wake.may_age}
        )
        self._codecs = tuple(_codecs(scope.inputs, types))
        self._leaving = lru_cache(maxsize=8192)(self._leaving_of)
        self._watching = lru_cache(maxsize=4096)(self._watching_of)

    def edition(self, version: str) -> str:
        """Return a short text that differs where audiences, or the values they read, are told otherwise."""
        workspace = self._workspace
        return fingerprint_of(
            self._inputs.fingerprint,
            version,
            workspace.settings.time_zone,
            workspace.settings.channels,
            workspace.profile,
            workspace.consent,
            workspace.traits,
            workspace.audiences,
            workspace.lifecycle,
            workspace.value,
            workspace.personas,
            workspace.micro_segments.products,
        )[:16]

    def flat(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the kept inputs as msgpack holds them."""
        values = list(inputs)
        for slot, flat, _ in self._codecs:
            if values[slot] is not None:
                values[slot] = flat(values[slot])
        return values

    def restored(self, values: list[Any]) -> list[Any]:
        """Return the kept inputs of flat ones."""
        for slot, _, restored in self._codecs:
            if values[slot] is not None:
                values[slot] = restored(values[slot])
        return values

    def evaluate(
        self, state: ProfileState, fragments: Sequence[Fragment], frame: Frame, *, is_full: bool
    ) -> None:
        """Find audiences, stage and the next due instant as of the frame.

        Args:
            state: where a change of families or facets is noted, unless all `is_full`y counts.
            fragments: all of the customer's.
            frame: of a clock not before the last evaluation.
            is_full: whether everything is to be found again; else time alone has changed nothing.
        """
        whole, facets = self._inputs.whole(fragments), state.facets
        watched, wakes = self._watching(state.changed)
        if is_full:
            facets, watched, wakes = Facet.ALL, self._watched, self._watched
            state.inputs = [None] * self._width
        if facets & Facet.LIFECYCLE:
            self._settle_lifecycle(state, whole, frame.clock)
        among = self._read(state, watched, whole, frame)
        if facets or self.scope.is_moving or state.seen != (state.is_known, state.lookalikes):
            among = -1
        if among:
            self._facets.fill(state.inputs, facets, whole, frame.clock, state)
            found, state.audiences = self.scope.evaluated(state.inputs, frame.clock, state, among)
            if self._stage is not None:
                state.stage = found[self._stage]
            if self._persona is not None:
                state.persona = found[self._persona]
        if watched or facets or self._is_timed:
            due = self._due(state, whole, frame, wakes, facets)
            due += () if is_full else self._foreseen(state, frame.now)
            ahead = [at for at in due if at > frame.now]
            state.due = min(ahead) if ahead else None
        state.until, state.changed, state.facets, state.is_stale = frame.now, 0, 0, False
        state.fresh = []
        state.seen = state.is_known, state.lookalikes

    def _settle_lifecycle(self, state: ProfileState, whole: Whole, clock: Clock) -> None:
        plan = self._inputs.lifecycle
        if plan is not None:
            state.standing = plan.standing(whole.traits, whole.holdings, clock)

    def _read(self, state: ProfileState, watched: Sequence[Watched], whole: Whole, frame: Frame) -> int:
        """Read traits, and the days of the stage; return which audiences read anything that changed."""
        values, among = state.inputs, 0
        if watched:
            traits = whole.traits
            for slot, reader, _ in watched:
                before = values[slot]
                values[slot] = found = reader.value(traits, frame)
                if found != before or type(found) is not type(before):
                    among |= self._concerned[slot]
        if self._days is not None:
            before, values[self._days] = values[self._days], days_in_stage(state.standing, frame.today)
            among |= 0 if values[self._days] == before else self._concerned[self._days]
        return among

    def _due(
        self, state: ProfileState, whole: Whole, frame: Frame, watched: Sequence[Watched], facets: int
    ) -> list[int]:
        """Return instants at which what was found anew may change by itself."""
        found = [] if state.waiting is None else [state.waiting]
        values = state.inputs
        for slot, _, wake in watched:
            at = wake.next_change(whole.traits, frame, values[slot])
            if at is not None:
                found.append(at)
        if facets & Facet.HOLDINGS and self._facets.has_holdings:
            day = self._inputs.holdings.next_change(whole.holdings, frame.clock)
            if day is not None:
                found.append(self._inputs.days.start(day.toordinal()))
        found += self._clock_wake.next_changes(values, frame)
        plan = self._inputs.lifecycle
        if plan is not None and (facets & Facet.LIFECYCLE or plan.reads_now):
            found += self._due_of_lifecycle(plan, state, whole, frame)
        return found

    def _due_of_lifecycle(
        self, plan: LifecyclePlan, state: ProfileState, whole: Whole, frame: Frame
    ) -> Iterator[int]:
        days = self._inputs.days
        if state.standing.until is not None:
            yield days.start(state.standing.until)
        if plan.reads_now:
            quarter = (frame.now // _QUARTER_US + 1) * _QUARTER_US
            yield plan.next_turn(whole.traits, (frame.now, quarter), frame.clock)
        if state.standing.stage is not None and _DAYS in self._limits:
            yield from self._due_of_days(frame.today - state.standing.since + 1, frame)

    def _due_of_days(self, day: int, frame: Frame) -> Iterator[int]:
        limits = self._limits[_DAYS]
        ahead = [1] if limits is None else [limit - day for limit in limits if limit > day][:1]
        for days in ahead:
            yield self._inputs.days.start(frame.today + days)

    def _foreseen(self, state: ProfileState, now: int) -> list[int]:
        """Return what was due before, and when each event just added first leaves a window that matters.

        It is all there is to know: what else the window of days holds leaves when it always would.
        """
        found = [] if state.due is None else [state.due]
        for changed, day in state.fresh:
            leaving = self._leaving(changed, day)
            place = bisect_right(leaving, now)
            found += leaving[place : place + 1]
        return found

    def _leaving_of(self, changed: int, day: int) -> tuple[int, ...]:
        """Return when a day leaves the windows that matter, rising."""
        days = self._inputs.days
        windows = {
            reader.window
            for _, reader, wake in self._watching(changed)[0]
            if wake.is_foreseen and reader.window is not None
        }
        return tuple(sorted(days.start(leaves(window, day)) for window in windows))

    def _watching_of(self, mask: int) -> Watches:
        watched = tuple(each for each in self._watched if mask >> each[1].index & 1)
        return watched, tuple(each for each in watched if not each[2].is_foreseen)


class Reading:
    """Tells some names of customers that are up to date."""

    def __init__(self, names: Sequence[str], evaluation: Evaluation, inputs: Inputs, nodes: Nodes) -> None:
        given = frozenset(PREFIX + name for name in evaluation.audiences)
        scope = Scope(nodes, names, given)
        self._scope, self._evaluation, self._inputs = scope, evaluation, inputs
        self._slots = [(name, scope.slots[name]) for name in names]
        kept = {name: slot for slot, name in enumerate(evaluation.scope.inputs) if name in evaluation.steady}
        self._kept = [(slot, kept[name]) for slot, name in enumerate(scope.inputs) if name in kept]
        open_ = [None if name in kept else name for name in scope.inputs]
        self._facets = Facets([name or "" for name in open_], inputs)
        self._wanted = _wanted([name for name in open_ if name], inputs)
        self._traits = inputs.readers([name or "" for name in open_])
        bits = {PREFIX + name: 1 << bit for bit, name in enumerate(evaluation.audiences)}
        self._audiences = [(slot, bits[name]) for slot, name in enumerate(scope.inputs) if name in bits]

    def values(self, fragments: Sequence[Fragment], clock: Clock, state: ProfileState) -> dict[str, object]:
        """Return the values as of a clock up to which the state is."""
        whole = self._inputs.whole(fragments)
        inputs: list[Any] = [None] * len(self._scope.inputs)
        found = state.inputs
        for slot, kept in self._kept:
            inputs[slot] = found[kept]
        for slot, bit in self._audiences:
            inputs[slot] = bool(state.audiences & bit)
        if self._traits:
            frame, traits = self._evaluation.frames.at(clock), whole.traits
            for slot, reader in self._traits:
                inputs[slot] = reader.value(traits, frame)
        self._facets.fill(inputs, self._wanted, whole, clock, state)
        values, _ = self._scope.evaluated(inputs, clock, state)
        return {name: values[slot] for name, slot in self._slots}


def _wanted(names: Sequence[str], inputs: Inputs) -> int:
    mask = 0
    for name in names:
        mask |= inputs.facet_of.get(name, 0)
    return mask


def _codecs(
    names: Sequence[str], types: Mapping[str, Type]
) -> Iterator[tuple[int, Callable[[Any], Any], Callable[[Any], Any]]]:
    for slot, name in enumerate(names):
        if types[name] is Type.DATE:
            yield slot, date.toordinal, date.fromordinal
        if types[name] is Type.TIMESTAMP:
            yield slot, _flat_instant, _instant


def _flat_instant(value: datetime) -> int:
    return micros(value.replace(tzinfo=UTC))


def _instant(value: int) -> datetime:
    return utc_naive(instant_of(value))
