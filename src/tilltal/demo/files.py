"""Writing raw files the way different systems export them: the same bytes for the same columns."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tilltal.core.names import literal


def write_csv(
    path: Path, columns: Mapping[str, pa.Array], *, delimiter: str = ",", encoding: str = "utf-8"
) -> int:
    """Write a CSV file, gzip-compressed where the name says so; return its rows."""
    table = pa.table(dict(columns))
    buffer = BytesIO()
    options = pa_csv.WriteOptions(delimiter=delimiter, quoting_style="none", include_header=False)
    buffer.write((delimiter.join(table.column_names) + "\n").encode())
    pa_csv.write_csv(table, buffer, options)
    content = buffer.getvalue()
    if encoding != "utf-8":
        content = content.decode().encode(encoding, errors="replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a file time in the gzip header the same rows are the same bytes.
    path.write_bytes(gzip.compress(content, 3, mtime=0) if path.suffix == ".gz" else content)
    return int(table.num_rows)


def write_parquet(path: Path, columns: Mapping[str, pa.Array]) -> int:
    """Write a Parquet file; return its rows."""
    table = pa.table(dict(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return int(table.num_rows)


def write_jsonl(path: Path, columns: Mapping[str, pa.Array]) -> int:
    """Write JSON Lines, compressed as the name's ending says (`.gz`, `.zst`); return its rows."""
    table = pa.table(dict(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix, "none")
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false").fetchall()  # it would be among what is printed
        connection.register("lines", table)
        connection.execute(
            f"COPY lines TO {literal(str(path))} (FORMAT json, COMPRESSION {compression})"
        ).fetchall()
    return int(table.num_rows)
