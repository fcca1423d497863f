"""Every way in gives the same rows: formats, compressions, encodings, queries, drivers."""

from __future__ import annotations

import gzip
import sqlite3
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bank import PAYMENTS, Bank

from tilltal.core.errors import SourceError
from tilltal.engines.duckdb import DuckDBEngine

TEXT = (
    "message,customer,time,amount,shop\n"
    "m1,K-1,2026-05-01 10:00:00,12.50,Café Å\n"
    "m2,K-2,2026-05-01T10:00:00Z,0.10,\n"
)
EXPECTED = [(datetime(2026, 5, 1, 8), 1250, "Café Å"), (datetime(2026, 5, 1, 10), 10, None)]
JSON = (
    '{"message": "m1", "customer": "K-1", "time": "2026-05-01 10:00:00", "amount": 12.50, "shop": "Café Å"}\n'
    "\n"
    '{"message": "m2", "customer": "K-2", "time": "2026-05-01T10:00:00Z", "amount": "0.10", "shop": null}\n'
)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def events(bank: Bank) -> list[tuple[object, ...]]:
    return bank.rows("events/payment", '"at", amount, shop', '"at"')


def define(bank: Bank, read: str) -> None:
    bank.write("sources/payments.yaml", PAYMENTS.replace("{files: data/payments*.csv}", read))


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("p.csv", TEXT.encode()),
        ("p.csv", b"\xef\xbb\xbf" + TEXT.encode()),
        ("p.csv", TEXT.replace("\n", "\r\n").encode()),
        ("p.csv", TEXT.replace("\n", "\r\n", 1).encode()),
        ("p.csv", TEXT.removesuffix("\n").encode()),
        ("p.csv", TEXT.replace("\nm2", "\n\n\nm2").encode()),
        ("p.csv.gz", gzip.compress(TEXT.encode())),
        ("p.csv.zst", zstd(TEXT.encode())),
        ("p.jsonl", JSON.encode()),
        ("p.jsonl.gz", gzip.compress(JSON.encode())),
        ("p.ndjson", JSON.replace("\n", "\r\n").encode()),
    ],
)
def test_text_files_are_read_alike(bank: Bank, file: str, content: bytes) -> None:
    define(bank, f"{{files: data/{file}}}")
    bank.write(f"data/{file}", content)
    assert bank.ingest().quarantined == 0
    assert events(bank) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252"])
def test_a_stated_encoding_is_followed(bank: Bank, encoding: str) -> None:
    define(bank, f"{{files: data/p.csv, csv: {{encoding: {encoding}}}}}")
    bank.write("data/p.csv", TEXT.encode(encoding))
    bank.ingest()
    assert events(bank) == EXPECTED


def test_delimiter_quote_and_missing_header_are_as_stated(bank: Bank) -> None:
    define(
        bank,
        "{files: data/p.csv, csv: {delimiter: ';', quote: \"'\", header: false, null: ['-'], "
        "columns: [message, customer, time, amount, shop]}}",
    )
    bank.write("data/p.csv", "m1;K-1;2026-05-01 10:00;12.50;'Café; Å'\nm2;K-2;2026-05-01 12:00;0.10;-\n")
    bank.ingest()
    assert [row[2] for row in events(bank)] == ["Café; Å", None]


def test_values_may_span_lines_and_double_their_quotes(bank: Bank) -> None:
    define(bank, "{files: data/p.csv}")
    bank.write(
        "data/p.csv", 'message,customer,time,amount,shop\nm1,K-1,2026-05-01,1,"He said ""hej""\nand left"\n'
    )
    bank.ingest()
    assert events(bank)[0][2] == 'He said "hej"\nand left'


def test_parquet_keeps_its_types(bank: Bank) -> None:
    define(bank, "{files: data/*.parquet}")
    table = pa.table(
        {
            "message": ["m1", "m2"],
            "customer": [1, 2],
            "time": pa.array([datetime(2026, 5, 1, 10), datetime(2026, 5, 1, 12)], pa.timestamp("us")),
            "amount": [12.5, 0.1],
            "shop": ["Café Å", None],
        }
    )
    (bank.root / "data").mkdir()
    pq.write_table(table, bank.root / "data" / "p.parquet")
    bank.ingest()
    assert events(bank) == EXPECTED
    assert bank.rows("identities", "value") == [("1",), ("2",)]


def test_json_paths_reach_into_objects(bank: Bank) -> None:
    bank.write(
        "sources/payments.yaml",
        PAYMENTS.replace("data/payments*.csv", "data/p.jsonl").replace("customer", "user.id"),
    )
    bank.write(
        "data/p.jsonl", '{"message": "m1", "user": {"id": "K-1"}, "time": "2026-05-01", "amount": 1}\n'
    )
    bank.ingest()
    assert bank.rows("identities", "value") == [("K-1",)]


def test_a_query_reads_an_attached_database_and_repeats_change_nothing(bank: Bank) -> None:
    import duckdb

    define(bank, "{query: SELECT * FROM crm.payments, attach: {crm: 'duckdb:crm.duckdb'}}")
    with duckdb.connect(str(bank.root / "crm.duckdb")) as database:
        database.execute(
            "CREATE TABLE payments AS SELECT 'm1' AS message, 7 AS customer, "
            "TIMESTAMP '2026-05-01 10:00' AS time, 12.50 AS amount, 'Kiosk' AS shop"
        ).fetchall()
    assert bank.ingest().taken == 1
    before = bank.tree()
    (again,) = bank.ingest().files
    assert (again.taken, again.duplicate) == (0, 1)
    assert bank.tree() == before


def test_a_query_finds_files_from_the_workspace(bank: Bank) -> None:
    define(bank, "{query: \"SELECT * FROM read_csv('data/p.csv', all_varchar = true)\"}")
    bank.write("data/p.csv", TEXT)
    bank.ingest()
    assert events(bank) == EXPECTED


def test_adbc_reads_any_database_with_a_driver(bank: Bank) -> None:
    define(bank, "{query: SELECT * FROM payments, adbc: {driver: adbc_driver_sqlite, uri: crm.sqlite}}")
    with sqlite3.connect(bank.root / "crm.sqlite") as database:
        database.execute("CREATE TABLE payments (message, customer, time, amount, shop)")
        database.executemany(
            "INSERT INTO payments VALUES (?, ?, ?, ?, ?)",
            [("m1", 1, "2026-05-01 10:00", 12.5, "Café Å"), ("m2", 2, "2026-05-01 12:00", 0.1, None)],
        )
    database.close()
    bank.ingest()
    assert events(bank) == EXPECTED


@pytest.mark.parametrize(
    "read",
    [
        "{query: SELECT * FROM nowhere}",
        "{query: SELECT 1, attach: {crm: 'duckdb:missing.duckdb'}}",
        "{query: SELECT 1, attach: {crm: 'nosuchscanner:x'}}",
        "{query: SELECT 1, adbc: {driver: no_such_driver, uri: x}}",
        "{query: SELECT * FROM nowhere, adbc: {driver: adbc_driver_sqlite, uri: ':memory:'}}",
    ],
)
def test_a_query_that_fails_says_why(bank: Bank, read: str) -> None:
    define(bank, read)
    with pytest.raises(SourceError, match="S308"):
        bank.ingest()


def test_big_files_keep_row_numbers_and_order(bank: Bank) -> None:
    """Several of the reader's buffers, with quoted line ends and ragged rows in between."""
    define(bank, "{files: data/p.csv}")
    bank.write(
        "sources/payments.yaml", (bank.root / "sources/payments.yaml").read_text() + "max_rejects: 1\n"
    )
    rows = [f'm{n},K-{n},2026-05-01,{n},"{"x" * 300}\n{n}"' for n in range(1, 120_001)]
    for n in (5, 60_000, 119_999):
        rows[n - 1] = f"m{n},ragged"
    for n in (6, 60_001, 120_000):
        rows[n - 1] = f"m{n},K-{n},2026-05-01,wrong,y"
    bank.write("data/p.csv", "message,customer,time,amount,shop\n" + "\n".join(rows) + "\n")
    assert bank.ingest().quarantined == 6
    from tilltal.runtime.intake.quarantine import entries

    found = [(entry.row, entry.codes) for entry in entries(bank.store)]
    assert found == [
        (5, ("S321",)), (6, ("S332",)), (60_000, ("S321",)),
        (60_001, ("S332",)), (119_999, ("S321",)), (120_000, ("S332",)),
    ]  # fmt: skip
    with DuckDBEngine() as engine:
        (path,) = bank.store.accepted("events/payment")
        assert engine.rows(f"SELECT count(*), count(DISTINCT event_id) FROM '{path}'") == [(119_994, 119_994)]
