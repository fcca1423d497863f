"""`sources/<name>.yaml`: where data comes from and what it promises."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from tilltal.workspace.definitions.base import Definition, Labels

FieldType = Literal["text", "integer", "number", "money", "boolean", "date", "timestamp", "any"]
MessageType = Literal["identify", "track", "page", "screen", "group", "alias"]

COLLECTOR_DIRECTIVES = "YymdHMSfbBz%"  # of strptime formats, those that single messages are read by


class Csv(Definition, frozen=True, kw_only=True):
    """How a CSV file is written. Nothing is guessed: what is not stated has the default here."""

    delimiter: str = ","
    quote: str = '"'
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"] = "utf-8"
    header: bool = True
    columns: Annotated[tuple[str, ...], Meta(description="Column names where there is no header.")] = ()
    null: Annotated[tuple[str, ...], Meta(description="Texts that mean no value.")] = ("",)


class Read(Definition, frozen=True, kw_only=True):
    """Files (a path or glob, relative to the workspace), a query, or messages that the server is sent.

    Exactly one of `files`, `query` and `collector`.
    """

    files: str | None = None
    format: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        Meta(description="Guessed from the file's ending if absent."),
    ] = None
    csv: Csv = Csv()
    query: Annotated[str | None, Meta(description="SQL, run by DuckDB or by the ADBC driver.")] = None
    attach: Annotated[
        dict[str, str], Meta(description="For DuckDB's scanners: name → connection, such as `sqlite:crm.db`.")
    ] = {}
    adbc: Annotated[
        dict[str, str], Meta(description="ADBC: `driver` (Python package or shared library), `uri`.")
    ] = {}
    collector: Annotated[
        tuple[MessageType, ...] | None,
        Meta(description="Types of messages of the tracking API; columns are paths: `properties.amount`."),
    ] = None
    event: Annotated[
        tuple[str, ...],
        Meta(description="Only `track` messages of these events; not where a column tells the event type."),
    ] = ()


class Column(Definition, frozen=True, kw_only=True):
    """A column, with how to read it.

    A plain text in its place means just the column's name, except where a key says it is a fixed name.
    """

    column: str
    format: Annotated[
        str | None, Meta(description="strptime format of a date or time; ISO 8601 if absent.")
    ] = None
    time_zone: Annotated[
        str | None, Meta(description="Zone of times without offset; the workspace's if absent.")
    ] = None
    map: Annotated[
        dict[str, str],
        Meta(
            description="Values to replace; others stay, but as an event type or product only if in `values`."
        ),
    ] = {}
    values: Annotated[
        tuple[str, ...],
        Meta(description="Texts it can hold besides those of `map`; other rows are rejected."),
    ] = ()


class Field(Definition, frozen=True, kw_only=True):
    """A typed field taken from a column of the same name, or from `column`."""

    type: FieldType
    column: str | None = None
    format: str | None = None
    time_zone: str | None = None
    decimal: Annotated[Literal[".", ","], Meta(description="Decimal separator of numbers in text.")] = "."
    unit: Annotated[Literal["major", "minor"], Meta(description="Money in the file: 12.50 or 1250.")] = (
        "major"
    )
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: Annotated[tuple[str, ...], Meta(description="Allowed texts; empty = any.")] = ()
    map: dict[str, str] = {}
    labels: Labels = ()
    description: str = ""


class Source(Definition, frozen=True, kw_only=True):
    """One stream of rows of one kind.

    event: something happened (`event`, `at`, fields). record: what is known of a person as of `at` (each
    field becomes an attribute). holding: a product held (`product`, `opened`, `closed`). consent: an answer
    (`purpose`, `channel`, `granted`, `at`).
    """

    kind: Literal["event", "record", "holding", "consent"]
    read: Read
    party: Annotated[
        Literal["zero", "first", "second", "third"],
        Meta(description="The customer's word, ours, a partner's, bought; a label, such as `third_party`."),
    ] = "first"
    description: str = ""
    identities: Annotated[
        dict[str, str | Column], Meta(description="Namespace → column that holds its value.")
    ]
    id: Annotated[str | None, Meta(description="Column of the message id; the row's content if absent.")] = (
        None
    )
    at: Annotated[
        str | Column | None,
        Meta(description="Column of the event time. A record without it counts from `effective`."),
    ] = None
    effective: Annotated[str | None, Meta(description="Fixed instant of a record without its own time.")] = (
        None
    )
    received: Annotated[
        str | Column | None,
        Meta(description="Column of the arrival time; a file without it is history as it happened."),
    ] = None
    event: Annotated[
        str | Column | None, Meta(description="Event type: a fixed name, or {column: ..., values: [...]}.")
    ] = None
    product: Annotated[
        str | Column | None, Meta(description="Product: a fixed name, or {column: ..., values: [...]}.")
    ] = None
    opened: str | Column | None = None
    closed: str | Column | None = None
    purpose: Annotated[
        str | Column | None, Meta(description="Consent purpose: a fixed name, or {column: ...}.")
    ] = None
    channel: Annotated[
        str | Column | None, Meta(description="Channel: a fixed name or '*' for all, or {column: ...}.")
    ] = None
    granted: Annotated[
        str | Column | bool | None, Meta(description="Column of the answer, or a fixed true or false.")
    ] = None
    fields: dict[str, Field | FieldType] = {}
    labels: Labels = ()
    max_rejects: Annotated[
        float, Meta(ge=0, le=1, description="Share of rejected rows above which nothing is taken in.")
    ] = 0.05

    def __post_init__(self) -> None:
        """Let a source of the collector read what every message has: its id, its time and its arrival."""
        if self.read.collector is None:
            return
        times = () if self.kind == "holding" or self.effective is not None else ("at",)
        columns = {"id": "messageId", "at": "timestamp", "received": "receivedAt"}
        for key in ("id", *times, "received"):
            if getattr(self, key) is None:
                force_setattr(self, key, columns[key])
