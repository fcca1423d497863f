"""Which ingested files live customers know of: a mark of those that count whole, another of the one at hand.

Both change in the transactions that change customers. So whoever reads them there knows exactly which rows of
Parquet customers are made of, and whoever goes on after a crash goes on where the last transaction ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from tilltal.core.operational import Reads
from tilltal.runtime.storage.store import LIVE, Manifest, Store

FILES = "files"  # the mark of whole files
UP_TO = "made up to"  # the mark of customers in the making
FILE = "file"  # the mark of the one at hand
NEVER = -(2**63)  # before all instants
BESIDE = ("identities", "observations")  # views that hold no rows of messages


class Files(msgspec.Struct, frozen=True):
    """Ids of manifests.

    `whole`: those whose rows count. `unnamed`: of these, those whose message ids `seen` lacks. `ahead`: of
    these, those with rows of later than an instant, which have yet to come.
    """

    whole: frozenset[str] = frozenset()
    unnamed: frozenset[str] = frozenset()
    ahead: dict[str, int] = {}


class Place(msgspec.Struct, frozen=True):
    """How far a file has come: so many of its parts, and so many rows of the next; see `parts_of`.

    Rows count that are of an instant up to `until`; those up to `after` counted before.
    """

    manifest: str
    part: int = 0
    row: int = 0
    after: int = NEVER
    until: int = NEVER


class Shown(msgspec.Struct, frozen=True):
    """Which rows of files live customers are made of: those of whole files, and the first of one more."""

    files: Files = Files()
    place: Place | None = None


class Part(msgspec.Struct, frozen=True):
    """A Parquet file of a manifest: the view it belongs to, and its path relative to the store."""

    view: str
    path: str


class UpTo(msgspec.Struct, frozen=True):
    """What customers in the making know of: the log up to a position. `files` made them."""

    position: int
    files: frozenset[str]


async def up_to(reads: Reads) -> UpTo | None:
    """Return what customers in the making know of; None of those in use."""
    found = await reads.mark(UP_TO)
    return msgspec.msgpack.decode(found, type=UpTo) if found else None


def up_to_mark(known: UpTo | None) -> dict[str, bytes]:
    """Return what customers in the making know of as a mark to write."""
    return {UP_TO: b"" if known is None else msgspec.msgpack.encode(known)}


async def shown_by(reads: Reads) -> Shown | None:
    """Return what live customers know of files; None where they were never made from any."""
    found = await reads.mark(FILE)  # before the other: a file that ends in between is whole then
    place = msgspec.msgpack.decode(found, type=Place) if found else None
    files = await reads.mark(FILES)
    if files is None:
        return None
    try:
        known = msgspec.msgpack.decode(files, type=Files)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of an earlier kind: they are to be made again
        return None
    is_over = place is not None and place.manifest in known.whole - known.ahead.keys()
    return Shown(known, None if is_over else place)


def marks_of(shown: Shown, before: Shown | None = None) -> dict[str, bytes]:
    """Return what is shown as marks to write, given what was shown before."""
    place = b"" if shown.place is None else msgspec.msgpack.encode(shown.place)
    if before is not None and before.files == shown.files:
        return {FILE: place}
    return {FILES: msgspec.msgpack.encode(shown.files), FILE: place}


def is_of_file(manifest: Manifest) -> bool:
    """True for the manifest of an ingested file or query with rows, False for what a server wrote."""
    is_of_server = manifest.source.startswith(LIVE) or manifest.id.startswith(f"{LIVE}{manifest.source}-")
    return bool(manifest.parts) and not is_of_server


def files_in(store: Store) -> list[Manifest]:
    """Return the manifests of all ingested files, in order of acceptance."""
    return [one for one in store.manifests() if is_of_file(one)]


def parts_of(manifest: Manifest) -> Sequence[Part]:
    """Return a file's parts in the order they count: who is who comes before what they did."""
    parts = [Part("/".join(PurePosixPath(one).parts[1:-1]), one) for one in manifest.parts]
    order = {view: number for number, view in enumerate(BESIDE)}
    return sorted(parts, key=lambda one: (order.get(one.view, len(BESIDE)), one.path))
