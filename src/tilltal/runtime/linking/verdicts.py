"""What was decided about pairs, and where that lies.

A link is an observation of its own in history, named `tilltal.link:<id>`: every refresh and server reads it
like any other evidence, under all rules of identity. What takes it back, or keeps two identifiers apart, is a
line of `links/verdicts.jsonl`. Both files and history name tokens only.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.customers.identity.bulk import OBSERVATIONS
from tilltal.customers.identity.corrections import Corrections
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import LIVE, Manifest, Store

SOURCE = "tilltal.link"  # no source of a workspace can be called so: its name has a dot

Ends = tuple[tuple[str, int], tuple[str, int]]  # namespace and token of both ends


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A decision against a link. `withdrawn` is the observation it takes back, if there was one."""

    link: str
    a: int
    b: int
    said: Literal["rejected", "undone"]
    at: str
    withdrawn: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A link in history, withdrawn or not."""

    observation: str
    link: str
    at: datetime
    ends: Ends


def link_id(a: int, b: int) -> str:
    """Return the name of a pair of tokens, whichever comes first.

    >>> link_id(1, 2) == link_id(2, 1)
    True
    """
    text = f"{min(a, b)}|{max(a, b)}".encode()
    return f"l{hashlib.sha256(text).hexdigest()[:12]}"


def folder(store: Store) -> Path:
    """Return where linking keeps what it knows."""
    return store.root / "links"


def verdicts(store: Store) -> tuple[Verdict, ...]:
    """Return all decisions against links, in order."""
    path = folder(store) / "verdicts.jsonl"
    if not path.exists():
        return ()
    return tuple(msgspec.json.decode(line, type=Verdict) for line in path.read_bytes().splitlines())


def keep_verdicts(store: Store, new: Sequence[Verdict]) -> None:
    """Add decisions, all or none. Only for who holds the store's lock."""
    lines = [msgspec.json.encode(one) for one in (*verdicts(store), *new)]
    disk.write(folder(store) / "verdicts.jsonl", b"".join(line + b"\n" for line in lines), mode=0o600)


def evidence(store: Store) -> tuple[Evidence, ...]:
    """Return all links in history, oldest first."""
    return tuple(one for manifest in store.manifests(SOURCE) for one in evidence_in(store, manifest))


def evidence_in(store: Store, manifest: Manifest) -> list[Evidence]:
    """Return the links that were made at once."""
    rows = [row for part in manifest.parts for row in pq.read_table(store.root / part).to_pylist()]
    return [_evidence(row) for row in rows]


def _evidence(row: Mapping[str, Any]) -> Evidence:
    one, other = row["ids"]
    name = str(row["observation"])
    return Evidence(
        observation=name,
        link=name.partition(":")[2].partition(".")[0],
        at=row["at"].replace(tzinfo=UTC),
        ends=((one["namespace"], one["token"]), (other["namespace"], other["token"])),
    )


def keep_evidence(store: Store, links: Sequence[Ends], now: datetime) -> None:
    """Make links part of history, all or none. Only for who holds the store's lock.

    Args:
        store: whose history.
        links: the two identifiers of each link.
        now: the time of the links: evidence found today does not tell yesterday who somebody was.
    """
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{len(store.manifests(SOURCE))}"
    _keep(store, links, now, stamp, [one.link for one in evidence(store)])


def keep_live_evidence(store: Store, links: Sequence[Ends], now: datetime) -> None:
    """Make links part of history as `keep_evidence` does, beside whoever holds the store's lock.

    Of pairs that nobody ever decided against: their names are the plain ones, so that the same link twice is
    the same observation.
    """
    _keep(store, links, now, f"{LIVE}{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}", ())


def observation_of(link: str) -> str:
    """Return the name of the first observation that links a pair."""
    return f"{SOURCE}:{link}"


def _keep(store: Store, links: Sequence[Ends], now: datetime, stamp: str, earlier: Sequence[str]) -> None:
    at = now.astimezone(UTC).replace(tzinfo=None)
    rows = [
        {
            "observation": _name(link_id(ends[0][1], ends[1][1]), earlier),
            "at": at,
            "last_at": at,
            "ids": [{"namespace": namespace, "token": token} for namespace, token in ends],
        }
        for ends in links
    ]
    name = stamp if stamp.startswith(LIVE) else f"{SOURCE}-{stamp}"
    path = store.history / "observations" / f"{name}-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=OBSERVATIONS), path, compression="zstd")
    manifest = Manifest(
        id=stamp,
        source=SOURCE,
        file="links",
        ingested=now.astimezone(UTC).isoformat(),
        rows=len(rows),
        taken=len(rows),
        duplicate=0,
        quarantined=0,
        parts=(path.relative_to(store.root).as_posix(),),
    )
    store.accept(manifest)


def with_verdicts(store: Store, corrections: Corrections[int]) -> Corrections[int]:
    """Return a workspace's corrections and, beside them, what was decided against links."""
    every = verdicts(store)
    if not every:
        return corrections
    rejected = {one.link: one for one in every}  # the last word on each pair
    return Corrections(
        revoked=corrections.revoked | {one.withdrawn for one in every if one.withdrawn},
        forbid=corrections.forbid
        | {(min(one.a, one.b), max(one.a, one.b)) for one in rejected.values() if one.said == "rejected"},
        same_as=corrections.same_as,
    )


def _name(link: str, earlier: Sequence[str]) -> str:
    """A pair linked once more after its link was withdrawn gets a name of its own."""
    number = earlier.count(link)
    return f"{observation_of(link)}.{number}" if number else observation_of(link)
