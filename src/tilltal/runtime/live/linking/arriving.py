"""What records said since a position of the log: from the log itself, and from Parquet where it was moved."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import pyarrow.parquet as pq

from tilltal.core.instants import micros
from tilltal.core.operational import Logged, Reads
from tilltal.customers.live.facts.records import RecordFact
from tilltal.runtime.live.history.compaction import last_begun, range_of
from tilltal.runtime.live.intake.facts import FactReader
from tilltal.runtime.storage.store import Store

_HEAD = ("identity", "at")


class Said(msgspec.Struct, frozen=True):
    """What a record of a source said under a token: fields as text, as a refresh would cast them."""

    token: int
    source: str
    at: int
    fields: dict[str, str]


class Arrived(msgspec.Struct, frozen=True):
    """Records in order, and the position up to which that is all there was; `is_all`: the log ends there."""

    records: Sequence[Said]
    position: int
    is_all: bool


class Arrivals:
    """Reads records of some sources, of their fields those that are compared and kept in the log."""

    def __init__(self, files: Store, sources: Collection[str], fields: Collection[str]) -> None:
        """Take where Parquet lies, and which sources and fields count."""
        self._files = files
        self._sources = frozenset(sources)
        self._fields = tuple(fields)

    async def after(self, store: Reads, reader: FactReader, position: int, limit: int) -> Arrived:
        """Return the records of the next `limit` rows of the log.

        Rows that a compaction moved meanwhile are read from its files. Some may come twice.
        """
        rows = await store.log_after(position, limit)
        begun = await last_begun(store)  # asked later: what it moved before is in files by now
        moved = await asyncio.to_thread(self._moved, position) if begun > position else []
        found = [one for row in rows if (one := self._said(row, reader)) is not None]
        last = rows[-1].position if rows else max(position, begun)
        return Arrived([*moved, *found], last, is_all=len(rows) < limit)

    def _said(self, row: Logged, reader: FactReader) -> Said | None:
        if row.kind != "record" or row.source not in self._sources:
            return None
        fact = reader.read(row)
        if not isinstance(fact, RecordFact):
            return None
        return Said(row.token, row.source, row.at, self._texts(fact.fields))

    def _moved(self, position: int) -> list[Said]:
        """Return the records that compactions moved from after a position."""
        found: list[Said] = []
        for manifest in self._files.manifests():
            held = range_of(manifest)
            if held is not None and held.last > position and manifest.source in self._sources:
                view = f"history/records/{manifest.source}/"
                for part in manifest.parts:
                    if part.startswith(view):
                        found += self._read(part, manifest.source)
        return found

    def _read(self, part: str, source: str) -> Iterator[Said]:
        file = pq.ParquetFile(self._files.root / part)
        columns = [name for name in (*_HEAD, *self._fields) if name in file.schema_arrow.names]
        for row in file.read(columns).to_pylist():
            at: datetime = row["at"]
            yield Said(row["identity"], source, micros(at.replace(tzinfo=UTC)), self._texts(row))

    def _texts(self, fields: Mapping[str, object]) -> dict[str, str]:
        return {name: text_of(fields[name]) for name in self._fields if fields.get(name) is not None}


def text_of(value: object) -> str:
    """Return a value as SQL casts it to text.

    >>> text_of(True), text_of(7), text_of("Å")
    ('true', '7', 'Å')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)
