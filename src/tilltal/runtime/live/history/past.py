"""What Parquet holds of a few identifiers: for devices that change hands, and for timelines."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

from tilltal.core.names import literal, quote
from tilltal.core.operational import Kind, Logged, Reads
from tilltal.core.ports import BatchEngine
from tilltal.core.time import day_start
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.intake.facts import body_of
from tilltal.runtime.refresh.views import declared_views, open_history, view_name
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

_BESIDE = frozenset(("observations", "identities"))
_WITHOUT_ID = ("holdings", "consents")  # views that leave the message id out
_KINDS: Mapping[str, Kind] = {
    "events": "event",
    "records": "record",
    "holdings": "holding",
    "consents": "consent",
}
_HEAD = frozenset(("identity", "event_id", "at", "received", "source"))


History = Callable[[Iterable[int]], Sequence[Logged]]
"""Given leading tokens, all their rows that have left the log for Parquet."""


class Past:
    """History in Parquet, as rows of the log: what those rows would be had they come over HTTP."""

    def __init__(self, engine: BatchEngine, workspace: Workspace, store: Store) -> None:
        self._engine = engine
        self._workspace = workspace
        self._store = store
        self._seen: frozenset[tuple[str, int, int]] | None = None
        self._whole: dict[str, list[Path]] = {}
        self._turn = threading.Lock()  # one question at a time; they come from several threads

    def rows_of(self, tokens: Iterable[int]) -> list[Logged]:
        """Return everything of these leading tokens, in no particular order."""
        wanted = sorted(set(tokens))
        if not wanted:
            return []
        with self._turn:
            return self._rows_of(wanted)

    def _rows_of(self, wanted: Sequence[int]) -> list[Logged]:
        self._open()
        listed = ", ".join(map(str, wanted))
        found: list[Logged] = []
        for view in declared_views(self._workspace):
            if view not in _BESIDE:
                query = f"SELECT * FROM {self._relation(view)} WHERE identity IN ({listed})"
                table = self._engine.arrow(query)
                found += (self._row(view, row) for row in table.to_pylist())
        return found

    def _open(self) -> None:
        """Make the views again if files came since."""
        ingested = self._store.root / "ingested"
        folders = ingested.iterdir() if ingested.is_dir() else ()
        seen = frozenset((one.name, one.stat().st_mtime_ns, sum(1 for _ in one.iterdir())) for one in folders)
        if seen != self._seen:
            still = StillStore(self._store.root)
            open_history(self._engine, self._workspace, still)
            self._whole = {view: still.accepted(view) for view in _WITHOUT_ID}
            self._seen = seen

    def _relation(self, view: str) -> str:
        """Return what to read a view from: the files where its view lacks the message id, which they have."""
        files = self._whole.get(view)
        if not files:
            return f"history.{quote(view_name(view))}"
        listed = ", ".join(literal(str(file)) for file in files)
        return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"

    def _fields(self, view: str) -> Mapping[str, FieldType]:
        kind, _, name = view.partition("/")
        if kind == "events":
            return event_fields(self._workspace)[name]
        return kept_fields(self._workspace.sources[name]) if kind == "records" else {}

    def _row(self, view: str, row: Mapping[str, object]) -> Logged:
        fields = self._fields(view)
        view_kind, _, name = view.partition("/")
        source = str(row.get("source") or name)
        body = {
            key: _value(row[key], fields.get(key))
            for key in declared_views(self._workspace)[view]
            if key not in _HEAD and row.get(key) is not None
        }
        return Logged(
            event_id=UUID(str(row["event_id"])).bytes if row.get("event_id") else b"",
            token=int(str(row["identity"])),
            ids=(int(str(row["identity"])),),
            kind=_KINDS[view_kind],
            name=name or source,
            source=source,
            at=self._at(row),
            received=_micros(row["received"]),
            body=body_of("", body),
        )

    def _at(self, row: Mapping[str, object]) -> int:
        """Return when a row happened; a holding, when it was opened, or told of if that was before."""
        opened, received = row.get("opened"), _micros(row["received"])
        if row.get("at") is None and isinstance(opened, date):
            return min(micros(day_start(opened, self._workspace.zone)), received)
        return _micros(row.get("at") or row["received"])


def _micros(instant: object) -> int:
    assert isinstance(instant, datetime), "history keeps instants as timestamps"
    return micros(instant.replace(tzinfo=UTC))


def _value(value: object, kind: FieldType | None) -> object:
    if kind != "any" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:  # it was a text when it came
        return value


async def rows_of(store: Reads, history: History, tokens: Collection[int]) -> list[Logged]:
    """Return everything of these leading tokens once, wherever it is, in no particular order.

    The log is read first: what leaves it meanwhile is in Parquet before.
    """
    logged = await store.events_of(tokens)
    return _unique([*await asyncio.to_thread(history, tokens), *logged])


def _unique(rows: Sequence[Logged]) -> list[Logged]:
    """Return rows without those that the log and Parquet both hold while a compaction is under way."""
    found = {row.event_id or (row.token, row.kind, row.at, row.body): row for row in rows}
    return list(found.values())
