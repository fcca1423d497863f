"""The review queue: pairs that a person should look at, and what became of every pair so far.

`links/queue.jsonl` is what the last run found, and servers since: tokens, probabilities, reasons. What the
records say is read from the vault when somebody looks, so it is always as of now and lies nowhere twice.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec

from tilltal.core.errors import DataError, nearest
from tilltal.customers.identity.linking.judging import CONTRADICTION, MAX_RECORDS, UNDONE
from tilltal.customers.identity.links import KEPT
from tilltal.runtime.linking.verdicts import Ends, Evidence, evidence, folder, verdicts
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import Store

State = Literal["waiting", "refused", "linked", "rejected"]
_SHOWN = 3


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A pair that a run found. `objection` says what kept it from being linked; empty if it was not sure."""

    id: str
    a: int
    namespace_a: str
    b: int
    namespace_b: str
    probability: float
    found: str
    objection: str = ""

    @property
    def is_refused(self) -> bool:
        """True if a rule of identity forbids it; all else a person may know better."""
        return self.objection not in (KEPT, UNDONE, CONTRADICTION, MAX_RECORDS)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A pair and what became of it. `probability` is None where the run that found it is forgotten."""

    id: str
    state: State
    a: int
    namespace_a: str
    b: int
    namespace_b: str
    probability: float | None
    objection: str = ""
    observation: str = ""


def ends_of(proposals: Iterable[Proposal]) -> list[Ends]:
    """Return the two identifiers of each pair."""
    return [((one.namespace_a, one.a), (one.namespace_b, one.b)) for one in proposals]


def write_queue(store: Store, found: Sequence[Proposal], is_kept: Callable[[Proposal], bool]) -> None:
    """Replace the queue by what a run found; of what was there before, other pairs may be kept."""
    with _alone(store):
        ids = {one.id for one in found}
        rest = [one for one in read_queue(store) if one.id not in ids and is_kept(one)]
        _write(store, [*found, *rest])


def add_to_queue(store: Store, found: Sequence[Proposal]) -> None:
    """Add pairs to the queue; what is known of one already is replaced."""
    with _alone(store):
        ids = {one.id for one in found}
        _write(store, [*(one for one in read_queue(store) if one.id not in ids), *found])


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Be the only one that writes the queue, for a moment: servers write without the store's lock."""
    place = folder(store)
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place / "queue.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(store: Store, proposals: Iterable[Proposal]) -> None:
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in proposals)
    disk.write(folder(store) / "queue.jsonl", lines, mode=0o600)


def read_queue(store: Store) -> tuple[Proposal, ...]:
    """Return what the last run found, linked pairs included; nothing before the first."""
    path = folder(store) / "queue.jsonl"
    if not path.exists():
        return ()
    return tuple(msgspec.json.decode(line, type=Proposal) for line in path.read_bytes().splitlines())


def cases(store: Store) -> tuple[Case, ...]:
    """Return every pair with what became of it: the queue's, then links and rejections of earlier runs."""
    said = {one.link: one for one in verdicts(store)}
    withdrawn = {one.withdrawn for one in verdicts(store)}
    linked = {one.link: one for one in evidence(store) if one.observation not in withdrawn}
    proposals = {one.id: one for one in read_queue(store)}
    found = [
        _of_proposal(one, linked.get(one.id), one.id in said and said[one.id].said == "rejected")
        for one in proposals.values()
    ]
    found += [_of_evidence(one) for name, one in linked.items() if name not in proposals]
    every = {one.link: one for one in evidence(store)}
    found += [
        msgspec.structs.replace(_of_evidence(every[name]), state="rejected", observation="")
        if name in every
        else _bare(name, one.a, one.b)
        for name, one in said.items()
        if one.said == "rejected" and name not in proposals and name not in linked
    ]
    return tuple(found)


def case(store: Store, name: str) -> Case:
    """Return a pair by its id.

    Raises:
        DataError: P375 if there is none.
    """
    present = {one.id: one for one in cases(store)}
    if name not in present:
        raise DataError.of(
            "P375",
            f"There is no pair {name!r}.",
            valid=nearest(name, present)[:_SHOWN],
            hint="`tilltal link list` shows them.",
        )
    return present[name]


def _of_proposal(one: Proposal, link: Evidence | None, is_rejected: bool) -> Case:
    state: State = "refused" if one.is_refused else "waiting"
    if link is not None:
        state = "linked"
    elif is_rejected:
        state = "rejected"
    return Case(
        id=one.id,
        state=state,
        a=one.a,
        namespace_a=one.namespace_a,
        b=one.b,
        namespace_b=one.namespace_b,
        probability=one.probability,
        objection=one.objection,
        observation=link.observation if link else "",
    )


def _of_evidence(one: Evidence) -> Case:
    (namespace_a, a), (namespace_b, b) = one.ends
    return Case(
        id=one.link,
        state="linked",
        a=a,
        namespace_a=namespace_a,
        b=b,
        namespace_b=namespace_b,
        probability=None,
        observation=one.observation,
    )


def _bare(name: str, a: int, b: int) -> Case:
    return Case(id=name, state="rejected", a=a, namespace_a="", b=b, namespace_b="", probability=None)
