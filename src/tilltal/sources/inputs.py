"""Which columns a source reads, for what, and whether a file still has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from tilltal.core.errors import Fault, Place, nearest
from tilltal.workspace.definitions.sources import Column, Field, FieldType, Source
from tilltal.workspace.names import known_values


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a file and how to read it, or a fixed `value` for every row.

    `role` says what it is for in the words of the definition: `at`, `identities.email`, `fields.amount`.
    """

    role: str
    column: str = ""
    value: str | None = None
    type: FieldType = "text"
    format: str | None = None
    time_zone: str | None = None
    map: dict[str, str] = {}
    values: tuple[str, ...] = ()
    is_required: bool = False
    decimal: str = "."
    unit: str = "major"
    minimum: float | None = None
    maximum: float | None = None
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the role: the field's or the namespace's name."""
        return self.role.rpartition(".")[2]


_TYPES: dict[str, FieldType] = {
    "at": "timestamp",
    "received": "timestamp",
    "opened": "date",
    "closed": "date",
    "granted": "boolean",
}
_SHOWN_LETTERS = 60  # of a column's name: a file without line ends is one long name
_CLOSED = frozenset({"event", "product"})  # a `map` alone says what these can be
_REQUIRED = frozenset({"id", "at", "event", "product", "opened", "purpose", "granted"})


def inputs_of(source: Source) -> tuple[Input, ...]:
    """Return everything a source reads, identities first, then what its kind asks for, then fields."""
    return (*_identities(source), *_roles(source), *fields_of(source))


def fields_of(source: Source) -> Iterator[Input]:
    """Return the fields of a source in their order, with the source's labels added to their own."""
    for name, stated in source.fields.items():
        field = stated if isinstance(stated, Field) else Field(type=stated)
        yield Input(
            role=f"fields.{name}",
            column=field.column or name,
            type=field.type,
            format=field.format,
            time_zone=field.time_zone,
            map=field.map,
            values=field.values,
            is_required=field.required,
            decimal=field.decimal,
            unit=field.unit,
            minimum=field.minimum,
            maximum=field.maximum,
            labels=tuple(dict.fromkeys((*field.labels, *source.labels))),
        )


def missing_columns(source: Source, name: str, columns: Sequence[str], file: str) -> tuple[Fault, ...]:
    """Return a fault for each column the source needs and the file has not, or has twice."""
    counts = Counter(columns)
    wanted = dict.fromkeys((one.column, one.role) for one in inputs_of(source) if one.column)
    faults = []
    for column, role in wanted:
        if not counts[column]:
            faults.append(
                Fault(
                    code="S304",
                    message=f"Column {column!r} ({role} of source {name}) is not in the file.",
                    place=Place(file=file),
                    valid=nearest(column, (name[:_SHOWN_LETTERS] for name in columns)),
                    hint="Name its new column in the source, or ask the sender what became of it.",
                )
            )
        elif counts[column] > 1:
            faults.append(
                Fault(
                    code="S305",
                    message=f"Column {column!r} ({role} of source {name}) is in the file "
                    f"{counts[column]} times; which one is meant?",
                    place=Place(file=file),
                    hint="Rename all but one of them in the file.",
                )
            )
    return tuple(faults)


def _identities(source: Source) -> Iterator[Input]:
    for namespace, column in source.identities.items():
        yield _input(f"identities.{namespace}", column)


def _roles(source: Source) -> Iterator[Input]:
    columns = {"id": source.id, "at": source.at, "received": source.received}
    names = {"event": source.event, "product": source.product}
    consent = {"purpose": source.purpose, "channel": source.channel}
    dates = {"opened": source.opened, "closed": source.closed}
    for role, stated in {**names, **consent}.items():
        if isinstance(stated, str):
            yield _fixed(role, stated)
        elif stated is not None:
            yield _input(role, stated)
    for role, column in {**columns, **dates}.items():
        if column is not None:
            yield _input(role, column)
    if isinstance(source.granted, bool):
        yield _fixed("granted", "true" if source.granted else "false")
    elif source.granted is not None:
        yield _input("granted", source.granted)


def _fixed(role: str, value: str) -> Input:
    return Input(role=role, value=value, type=_TYPES.get(role, "text"))


def _input(role: str, stated: str | Column) -> Input:
    column = Column(column=stated) if isinstance(stated, str) else stated
    return Input(
        role=role,
        column=column.column,
        type=_TYPES.get(role, "text"),
        format=column.format,
        time_zone=column.time_zone,
        map=column.map,
        values=known_values(column) if column.values or role in _CLOSED else (),
        is_required=role in _REQUIRED,
    )
