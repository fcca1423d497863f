"""From a file or a query to a table of raw rows, with what could not be read at all set apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tilltal.core.errors import EngineError, Place, SourceError
from tilltal.core.names import literal, quote
from tilltal.engines import adbc
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.intake import files
from tilltal.runtime.intake.files import SourceFile
from tilltal.sources import reading
from tilltal.sources.cells import RawTable
from tilltal.sources.inputs import inputs_of, missing_columns
from tilltal.workspace.definitions.sources import Csv, Source

_UNREADABLE_SHOWN = 10_000  # letters; DuckDB cuts longer rows itself
_NOT_THE_FILE = ("E501", "E502")  # a full disk or memory says nothing about the file
_LOCAL_SCANNERS = ("sqlite", "duckdb")


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A row that could not be read; `row` counts the rows of the file from 1, `raw` is its text."""

    row: int
    code: str
    raw: str


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A file's rows as text or typed values, and its unreadable rows.

    `columns` are those of a CSV file, in its order. `skipped` are the row numbers that the table does not
    hold, in order: unreadable rows and blank lines.
    """

    table: RawTable
    columns: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    skipped: tuple[int, ...] = ()

    def row(self, position: int) -> int:
        """Return the number, from 1, of the row at a position of the table, from 0."""
        free = [skipped - before for before, skipped in enumerate(self.skipped)]
        return position + 1 + bisect_right(free, position + 1)


def stage_file(engine: DuckDBEngine, name: str, source: Source, file: SourceFile, scratch: Path) -> Staged:
    """Read one file of a source.

    Raises:
        SourceError: S303 to S306, S309 if the file cannot be used at all.
    """
    files.refuse_unreadable(file)
    if file.format == "parquet":
        return _parquet(engine, name, source, file)
    target = scratch / "raw.parquet"
    return (
        _lines(engine, source, file, target)
        if file.format == "jsonl"
        else _csv(engine, name, source, file, target)
    )


def stage_query(engine: DuckDBEngine, name: str, source: Source, workspace: Path, scratch: Path) -> Staged:
    """Run the query of a source and keep its rows.

    Raises:
        SourceError: S304, S305 for columns; S308 if the query, an attachment or a driver fails.
    """
    target = scratch / "raw.parquet"
    query = (source.read.query or "").strip().rstrip(";")
    if source.read.adbc:
        adbc.copy_query(_resolved(source.read.adbc, workspace), query, target)
    else:
        _duckdb_query(name, source, query, workspace, target)
    return _typed(engine, name, source, target, label=f"query of source {name}")


def _duckdb_query(name: str, source: Source, query: str, workspace: Path, target: Path) -> None:
    with DuckDBEngine() as engine:
        try:
            engine.run(f"SET file_search_path = {literal(str(workspace))}")
            for alias, connection in source.read.attach.items():
                engine.run(_attach(alias, connection, workspace))
            engine.run(f"COPY ({query}) TO {literal(str(target))} (FORMAT parquet, COMPRESSION lz4)")
        except EngineError as error:
            if error.faults[0].code in _NOT_THE_FILE:
                raise
            raise SourceError.of(
                "S308",
                f"The query of source {name} failed: {_first_line(error)}",
                hint="Check `query` and `attach` of the source; a scanner has to be installed in DuckDB.",
            ) from error


def _attach(alias: str, connection: str, workspace: Path) -> str:
    scanner, _, where = connection.partition(":")
    place = str(workspace / where) if scanner in _LOCAL_SCANNERS else where
    kind = "" if scanner == "duckdb" else f"TYPE {scanner}, "
    return f"ATTACH {literal(place)} AS {quote(alias)} ({kind}READ_ONLY)"


def _resolved(options: dict[str, str], workspace: Path) -> dict[str, str]:
    """A path relative to the workspace, where `uri` is one."""
    uri = options.get("uri", "")
    is_file = bool(uri) and (workspace / uri).exists()
    return {**options, "uri": str(workspace / uri)} if is_file else dict(options)


def _parquet(engine: DuckDBEngine, name: str, source: Source, file: SourceFile) -> Staged:
    try:
        return _typed(engine, name, source, file.path, label=file.label)
    except EngineError as error:
        raise _blamed(file, error) from error


def _typed(engine: DuckDBEngine, name: str, source: Source, path: Path, label: str) -> Staged:
    described = engine.rows(f"DESCRIBE SELECT * FROM read_parquet({literal(str(path))})")
    names, types = [str(row[0]) for row in described], [str(row[1]) for row in described]
    _require_columns(source, name, names, label)
    return Staged(table=reading.typed_table(str(path), names, types))


def _csv(engine: DuckDBEngine, name: str, source: Source, file: SourceFile, target: Path) -> Staged:
    form = source.read.csv
    names = files.header(file, form)
    _require_columns(source, name, names, file.label)
    plain = _as_utf8(file, form, target)
    rejects = _copied(engine, plain, form, len(names), target)
    blanks = files.blank_records(plain, form) if len(names) > 1 else []
    table = reading.csv_table(str(target), form, names)
    return Staged(table=table, columns=names, rejects=rejects, skipped=_skipped(rejects, blanks))


def _lines(engine: DuckDBEngine, source: Source, file: SourceFile, target: Path) -> Staged:
    sql = reading.lines_to_parquet(str(file.path), file.compression, str(target))
    try:
        rejects = _run(engine, sql, file, is_headed=False)
    except EngineError as error:
        raise _blamed(file, error) from error
    table = reading.json_table(str(target), inputs_of(source))
    return Staged(table=table, rejects=rejects, skipped=_skipped(rejects, []))


def _as_utf8(file: SourceFile, form: Csv, target: Path) -> SourceFile:
    if form.encoding == "utf-8":
        return file
    plain = target.with_name("plain.csv")
    files.to_utf8(file, form.encoding, plain)
    return msgspec.structs.replace(file, path=plain, compression="none")


def _copied(
    engine: DuckDBEngine, file: SourceFile, form: Csv, width: int, target: Path
) -> tuple[Reject, ...]:
    sql = reading.csv_to_parquet(str(file.path), form, width, file.compression, str(target))
    try:
        return _run(engine, sql, file, is_headed=form.header)
    except EngineError as error:
        if "invalid state" not in str(error):
            raise _blamed(file, error) from error
    # Lines that end now in one way, now in another, stop DuckDB's reader: write them all alike.
    alike = target.with_name("alike.csv")
    files.to_utf8(file, "utf-8", alike, newlines=True)
    sql = reading.csv_to_parquet(str(alike), form, width, "none", str(target))
    try:
        return _run(engine, sql, file, is_headed=form.header)
    except EngineError as error:
        raise _blamed(file, error) from error


def _run(engine: DuckDBEngine, sql: str, file: SourceFile, *, is_headed: bool) -> tuple[Reject, ...]:
    """Copy the file and collect what DuckDB set apart."""
    engine.run("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    engine.run(sql)
    found = engine.rows(
        f"SELECT line, any_value(error_type), left(any_value(csv_line), {_UNREADABLE_SHOWN}) "
        "FROM reject_errors GROUP BY file_id, line ORDER BY line"
    )
    rejects = tuple(
        Reject(row=int(line) - is_headed, code=_code(str(kind)), raw=str(raw).strip("\r\n"))
        for line, kind, raw in found
    )
    _refuse_open_quote(rejects, file)
    return rejects


def _code(kind: str) -> str:
    return reading.REJECT_CODES.get(kind, "S323")


def _refuse_open_quote(rejects: Sequence[Reject], file: SourceFile) -> None:
    """A quote that swallows the lines after it hides whole rows: that is not one bad row."""
    for reject in rejects:
        if reject.code == "S323" and "\n" in reject.raw:
            raise SourceError.of(
                "S306",
                f"Row {reject.row} opens a quote that is not closed; the rows after it cannot be told apart.",
                place=Place(file=file.label),
                hint="Double the quotes inside values, or set `read.csv.quote` of the source.",
            )


def _skipped(rejects: Sequence[Reject], blanks: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({*(reject.row for reject in rejects), *blanks}))


def _require_columns(source: Source, name: str, columns: Sequence[str], label: str) -> None:
    faults = missing_columns(source, name, columns, label)
    if faults:
        raise SourceError(*faults)


def _first_line(error: EngineError) -> str:
    return error.faults[0].message.splitlines()[0]


def _blamed(file: SourceFile, error: EngineError) -> EngineError | SourceError:
    is_other = error.faults[0].code in _NOT_THE_FILE
    return error if is_other else files.unreadable(file, _first_line(error))
