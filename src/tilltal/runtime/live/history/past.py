"""What Parquet holds of a few identifiers: for devices that change hands, and for timelines."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from tilltal.core.instants import micros
from tilltal.core.names import literal, quote
from tilltal.core.operational import Identified, Kind, Logged, Reads
from tilltal.core.ports import BatchEngine
from tilltal.core.time import day_start
from tilltal.runtime.live.history.ingested import (
    BESIDE,
    NEVER,
    Part,
    Place,
    Shown,
    files_in,
    is_of_file,
    parts_of,
    shown_by,
    up_to,
)
from tilltal.runtime.live.intake.facts import body_of
from tilltal.runtime.refresh.views import declared_views, open_history, view_name
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Manifest, Store
from tilltal.sources.online.numbers import scalar
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

_WITHOUT_ID = ("holdings", "consents")  # views that leave the message id out
_KINDS: Mapping[str, Kind] = {
    "events": "event",
    "records": "record",
    "holdings": "holding",
    "consents": "consent",
}
_AT_ALL = ('"at"', "received")  # a row is known once it has happened and arrived
_INSTANTS = {"observations": ('"at"',), "holdings": ("received",)}
_LAST = 2**62  # after all rows
_ALWAYS = {"identity": "BIGINT", "event_id": "UUID"}
_HEAD = frozenset(("identity", "event_id", "at", "received", "source"))


History = Callable[[Iterable[int], Shown], Sequence[Logged]]
"""Given leading tokens, all their rows that have left the log for Parquet, or came in files that count."""


class Sighting(msgspec.Struct, frozen=True):
    """Identifiers of a file seen together (then with `source:message id`), or one alone; microseconds."""

    name: str | None
    at: int
    ids: tuple[tuple[str, int], ...]


class Past:
    """History in Parquet, as rows of the log: what those rows would be had they come over HTTP.

    Of ingested files it shows what live customers are made of, so that nothing counts before its turn.
    """

    def __init__(self, engine: BatchEngine, workspace: Workspace, store: Store) -> None:
        self._engine = engine
        self._workspace = self._asked = workspace
        self._store = store
        self._seen: tuple[frozenset[tuple[str, int, int]], frozenset[str], frozenset[str]] | None = None
        self._partly: list[Manifest] = []
        self._whole: dict[str, list[Path]] = {}
        self._turn = threading.Lock()  # one question at a time; they come from several threads

    def use(self, workspace: Workspace) -> None:
        """Read by other definitions from the next question on."""
        self._asked = workspace

    def rows_of(self, tokens: Iterable[int], shown: Shown) -> list[Logged]:
        """Return everything of these leading tokens that is shown, in no particular order."""
        wanted = sorted(set(tokens))
        if not wanted:
            return []
        with self._asking():
            return self._rows_of(wanted, shown)

    def rows_in(self, part: Part, first: int, last: int) -> list[Logged]:
        """Return some rows of a file's part, from a number (0: the first) up to before another, in order."""
        with self._asking():
            return self._rows_in(part, f"file_row_number >= {first} AND file_row_number < {last}")

    def sightings_in(self, part: Part, first: int, last: int) -> list[Sighting]:
        """Return some rows of a file's observations, likewise."""
        return [
            Sighting(
                row["observation"],
                _micros(row["at"]),
                tuple((one["namespace"], one["token"]) for one in row["ids"]),
            )
            for row in self._plain_rows(part, first, last)
        ]

    def identities_in(self, part: Part, first: int, last: int) -> list[Identified]:
        """Return some rows of a file's identities, likewise."""
        rows = self._plain_rows(part, first, last)
        return [Identified(row["token"], row["namespace"], row["value"]) for row in rows]

    def ahead(self, manifests: Iterable[Manifest], after: int) -> set[str]:
        """Return the ids of those files that have rows which come to be known later than an instant."""
        files: dict[str, dict[str, str]] = defaultdict(dict)  # view → path → manifest
        for manifest in manifests:
            for part in parts_of(manifest):
                files[part.view][str(self._store.root / part.path)] = manifest.id
        found: set[str] = set()
        for view in files.keys() - {"identities"}:
            listed = ", ".join(map(literal, files[view]))
            late = " OR ".join(f"{one} > make_timestamp({after})" for one in _INSTANTS.get(view, _AT_ALL))
            query = (
                f"SELECT DISTINCT filename FROM read_parquet([{listed}], union_by_name = true, "
                f"hive_partitioning = false, filename = true) WHERE {late}"
            )
            with self._turn:
                found.update(files[view][path] for (path,) in self._engine.rows(query))
        return found

    def comes_next(self, manifest: Manifest, after: int) -> int | None:
        """Return the first instant, later than another, at which rows of a file come to be known."""
        parts = (part for part in parts_of(manifest) if part.view != "identities")
        found = (self._next_in(part, after) for part in parts)
        return min((at for at in found if at is not None), default=None)

    def _next_in(self, part: Part, after: int) -> int | None:
        path = literal(str(self._store.root / part.path))
        instants = f"greatest({', '.join(_INSTANTS.get(part.view, _AT_ALL))})"
        query = (
            f"SELECT min(epoch_us({instants})) FROM read_parquet({path}) WHERE epoch_us({instants}) > {after}"
        )
        with self._turn:
            ((found,),) = self._engine.rows(query)
        return None if found is None else int(found)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Be the only one who asks, by the definitions of now."""
        with self._turn:
            if self._workspace is not self._asked:
                self._workspace, self._seen = self._asked, None
            yield

    def _plain_rows(self, part: Part, first: int, last: int) -> list[dict[str, Any]]:
        path = literal(str(self._store.root / part.path))
        query = (
            f"SELECT * FROM read_parquet({path}, file_row_number = true) "
            f"WHERE file_row_number >= {first} AND file_row_number < {last} ORDER BY file_row_number"
        )
        with self._turn:
            found: list[dict[str, Any]] = self._engine.arrow(query).to_pylist()
        return found

    def _rows_of(self, wanted: Sequence[int], shown: Shown) -> list[Logged]:
        self._open(shown)
        is_wanted = f"identity IN ({', '.join(map(str, wanted))})"
        found: list[Logged] = []
        for view in declared_views(self._workspace):
            if view not in BESIDE:
                query = f"SELECT * FROM {self._relation(view)} WHERE {is_wanted}"
                table = self._engine.arrow(query)
                found += (self._row(view, row) for row in table.to_pylist())
        for manifest in self._partly:
            place = shown.place if shown.place and shown.place.manifest == manifest.id else None
            found += self._rows_until(manifest, place, shown.files.ahead.get(manifest.id, NEVER), is_wanted)
        return found

    def _rows_until(
        self, manifest: Manifest, place: Place | None, until: int, condition: str
    ) -> Iterator[Logged]:
        """Yield the rows of a file that count: up to an instant, and to a later one up to its place."""
        for number, part in enumerate(parts_of(manifest)):
            if part.view in BESIDE:
                continue
            begin = 0
            if place is not None and number <= place.part:
                begin = place.row if number == place.part else _LAST
                early = self._rows_in(part, f"{condition} AND file_row_number < {begin}")
                yield from (row for row in early if known_at(row) <= place.until)
            if until != NEVER:
                late = self._rows_in(part, f"{condition} AND file_row_number >= {begin}")
                yield from (row for row in late if known_at(row) <= until)

    def _rows_in(self, part: Part, condition: str) -> list[Logged]:
        """Return rows of a part, as its view would show them, by number."""
        relation = f"read_parquet({literal(str(self._store.root / part.path))}, file_row_number = true)"
        present = {row[0] for row in self._engine.rows(f"DESCRIBE SELECT * FROM {relation}")}
        kept = [
            f"TRY_CAST({quote(name)} AS {kind}) AS {quote(name)}"
            for name, kind in {**declared_views(self._workspace).get(part.view, {}), **_ALWAYS}.items()
            if name in present
        ]
        query = f"SELECT {', '.join(kept)} FROM {relation} WHERE {condition} ORDER BY file_row_number"
        return [self._row(part.view, row) for row in self._engine.arrow(query).to_pylist()]

    def _open(self, shown: Shown) -> None:
        """Make the views again if files came since, or count since."""
        whole = shown.files.whole - shown.files.ahead.keys()
        begun = frozenset(() if shown.place is None else (shown.place.manifest,))
        seen = stamps_of(self._store), whole, begun | shown.files.ahead.keys()
        if seen != self._seen:
            still = CountingStore(self._store.root, whole - begun)
            open_history(self._engine, self._workspace, still)
            self._partly = [one for one in files_in(self._store) if one.id in seen[2]]
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
            return event_fields(self._workspace).get(name, {})
        source = self._workspace.sources.get(name) if kind == "records" else None
        return {} if source is None else kept_fields(source)

    def _row(self, view: str, row: Mapping[str, object]) -> Logged:
        fields = self._fields(view)
        view_kind, _, name = view.partition("/")
        source = str(row.get("source") or name)
        body = {
            key: kept_value(row[key], fields.get(key))
            for key in declared_views(self._workspace).get(view, ())
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


def kept_value(value: object, kind: FieldType | None) -> object:
    """Return a value of a field as history keeps it: of no declared type, as JSON or as a plain text."""
    if kind != "any" or not isinstance(value, str):
        return value
    if not value.startswith('"'):
        return scalar(value)
    try:
        return json.loads(value)
    except ValueError:  # it came when the field was a text
        return value


def known_at(row: Logged) -> int:
    """Return from when on a row counts: it has happened and arrived."""
    return max(row.at, row.received)


async def rows_of(store: Reads, history: History, tokens: Collection[int]) -> list[Logged]:
    """Return everything of these leading tokens once, wherever it is, in no particular order.

    The log is read first: what leaves it meanwhile is in Parquet before.
    """
    logged = await store.events_of(tokens)
    if (known := await up_to(store)) is not None:
        logged = [row for row in logged if row.position <= known.position]
    shown = await shown_by(store)
    return _unique([*logged, *await asyncio.to_thread(history, tokens, shown or Shown())])


def stamps_of(store: Store) -> frozenset[tuple[str, int, int]]:
    """Return what differs once anything was ingested or compacted."""
    ingested = store.root / "ingested"
    folders = ingested.iterdir() if ingested.is_dir() else ()
    return frozenset((one.name, one.stat().st_mtime_ns, sum(1 for _ in one.iterdir())) for one in folders)


class CountingStore(StillStore):
    """A store that stands still and shows of ingested files those of which all rows count."""

    def __init__(self, root: Path, whole: frozenset[str]) -> None:
        super().__init__(root)
        self.whole = whole

    def manifests(self, source: str | None = None) -> tuple[Manifest, ...]:
        """See `Store`."""
        return tuple(one for one in super().manifests(source) if one.id in self.whole or not is_of_file(one))


def _unique(rows: Sequence[Logged]) -> list[Logged]:
    """Return rows without those that the log and Parquet both hold; Parquet's stay.

    That is so while a compaction is under way, and where a file brings what had come as a message.
    """
    found = {row.event_id or (row.token, row.kind, row.at, row.body): row for row in rows}
    return list(found.values())
