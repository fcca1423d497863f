"""Customers in memory: whose an identifier is and the states of those read or written lately.

A disk takes a hundred times as long. One thread, the event loop's, looks and changes; what a transaction
writes is taken over once it is committed, in the order of commits. What another process commits is seen by
SQLite's `data_version`, and then all is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tilltal.core.operational import Owned, State, Writes
from tilltal.engines.operational.rows import all_seen

_STATE_BYTES = 300  # of a state beside its data, of whose token it is, and of their places
_OWNER_BYTES, _LEAST_OWNERS = 200, 1000


class Touched:
    """What a transaction has changed of customers so far (`is_all`: everything), and whose ids it took in."""

    __slots__ = ("is_all", "owners", "seen", "states")

    def __init__(self) -> None:
        self.states: dict[int, State | None] = {}
        self.owners: dict[int, int | None] = {}
        self.seen: list[bytes] = []
        self.is_all = False

    def add(self, writes: Writes) -> None:
        """Take in what is written."""
        self.states.update(dict.fromkeys(writes.gone))
        self.states.update((state.profile, state) for state in writes.states)
        self.owners.update((token, _always(spans)) for token, spans in writes.owners.items())
        self.seen += all_seen(writes)


class Recent:
    """States by profile, and profiles by identifier, within a number of bytes: the oldest in use go first.

    Only identifiers that are one profile's at all times are here: of others the store has to tell.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._most_owners = max(most_bytes // (10 * _OWNER_BYTES), _LEAST_OWNERS)
        self._states: OrderedDict[int, State] = OrderedDict()
        self._owners: OrderedDict[int, int] = OrderedDict()
        self._bytes = 0
        self._changed: set[int] | None = None

    @property
    def is_full(self) -> bool:
        """True if one state more might be one too many."""
        return self._bytes * 20 > self._most_bytes * 19

    def __len__(self) -> int:
        """How many states are here."""
        return len(self._states)

    def whose(self, tokens: Sequence[int]) -> State | None:
        """Return the state of whose the first token is, if both are known here."""
        profile = self._owners.get(tokens[0]) if tokens else None
        return None if profile is None else self.state(profile)

    def state(self, profile: int) -> State | None:
        """Return a profile's state, if it is known here."""
        found = self._states.get(profile)
        if found is not None:
            self._states.move_to_end(profile)
        return found

    def keep(self, state: State, token: int | None = None) -> None:
        """Keep what is committed: a state, and that a token is always that profile's."""
        self._put(state)
        if token is not None:
            self._owners[token] = state.profile
            self._owners.move_to_end(token)
            if len(self._owners) > self._most_owners:
                self._owners.popitem(last=False)

    def take(self, touched: Touched) -> None:
        """Take over what was committed."""
        if touched.is_all:
            self.clear()
            return
        if self._changed is not None:
            self._changed.update(touched.states, touched.owners)
        for token, profile in touched.owners.items():
            if profile is None:
                self._owners.pop(token, None)
            elif token in self._owners:
                self._owners[token] = profile
        for profile, state in touched.states.items():
            if state is None:
                self._drop(profile)
            else:
                self._put(state)

    def forget(self, touched: Touched) -> None:
        """Forget what was to be changed, as nobody can tell whether it was."""
        states, owners = dict.fromkeys(touched.states), dict.fromkeys(touched.owners)
        unsure = Touched()
        unsure.states, unsure.owners, unsure.is_all = states, owners, touched.is_all
        self.take(unsure)

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()
        self._owners.clear()
        self._bytes = 0
        self._changed = None  # what is being read may be of before

    def begin_reading(self) -> None:
        """Note from now on what changes, as states are being read by somebody else."""
        self._changed = set()

    def end_reading(self, found: Iterable[tuple[State, int | None]]) -> None:
        """Keep states read since `begin_reading`, and tokens that are theirs, but for what has changed."""
        changed, self._changed = self._changed, None
        if changed is None:
            return
        for state, token in found:
            if state.profile not in changed and state.profile not in self._states and not self.is_full:
                self.keep(state, None if token in changed else token)

    def _put(self, state: State) -> None:
        profile, states = state.profile, self._states
        former = states.get(profile)
        states[profile] = state
        if former is None:
            self._bytes += len(state.data) + _STATE_BYTES
        else:
            states.move_to_end(profile)
            self._bytes += len(state.data) - len(former.data)
        while self._bytes > self._most_bytes:
            _, oldest = states.popitem(last=False)
            self._bytes -= len(oldest.data) + _STATE_BYTES

    def _drop(self, profile: int) -> None:
        former = self._states.pop(profile, None)
        if former is not None:
            self._bytes -= len(former.data) + _STATE_BYTES


def _always(spans: Sequence[Owned]) -> int | None:
    """Return whose a token is at all times; None if that depends, or it is nobody's."""
    return spans[0].profile if len(spans) == 1 and spans[0].valid_to is None else None
