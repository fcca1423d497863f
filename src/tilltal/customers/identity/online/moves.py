"""What must move when owners change: fragments of state as a whole, or the rows of some spans of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from tilltal.core.operational import Owned
from tilltal.customers.identity.online.spans import since

Spans = Mapping[int, tuple[Owned, ...]]


class Move(msgspec.Struct, frozen=True):
    """All that a profile held of a token is another profile's; `new` None: nobody's."""

    token: int
    old: int
    new: int | None


class Passage(msgspec.Struct, frozen=True):
    """What a token did in a span, half open in microseconds (`until` None: open), passes from old to new.

    None is nobody. The fragments of both are made again from the log, or left where it has no such row.
    """

    token: int
    since: int
    until: int | None
    old: int | None
    new: int | None


class Moves(msgspec.Struct, frozen=True, kw_only=True):
    """What must be done besides writing the owners.

    `owners`: the tokens whose spans are written anew. `gone`: profiles, named by one of these tokens,
    that own nothing any more.
    """

    owners: dict[int, tuple[Owned, ...]]
    whole: tuple[Move, ...]
    passages: tuple[Passage, ...]
    gone: frozenset[int]

    @property
    def profiles(self) -> frozenset[int]:
        """All profiles that gain or lose something."""
        changed = [(one.old, one.new) for one in self.whole] + [(one.old, one.new) for one in self.passages]
        return frozenset(one for pair in changed for one in pair if one is not None)


def changes(before: Spans, after: Spans) -> Moves:
    """Compare the owners of a component's tokens.

    Args:
        before: spans as they were, of all tokens that were known; others may be there too.
        after: spans as they are now, of every token of the component.
    """
    owners = {token: spans for token, spans in after.items() if before.get(token) != spans}
    whole: list[Move] = []
    passages: list[Passage] = []
    known = owners.keys() & before.keys()
    for token in owners:
        if token in known:
            moved, passed = _compared(token, before[token], owners[token])
            whole += moved
            passages += passed
    lost = _profiles(before[token] for token in known)
    gone = lost - _profiles(after.values()) if lost else lost
    return Moves(owners=owners, whole=tuple(whole), passages=tuple(passages), gone=gone & after.keys())


def _profiles(owners: Iterable[Sequence[Owned]]) -> frozenset[int]:
    return frozenset(span.profile for spans in owners for span in spans if span.profile is not None)


def _compared(
    token: int, before: Sequence[Owned], after: Sequence[Owned]
) -> tuple[list[Move], list[Passage]]:
    """A profile's part moves whole if all of it goes to one profile that had nothing of the token before."""
    pieces = _pieces(token, before, after)
    to: dict[int | None, set[int | None]] = defaultdict(set)
    of: dict[int | None, set[int | None]] = defaultdict(set)
    for one in pieces:
        to[one.old].add(one.new)
        of[one.new].add(one.old)
    moved = {
        one.old: one.new
        for one in pieces
        if one.old is not None and len(to[one.old]) == 1 and (one.new is None or of[one.new] == {one.old})
    }
    whole = [Move(token, old, new) for old, new in moved.items() if old is not None and old != new]
    return whole, [one for one in pieces if one.old not in moved and one.old != one.new]


def _pieces(token: int, before: Sequence[Owned], after: Sequence[Owned]) -> list[Passage]:
    """Cut time, from when the token was first known, where either owner changes."""
    start = since(before)
    cuts = sorted({start, *(max(start, since([span])) for span in (*before, *after))})
    owners = zip(cuts, _at_each(before, cuts), _at_each(after, cuts), (*cuts[1:], None), strict=True)
    pieces: list[Passage] = []
    for at, old, new, until in owners:
        is_more = pieces and (pieces[-1].old, pieces[-1].new) == (old, new)
        pieces.append(Passage(token, pieces.pop().since if is_more else at, until, old, new))
    return pieces


def _at_each(spans: Sequence[Owned], instants: Sequence[int]) -> Iterator[int | None]:
    """Yield the owner at each of some instants, in order of time."""
    place = 0
    for at in instants:
        while (end := spans[place].valid_to) is not None and end <= at:
            place += 1
        yield spans[place].profile
