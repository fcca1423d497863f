"""SQL that reads files: everything stated, nothing guessed.

CSV and JSON Lines are first copied as text to Parquet, which numbers their rows; what cannot be read at all
is set apart by DuckDB with its position (`store_rejects`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.names import literal, quote
from tilltal.sources.casts import is_untyped
from tilltal.sources.cells import Cell, RawTable, plain_columns
from tilltal.sources.inputs import Input
from tilltal.sources.reasons import written
from tilltal.workspace.definitions.sources import Csv

# What DuckDB calls the reasons for which it sets a row apart.
REJECT_CODES = {
    "MISSING COLUMNS": "S321",
    "TOO MANY COLUMNS": "S322",
    "UNQUOTED VALUE": "S323",
    "INVALID ENCODING": "S324",
    "LINE SIZE OVER MAXIMUM": "S325",
}
_FIELD_END = "chr(31)"
_NOTHING = "chr(30)"


def csv_to_parquet(path: str, csv: Csv, width: int, compression: str, target: str) -> str:
    """Return SQL that copies a UTF-8 CSV file of `width` columns as text."""
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(width))
    options = (
        f"columns = {{{columns}}}, header = {str(csv.header).lower()}, delim = {literal(csv.delimiter)}, "
        f"quote = {literal(csv.quote)}, escape = {literal(csv.quote)}"
    )
    return _copied(path, options, compression, target)


def lines_to_parquet(path: str, compression: str, target: str) -> str:
    """Return SQL that copies the lines of a UTF-8 text file as one column `c0`."""
    options = "columns = {'c0': 'VARCHAR'}, header = false, delim = '', quote = '', escape = ''"
    return _copied(path, options, compression, target)


def _copied(path: str, options: str, compression: str, target: str) -> str:
    reading = (
        f"read_csv({literal(path)}, auto_detect = false, store_rejects = true, "
        f"compression = '{compression}', {options})"
    )
    return f"COPY (SELECT * FROM {reading}) TO {literal(target)} (FORMAT parquet, COMPRESSION lz4)"


def numbered(path: str) -> str:
    """Return SQL of a Parquet file as a relation with `file_row_number`."""
    return f"read_parquet({literal(path)}, file_row_number = true)"


def csv_table(path: str, csv: Csv, names: Sequence[str]) -> RawTable:
    """Return the table of a CSV file copied to `path`, its columns called `names` in the file."""
    cells = tuple(Cell(sql=f"c{n}") for n in range(len(names)))
    written_cells = (_csv_cell(cell.sql, csv) for cell in cells)
    return RawTable(
        relation=numbered(path),
        columns=tuple(names),
        cells=cells,
        content=f" || {literal(csv.delimiter)} || ".join(written_cells),
        fingerprint=_joined(cells, nothing="''"),
        nulls=csv.null,
    )


def _csv_cell(sql: str, csv: Csv) -> str:
    mark = csv.quote or '"'
    marks = (csv.delimiter, mark, "\n", "\r")
    needs_quotes = " OR ".join(f"contains({sql}, {literal(one)})" for one in marks)
    quoted = f"{literal(mark)} || replace({sql}, {literal(mark)}, {literal(mark * 2)}) || {literal(mark)}"
    return f"CASE WHEN {needs_quotes} THEN {quoted} ELSE coalesce({sql}, '') END"


def json_table(path: str, inputs: Sequence[Input]) -> RawTable:
    """Return the table of JSON Lines copied to `path`: a column for each key that the inputs ask for.

    A key with points, `user.email`, is looked for as it stands and then as a path.
    """
    names = tuple(dict.fromkeys(one.column for one in inputs if one.column))
    pointers = [pointer for name in names for pointer in (_pointer(name), _pointer(*name.split(".")))]
    sound = "CASE WHEN json_valid(c0) THEN c0 END"
    listed = ", ".join(map(literal, pointers))
    kinds = f", json_type(sound, [{listed}]) AS kinds" if any(map(is_untyped, inputs)) else ""
    relation = (
        f"(SELECT *, json_extract_string(sound, [{listed}]) AS found{kinds} "
        f"FROM (SELECT file_row_number, c0, {sound} AS sound FROM {numbered(path)} WHERE c0 IS NOT NULL))"
    )
    cells = tuple(_json_cell(2 * n + 1) for n in range(len(names)))
    twice = (
        "list_filter(json_keys(sound), lambda one: len(list_filter(json_keys(sound), lambda o: o = one)) > 1)"
    )
    is_twice = "len(list_distinct(json_keys(sound))) < len(json_keys(sound))"
    return RawTable(
        relation=relation,
        columns=names,
        cells=cells,
        content="c0",
        fingerprint="trim(c0)",
        problem=f"CASE WHEN sound IS NULL OR json_type(sound) <> 'OBJECT' THEN {written('S326')} "
        f"WHEN {is_twice} THEN {written('S327', value=f'({twice})[1]')} END",
    )


def _json_cell(own: int) -> Cell:
    """Return the cell of a key: its own place in the lists of what was found, and after it its path's."""
    path = own + 1
    return Cell(
        sql=f"coalesce(found[{own}], found[{path}])",
        says_text=f"CASE WHEN found[{own}] IS NULL THEN kinds[{path}] ELSE kinds[{own}] END = 'VARCHAR'",
    )


def _pointer(*steps: str) -> str:
    """Write a JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def typed_table(path: str, names: Sequence[str], types: Sequence[str]) -> RawTable:
    """Return the table of a Parquet file whose columns keep their types."""
    cells = plain_columns(tuple(names), tuple(types))
    pairs = ", ".join(f"{literal(name)}: {quote(name)}" for name in names)
    return RawTable(
        relation=numbered(path),
        columns=tuple(names),
        cells=cells,
        content=f"CAST(to_json({{{pairs}}}) AS VARCHAR)",
        fingerprint=_joined(cells, nothing=_NOTHING),
    )


def _joined(cells: Sequence[Cell], nothing: str) -> str:
    return f"concat_ws({_FIELD_END}, {', '.join(f'coalesce({cell.as_text}, {nothing})' for cell in cells)})"
