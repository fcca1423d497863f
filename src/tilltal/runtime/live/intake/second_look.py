"""Messages out of quarantine, put through the contracts of today: what passes is applied like any message.

It goes into the operational store, beside a server that runs or not, so that states and log stay one; only
then are its entries settled. Doing it again does no harm: a message is known by its id.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore, is_retryable
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.intake import correction, quarantine
from tilltal.runtime.intake.acceptance import FileReport
from tilltal.runtime.intake.ingest import open_vault, source_of
from tilltal.runtime.live.contract import Message, MessageType
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.intake.appliers import applier_of
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.collecting import Call
from tilltal.runtime.live.intake.setting_aside import COLLECTOR, NO_SOURCE, SetAside
from tilltal.runtime.live.places import MADE, files_of, store_place
from tilltal.runtime.live.reference import snapshotted
from tilltal.runtime.storage import disk
from tilltal.workspace.definitions.sources import Read, Source
from tilltal.workspace.workspace import Workspace

_ATTEMPTS = 20
_NOBODYS = Source(kind="event", read=Read(collector=("track",)), identities={})


class _Row(msgspec.Struct, frozen=True):
    """A message of the quarantine: its entry, its text now, and whether that was corrected."""

    entry: str
    raw: str
    is_corrected: bool


class _Envelope(msgspec.Struct):
    """What a message must say of itself."""

    type: MessageType
    messageId: str = ""  # noqa: N815 - the protocol's word
    timestamp: datetime | None = None


def refused_by(workspace: Workspace, name: str) -> Source:
    """Return the source of that name; what no source took has one of its own, called `collector`.

    Raises:
        SourceError: S310 if there is none of that name.
    """
    if name == NO_SOURCE and name not in workspace.sources:
        return _NOBODYS
    return source_of(workspace, name)


def look_again(workspace: Workspace, name: str, path: Path | None, now: datetime) -> FileReport:
    """Put a source's messages through their contracts again, as they are or as a file corrects them.

    Args:
        workspace: definitions that passed their check.
        name: of a source of the collector, or `collector`.
        path: a corrected file that `quarantine export` wrote; None: all of them as they are.
        now: the clock.

    Raises:
        SourceError: S301, S303, S310, S346 if the file cannot be used.
        DataError: S345 if nothing is in quarantine; S347 if no server has made live customers for these
            definitions yet.
        EngineError: if a store or the disk gives up; what was settled by then is settled.
    """
    started = time.perf_counter()
    with (
        disk.explained(),
        open_vault(workspace) as vault,
        tempfile.TemporaryDirectory(prefix="tilltal-") as scratch,
        DuckDBEngine(memory_limit="1GB", threads=1, spill=Path(scratch)) as engine,
    ):
        rows = _rows(workspace, vault, name, path, Path(scratch))
        past = Past(engine, workspace, files_of(workspace))
        counts = asyncio.run(_look_again(workspace, vault, past, name, rows, now))
    return FileReport(
        source=name,
        file=COLLECTOR if path is None else path.name,
        rows=len(rows),
        taken=counts.taken,
        duplicate=counts.duplicate,
        quarantined=len(rows) - counts.taken - counts.duplicate,
        seconds=time.perf_counter() - started,
    )


def _rows(workspace: Workspace, vault: Vault, name: str, path: Path | None, scratch: Path) -> list[_Row]:
    definition = refused_by(workspace, name)
    found = {
        entry.id: quarantine.opened(vault, entry).raw
        for entry in quarantine.entries(files_of(workspace), name)
    }
    if not found:
        raise DataError.of("S345", f"Source {name} has no rows in quarantine.")
    if path is None:
        return [_Row(entry, raw, is_corrected=False) for entry, raw in found.items()]
    corrected = correction.unmarked(path, definition, scratch / "corrected")
    lines = filter(str.strip, corrected.path.read_text(encoding="utf-8").split("\n"))
    return [
        _Row(entry, line, is_corrected=_is_other(line, found[entry]))
        for entry, line in zip(corrected.entries, lines, strict=True)
        if entry in found
    ]


def _is_other(line: str, raw: str) -> bool:
    try:
        return bool(msgspec.json.decode(line) != msgspec.json.decode(raw))
    except msgspec.DecodeError:
        return line != raw


class _Counts(msgspec.Struct):
    taken: int = 0
    duplicate: int = 0


async def _look_again(
    workspace: Workspace, vault: Vault, past: Past, name: str, rows: Sequence[_Row], now: datetime
) -> _Counts:
    target = await open_store(store_place(workspace))
    try:
        adaptive = await target.adaptive()
        force = in_force(workspace, snapshotted(workspace).reference, vault, adaptive, micros(now))
        if await target.mark(MADE) != force.made_by:
            raise DataError.of(
                "S347",
                "The operational store has no customers that were made by these definitions.",
                hint="Start `tilltal serve`, or wait until it serves by them; then try again.",
            )
        applier = applier_of(force, past)
        counts = _Counts()
        settled = []
        aside = SetAside(files_of(workspace), vault)
        for row in rows:
            call = _call(force, row, now)
            if call is None or (not row.is_corrected and any(one.source == _own(name) for one in call.aside)):
                continue
            force.desk.keep_secrets(call.batch)
            collected = call.collected(await _applied(target, applier, force, call))
            counts.taken += collected.accepted
            counts.duplicate += collected.duplicates
            if row.is_corrected or name == NO_SOURCE:  # else who else refuses it has an entry of its own
                aside.keep(call.aside, now)
            settled.append(row.entry)
        aside.settle(name, settled, counts.taken, now)
        return counts
    finally:
        await target.close()


def _own(name: str) -> str:
    return "" if name == NO_SOURCE else name


def _call(force: InForce, row: _Row, now: datetime) -> Call | None:
    """Read a message; None if it does not say enough of itself to be one."""
    try:
        document: dict[str, object] = msgspec.json.decode(row.raw, type=dict[str, object])
        envelope = msgspec.convert(document, _Envelope, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    at = envelope.timestamp or now
    message = Message(
        index=0,
        type=envelope.type,
        message_id=envelope.messageId or row.entry,
        user_id=None,
        anonymous_id=None,
        timestamp=at if at.tzinfo else at.replace(tzinfo=UTC),
        document=document,
    )
    return force.reception.read([message], (), now)


async def _applied(
    target: OperationalStore, applier: Applier, force: InForce, call: Call
) -> frozenset[bytes]:
    """Apply a message, again if a server was faster."""
    clock = Clock(call.received, force.workspace.zone)
    for attempt in range(_ATTEMPTS):
        try:
            async with target.transaction() as tx:
                applied = await applier.apply(tx, call.batch.messages, call.batch.identities, clock)
            return applied.fresh
        except EngineError as error:
            if attempt == _ATTEMPTS - 1 or not is_retryable(error):
                raise
            await asyncio.sleep(0.01 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")
