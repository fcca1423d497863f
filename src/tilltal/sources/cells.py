"""SQL of one cell of a file: where its text or its typed value is found, trimmed and mapped."""

from __future__ import annotations

import msgspec

from tilltal.core.names import literal, quote
from tilltal.sources.inputs import Input

TEXT = "VARCHAR"
_TEXTS = (TEXT, "ENUM")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """SQL of a value and its DuckDB type; everything read from text files is VARCHAR.

    `says_text` is SQL that is true where the source itself says that the value is a text.
    """

    sql: str
    type: str = TEXT
    says_text: str = "FALSE"

    @property
    def is_text(self) -> bool:
        """True where the value has still to be read from text."""
        return self.type == TEXT

    @property
    def as_text(self) -> str:
        """SQL of the value as text."""
        return self.sql if self.is_text else f"CAST({self.sql} AS VARCHAR)"


class RawTable(msgspec.Struct, frozen=True, kw_only=True):
    """A file or query as it was read, before anything is believed of it.

    `relation` is SQL to select from, `columns` its columns in order with the names the file gives them,
    `number` the SQL of a row's position (from 0), `content` SQL of the row as text in the source's own
    format, and `fingerprint` SQL of all that distinguishes a row. `nulls` are texts that mean no value.
    `problem` is SQL of a reason to turn a row away before its cells are looked at, or NULL.
    """

    relation: str
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    number: str = "file_row_number"
    content: str
    fingerprint: str
    problem: str = "CAST(NULL AS VARCHAR)"
    nulls: tuple[str, ...] = ("",)

    def cell(self, column: str) -> Cell:
        """Return the cell of a column the file has."""
        return self.cells[self.columns.index(column)]


def read(table: RawTable, one: Input) -> Cell:
    """Return the cell an input reads: trimmed, its blanks and `nulls` NULL, its `map` applied."""
    if one.value is not None:
        return Cell(sql=literal(one.value))
    found = table.cell(one.column)
    if not found.is_text and not one.map:
        return found
    text = _mapped(_present(found.as_text, table.nulls), one.map)
    return Cell(sql=text, says_text=found.says_text)


def _present(text: str, nulls: tuple[str, ...]) -> str:
    present = f"nullif(trim({text}), '')"
    for null in nulls:
        if null:
            present = f"nullif({present}, {literal(null)})"
    return present


def _mapped(text: str, values: dict[str, str]) -> str:
    if not values:
        return text
    cases = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in values.items())
    return f"CASE {text} {cases} ELSE {text} END"


def plain_columns(names: tuple[str, ...], types: tuple[str, ...]) -> tuple[Cell, ...]:
    """Return cells that read columns by their names."""
    return tuple(
        Cell(sql=quote(name), type=kind, says_text=str(kind.startswith(_TEXTS)).upper())
        for name, kind in zip(names, types, strict=True)
    )
