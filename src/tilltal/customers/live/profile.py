"""A customer in the moment: facts in, audiences and everything else an expression may name out.

`ProfileProgram` is compiled once from the definitions and the last snapshot, and holds no customer. A
customer is a `ProfileState`, as bytes between two touches. What comes out is what a refresh as of the same
instant would find; see docs/explanation/live.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import msgspec

from tilltal.core.errors import SupersededError
from tilltal.core.instants import instant_of, micros
from tilltal.customers.live.evaluation import Evaluation, Reading
from tilltal.customers.live.facts.pending import Fact, instants_of, packed, unpacked
from tilltal.customers.live.inputs import Inputs
from tilltal.customers.live.program import Nodes, Reference
from tilltal.customers.live.state import NOBODY, Fragment, ProfileState, Stored, names_in
from tilltal.customers.live.traits.families import Family
from tilltal.customers.live.traits.live_traits import Occurrence
from tilltal.customers.live.traits.partials import Partial
from tilltal.customers.live.traits.readers import Frame
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

__all__ = ["Moved", "ProfileProgram", "ProfileState", "Reference"]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


class Moved(msgspec.Struct, frozen=True):
    """What changed for a customer at an instant: audiences entered and left, stage before and after.

    The stage after is empty where an identifier that told of the relation has gone over to somebody else.
    """

    at: datetime
    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    stage: tuple[str | None, str] | None = None


def stage_of(data: bytes) -> str | None:
    """Return the stage in a stored state, whatever definitions it was made by."""
    return _decode(data).stage


class ProfileProgram:
    """Evaluates customers.

    Attributes:
        fingerprint: stored fragments of another one must be made again from the log.
        edition: differs where audiences or what they read are told otherwise. A state of another edition is
            evaluated anew when it is touched; to find all changes at once, advance every profile.
        audience_names: the audiences in the order of the bits of masks.
        names: every name of the profile, with its type.
    """

    def __init__(self, workspace: Workspace, reference: Reference, extra: Sequence[Family] = ()) -> None:
        """Compile the definitions.

        Args:
            workspace: checked.
            reference: what comes of the last snapshot.
            extra: families to keep besides what traits and lifecycle need, for `occurrences` and `days`.

        Raises:
            WorkspaceError: where a definition is faulty.
        """
        self.names: Mapping[str, Type] = profile_schema(workspace)
        self._zone = workspace.zone
        self._inputs = Inputs(workspace, extra, reference.product_order)
        self._nodes = Nodes(workspace, self.names, reference)
        self._evaluation = Evaluation(workspace, self.names, self._inputs, self._nodes)
        self.fingerprint = self._inputs.fingerprint
        self._made = self.fingerprint[:12]
        self.edition = self._evaluation.edition(reference.version)
        self.audience_names = self._evaluation.audiences
        self._bits = {name: 1 << bit for bit, name in enumerate(self.audience_names)}
        self._held = lru_cache(maxsize=65536)(self._names_of)
        self._flat_audiences = lru_cache(maxsize=65536)(self._flat_audiences_of)
        self._mask = lru_cache(maxsize=65536)(self._mask_of)
        self._reading = lru_cache(maxsize=256)(self._reading_of)

    def new(self) -> ProfileState:
        """Return the state of a customer of whom nothing is known."""
        return ProfileState()

    def decode(self, data: bytes) -> ProfileState:
        """Read a stored state.

        Raises:
            msgspec.DecodeError: if it is none.
            SupersededError: if it was made by other definitions.
        """
        stored = _decode(data)
        if stored.made != self._made and stored.made:
            raise SupersededError.of(
                "E531", "Customers were made anew by other definitions.", hint="Try again."
            )
        is_known, lookalikes = stored.is_known, frozenset(stored.lookalikes)
        is_current = stored.edition == self.edition
        return ProfileState(
            is_known,
            lookalikes,
            stored.persona,
            stored.stage,
            self._mask(bytes(stored.flat_audiences)),
            stored.until,
            stored.due,
            stored.waiting,
            cast("dict[int, bytes | Fragment]", stored.fragments),
            self._evaluation.restored(stored.inputs) if is_current else [],
            0,
            0,
            [],
            not is_current,
            stored.standing if is_current else NOBODY,
            (is_known, lookalikes) if is_current else (False, frozenset()),
            stored.is_untold,
        )

    def encode(self, state: ProfileState) -> bytes:
        """Return a state as it is stored."""
        is_current = _is_settled(state)
        fragments = state.fragments.copy()
        for token, each in fragments.items():
            if type(each) is Fragment:
                fragments[token] = self._inputs.closed(each)
        stored = (
            self.edition if is_current else "",
            state.is_known,
            state.until,
            state.due,
            state.waiting,
            state.stage,
            state.standing,
            state.persona,
            self._flat_audiences(state.audiences),
            tuple(state.lookalikes),
            self._evaluation.flat(state.inputs) if is_current else [],
            fragments,
            self._made,
            state.is_untold,
        )
        return _encode(stored)  # as `Stored`

    def add(
        self,
        state: ProfileState,
        token: int,
        fact: Fact,
        clock: Clock,
        instants: tuple[int, int] | None = None,
    ) -> None:
        """Take in a fact that was not taken in before.

        What has not happened or arrived yet as of the clock counts from its instant on. So does what came
        after an instant at which `advance` still has to look.

        Args:
            state: of the customer.
            token: the identifier that the fact is of.
            fact: something that happened or was stated.
            clock: what is now.
            instants: of the fact where they are at hand as numbers; see `instants_of`.
        """
        frame, due = self._evaluation.frames.at(clock), state.due
        at, received = instants = instants or instants_of(fact)
        since = received if received > at else at
        fragment = self._opened(state, token)
        if since > frame.now or (due is not None and due < since and not state.is_stale):
            fragment.pending.append(packed(fact))
            state.waiting = since if state.waiting is None else min(state.waiting, since)
            state.due = since if due is None else min(due, since)
        else:
            self._inputs.add(state, fragment, fact, instants, frame.today)

    def take(self, state: ProfileState, token: int) -> Fragment | None:
        """Remove what is known under an identifier and return it, if there is anything."""
        fragment = state.fragments.pop(token, None)
        if fragment is None:
            return None
        state.is_stale = True
        return self._inputs.opened(fragment) if isinstance(fragment, bytes) else fragment

    def give(self, state: ProfileState, token: int, fragment: Fragment) -> None:
        """Put in what is known under an identifier, in place of what was known there."""
        state.fragments[token] = fragment
        state.is_stale = True
        waiting = [each.since for each in fragment.pending]
        state.waiting = min(waiting if state.waiting is None else [state.waiting, *waiting], default=None)

    def audiences_of(self, state: ProfileState) -> tuple[str, ...]:
        """Return the audiences that hold a customer, as of its last evaluation."""
        return self._held(state.audiences)

    def tokens(self, state: ProfileState) -> tuple[int, ...]:
        """Return the identifiers under which something is known."""
        return tuple(state.fragments)

    def advance(self, state: ProfileState, clock: Clock) -> tuple[Moved, ...]:
        """Bring a customer up to the clock and return what changed, in order of time.

        First every due instant on the way is looked at, as of that instant, then the clock's. A clock that
        lies before the last evaluation counts as that.
        """
        frame, until = self._evaluation.frames.at(clock), state.until
        if until is not None and frame.now < until:
            frame = self._frame(until)
        moved: list[Moved] = []
        while (due := state.due) is not None and due < frame.now and not state.is_stale:
            self._step(state, self._frame(due), moved)
        self._step(state, frame, moved)
        return tuple(moved)

    def values(
        self, state: ProfileState, clock: Clock, names: Iterable[str] | None = None
    ) -> dict[str, object]:
        """Return values as expressions see them, of all names or of some.

        The state is not changed; if it is not up to the clock, a copy is brought there.

        Raises:
            KeyError: for a name that is not among `names`.
        """
        now = micros(clock.now)
        if not _is_settled(state) or now < (state.until or 0) or (state.due is not None and state.due <= now):
            state = self.decode(self.encode(state))
            self.advance(state, clock)
        wanted = tuple(self.names if names is None else names)
        return self._reading(wanted).values(self._fragments(state), clock, state)

    def occurrences(self, state: ProfileState, family: Family) -> Sequence[Occurrence]:
        """Return the occurrences that a family keeps, over all identifiers, in the order of event time."""
        traits = self._inputs.traits
        return traits.occurrences(self._whole_traits(state), traits.index_of(family))

    def quarters(self, state: ProfileState, family: Family, clock: Clock) -> set[int]:
        """Return in which quarters of an hour a family's events lie, over all identifiers.

        They are counted from 1970 UTC. The window is the first of the family.
        """
        traits = self._inputs.traits
        index = traits.index_of(family)
        return traits.quarters(self._whole_traits(state), index, family.windows[0], clock)

    def answers(self, state: ProfileState) -> Mapping[str, Mapping[str, int]]:
        """Return purpose → channel → the number of the latest answer: see `facts.consent_answers`."""
        return self._inputs.whole(self._fragments(state)).consents.answers

    def days(self, state: ProfileState, family: Family) -> Mapping[int, Partial]:
        """Return a family's partial aggregates by local day (ordinal), over all identifiers."""
        traits = self._inputs.traits
        return traits.days(self._whole_traits(state), traits.index_of(family))

    def _whole_traits(self, state: ProfileState) -> Any:
        return self._inputs.whole(self._fragments(state)).traits

    def _frame(self, now: int) -> Frame:
        return self._evaluation.frames.at(Clock(instant_of(now), self._zone))

    def _step(self, state: ProfileState, frame: Frame, moved: list[Moved]) -> None:
        """Evaluate a customer as of an instant, not before the last one."""
        now, due, waiting = frame.now, state.due, state.waiting
        is_full = state.is_stale or (due is not None and due <= now)
        if waiting is not None and (waiting <= now or state.is_stale):
            self._release(state, frame)
        if not is_full and _is_settled(state):
            state.until = now
            return
        before, stage = state.audiences, state.stage
        self._evaluation.evaluate(state, self._fragments(state), frame, is_full=is_full)
        if before != state.audiences or stage != state.stage:
            moved.append(self._moved(instant_of(now), before, stage, state))

    def _moved(self, at: datetime, before: int, stage: str | None, state: ProfileState) -> Moved:
        after = state.audiences
        turn = None if state.stage == stage else (stage, state.stage or "")
        return Moved(at, self._held(after & ~before), self._held(before & ~after), turn)

    def _release(self, state: ProfileState, frame: Frame) -> None:
        """Take in the facts whose instant has come."""
        now, left = frame.now, list[int]()
        for token in state.fragments:
            fragment = self._opened(state, token)
            ready = [each for each in fragment.pending if each.since <= now]
            fragment.pending = [each for each in fragment.pending if each.since > now]
            for each in sorted(ready, key=lambda pending: pending.since):
                fact = unpacked(each)
                self._inputs.add(state, fragment, fact, instants_of(fact), frame.today)
            left += [each.since for each in fragment.pending]
        state.waiting = min(left, default=None)

    def _opened(self, state: ProfileState, token: int) -> Fragment:
        fragment = state.fragments.get(token)
        if not isinstance(fragment, Fragment):
            fragment = Fragment() if fragment is None else self._inputs.opened(fragment)
            state.fragments[token] = fragment
        return fragment

    def _fragments(self, state: ProfileState) -> list[Fragment]:
        return [
            each if type(each) is Fragment else self._opened(state, token)
            for token, each in state.fragments.items()
        ]

    def _reading_of(self, names: tuple[str, ...]) -> Reading:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise KeyError(unknown[0])
        return Reading(names, self._evaluation, self._inputs, self._nodes)

    def _names_of(self, mask: int) -> tuple[str, ...]:
        return tuple(name for name, bit in self._bits.items() if mask & bit)

    def _flat_audiences_of(self, mask: int) -> msgspec.Raw:
        return msgspec.Raw(_encode(self._held(mask)))

    def _mask_of(self, flat_audiences: bytes) -> int:
        return sum(self._bits.get(name, 0) for name in names_in(flat_audiences))


def _is_settled(state: ProfileState) -> bool:
    """True if nothing has come since the last evaluation."""
    return not (
        state.is_stale or state.changed or state.facets or state.seen != (state.is_known, state.lookalikes)
    )
