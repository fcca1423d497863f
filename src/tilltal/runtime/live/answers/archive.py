"""What decided, kept for good: definitions by their content hash, and where scores came from.

A decision names both. They are marks of the operational store, on disk before the first decision that names
them, so that whoever has the decisions has what they were made by: every server, every backup.
"""

from __future__ import annotations

import zlib
from hashlib import sha256

import msgspec

from tilltal.core.errors import DataError
from tilltal.core.operational import OperationalStore, Reads, Writes
from tilltal.customers.live.program import Reference
from tilltal.workspace.load import assembled
from tilltal.workspace.workspace import Workspace

DEFINITIONS, ORIGIN = "definitions/", "origin/"  # how the names of the marks begin


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where scores and segments came from, beside messages: the snapshot, and the editions of its models.

    `as_of` is the instant of the snapshot, ISO 8601; empty without one. `missing` are models that could not
    be used, with the reason.
    """

    snapshot: str = ""
    as_of: str = ""
    models: dict[str, str] = {}
    missing: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """By which decisions name it: 16 hexadecimal digits of its content."""
        return sha256(_origin_bytes(self)).hexdigest()[:16]


def origin_of(reference: Reference) -> Origin:
    """Return where the values of live profiles come from, beside messages."""
    return Origin(
        snapshot=reference.version,
        as_of=reference.as_of,
        models=dict(sorted(reference.editions.items())),
        missing=dict(sorted(reference.faulty.items())),
    )


async def keep(store: OperationalStore, workspace: Workspace, origin: Origin) -> None:
    """Keep what decisions will name, unless it is kept already; return once it is durable.

    Raises:
        EngineError: E530, E531 if the store cannot be written.
    """
    wanted = {
        DEFINITIONS + workspace.content_hash: packed(workspace),
        ORIGIN + origin.digest: _origin_bytes(origin),
    }
    missing = {name: data for name, data in wanted.items() if await store.mark(name) != data}
    if missing:
        await store.write(Writes(marks=missing))


async def definitions_of(store: Reads, version: str) -> Workspace | None:
    """Return the definitions of a content hash; None if none of that hash ever decided.

    Raises:
        DataError: E561 if what is kept of them is damaged.
        WorkspaceError: if this Tilltal reads such definitions no more.
    """
    data = await store.mark(DEFINITIONS + version)
    return None if data is None else unpacked(data, version)


async def origin_named(store: Reads, digest: str) -> Origin:
    """Return where the scores of a decision came from; an empty one if nothing is kept of it."""
    data = await store.mark(ORIGIN + digest)
    return Origin() if data is None else msgspec.msgpack.decode(data, type=Origin)


def packed(workspace: Workspace) -> bytes:
    """Return the files of a workspace's definitions as bytes: about a tenth of their size."""
    files = {file: document.text for file, document in sorted(workspace.documents.items())}
    return zlib.compress(msgspec.msgpack.encode(files), 9)


def unpacked(data: bytes, version: str) -> Workspace:
    """Read what `packed` wrote; the root of such a workspace is nowhere.

    Raises:
        DataError: E561 if it is damaged.
        WorkspaceError: if this Tilltal reads such definitions no more.
    """
    try:
        files = msgspec.msgpack.decode(zlib.decompress(data), type=dict[str, str])
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError.of(
            "E561",
            f"What is kept of the definitions {version[:12]} is damaged: {error}.",
            hint="Restore the operational store from a backup, or put those definitions in force once.",
        ) from error
    return assembled(files)


def _origin_bytes(origin: Origin) -> bytes:
    return msgspec.msgpack.encode(origin)
