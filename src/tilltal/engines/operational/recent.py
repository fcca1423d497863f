"""Customers in memory: whose an identifier is and the states of those read or written lately.

A disk takes a hundred times as long. One thread, the event loop's, looks and changes; what a transaction
writes is taken over once it is committed, in the order of commits. What another process commits is seen by
SQLite's `data_version`, and then all is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from tilltal.core.operational import Owned, State, Writes
from tilltal.engines.operational.rows import all_seen

_STATE_BYTES = 300  # of a state beside its data, of whose token it is, and of their places
_OWNER_BYTES, _LEAST_OWNERS = 200, 1000

V = TypeVar("V")


class Lately(Generic[V]):
    """Values by key, of which those that nobody used for long can be taken out first.

    What is used belongs to the young; when the old are used up, the young are the old. An order of
    everybody by last use (`OrderedDict`) would take 80 bytes more of each.
    """

    __slots__ = ("_old", "_order", "_young")

    def __init__(self) -> None:
        self._young: dict[int, V] = {}
        self._old: dict[int, V] = {}
        self._order: list[int] = []  # the old, the oldest last

    def __len__(self) -> int:
        """How many there are."""
        return len(self._young) + len(self._old)

    def __contains__(self, key: int) -> bool:
        """True if a key is there."""
        return key in self._young or key in self._old

    def get(self, key: int) -> V | None:
        """Return a value, which is used by that."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self._young[key] = found
        return found

    def put(self, key: int, value: V) -> V | None:
        """Put a value under a key; returns which was there."""
        former = self._young.get(key)
        if former is None and self._old:
            former = self._old.pop(key, None)
        self._young[key] = value
        return former

    def pop(self, key: int) -> V | None:
        """Take out a value, if it is there."""
        found = self._young.pop(key, None)
        return self._old.pop(key, None) if found is None else found

    def pop_oldest(self) -> V:
        """Take out a value that was not used for long.

        Raises:
            KeyError: if there is none.
        """
        while self._order:
            found = self._old.pop(self._order.pop(), None)
            if found is not None:
                return found
        if not self._young:
            raise KeyError("there is none")
        self._old, self._young = self._young, {}
        self._order = list(reversed(self._old))
        return self._old.pop(self._order.pop())


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
        self._states: Lately[State] = Lately()
        self._owners: Lately[int] = Lately()
        self._bytes = 0
        self._changed: set[int] | None = None

    @property
    def is_full(self) -> bool:
        """True if one state more might be one too many."""
        count = len(self._states)
        return self._bytes * (count + 2) > self._most_bytes * count

    def __len__(self) -> int:
        """How many states are here."""
        return len(self._states)

    def whose(self, tokens: Sequence[int]) -> State | None:
        """Return the state of whose the first token is, if both are known here."""
        profile = self._owners.get(tokens[0]) if tokens else None
        return None if profile is None else self.state(profile)

    def state(self, profile: int) -> State | None:
        """Return a profile's state, if it is known here."""
        return self._states.get(profile)

    def keep(self, state: State, token: int | None = None) -> None:
        """Keep what is committed: a state, and that a token is always that profile's."""
        self._put(state)
        if token is not None:
            self._owners.put(state.profile if token == state.profile else token, state.profile)  # one number
            if len(self._owners) > self._most_owners:
                self._owners.pop_oldest()

    def take(self, touched: Touched) -> None:
        """Take over what was committed."""
        if touched.is_all:
            self.clear()
            return
        if self._changed is not None:
            self._changed.update(touched.states, touched.owners)
        for token, profile in touched.owners.items():
            if profile is None:
                self._owners.pop(token)
            elif token in self._owners:
                self._owners.put(token, profile)
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
        self._states, self._owners = Lately(), Lately()
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
        former = self._states.put(state.profile, state)
        self._bytes += (
            len(state.data) + _STATE_BYTES if former is None else len(state.data) - len(former.data)
        )
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._states.pop_oldest().data) + _STATE_BYTES

    def _drop(self, profile: int) -> None:
        former = self._states.pop(profile)
        if former is not None:
            self._bytes -= len(former.data) + _STATE_BYTES


def _always(spans: Sequence[Owned]) -> int | None:
    """Return whose a token is at all times; None if that depends, or it is nobody's."""
    return spans[0].profile if len(spans) == 1 and spans[0].valid_to is None else None
