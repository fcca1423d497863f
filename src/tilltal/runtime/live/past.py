"""What Parquet holds of a few identifiers: for devices that change hands, and for timelines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from tilltal.core.names import quote
from tilltal.core.operational import Logged
from tilltal.core.ports import BatchEngine
from tilltal.runtime.live.facts import body_of
from tilltal.runtime.live.instants import micros
from tilltal.runtime.refresh.views import declared_views, open_history, view_name
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

_HEAD = frozenset(("identity", "event_id", "at", "received", "source"))


class Past:
    """History in Parquet, as rows of the log: what those rows would be had they come over HTTP."""

    def __init__(self, engine: BatchEngine, workspace: Workspace, store: Store) -> None:
        self._engine = engine
        self._workspace = workspace
        self._store = store
        self._seen: int | None = None
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
            name = view_name(view)
            if name in ("observations", "identities"):
                continue
            table = self._engine.arrow(f"SELECT * FROM history.{quote(name)} WHERE identity IN ({listed})")
            found += (_row(view, row, self._fields(view)) for row in table.to_pylist())
        return found

    def _open(self) -> None:
        """Make the views again if files came since."""
        count = len(self._store.manifests())
        if count != self._seen:
            open_history(self._engine, self._workspace, self._store)
            self._seen = count

    def _fields(self, view: str) -> Mapping[str, FieldType]:
        kind, _, name = view.partition("/")
        if kind == "events":
            return event_fields(self._workspace)[name]
        return kept_fields(self._workspace.sources[name]) if kind == "records" else {}


def _row(view: str, row: Mapping[str, object], fields: Mapping[str, FieldType]) -> Logged:
    kind, _, name = view.partition("/")
    received = _micros(row["received"])
    body = {key: _value(value, fields.get(key)) for key, value in row.items() if key not in _HEAD}
    return Logged(
        event_id=UUID(str(row["event_id"])).bytes if row.get("event_id") else b"",
        token=int(str(row["identity"])),
        ids=(int(str(row["identity"])),),
        kind={"events": "event", "records": "record", "holdings": "holding", "consents": "consent"}[kind],  # type: ignore[arg-type]
        name=name,
        source=str(row.get("source") or name),
        at=_micros(row.get("at") or row["received"]),
        received=received,
        body=body_of("", {key: value for key, value in body.items() if value is not None}),
    )


def _micros(instant: object) -> int:
    assert isinstance(instant, datetime), "history keeps instants as timestamps"
    return micros(instant.replace(tzinfo=UTC))


def _value(value: object, kind: FieldType | None) -> object:
    return json.loads(value) if kind == "any" and isinstance(value, str) else value


def unique(rows: Sequence[Logged]) -> list[Logged]:
    """Return rows without those that the log and Parquet both hold while a compaction is under way."""
    found = {row.event_id or (row.token, row.kind, row.at, row.body): row for row in rows}
    return list(found.values())
