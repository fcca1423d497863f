"""Files as they should never arrive: each gets a clear answer, and nothing is half-written."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.bank import NOW, PAYMENTS, Bank

from tilltal.core.errors import EngineError, SourceError
from tilltal.runtime.intake import quarantine

HEAD = "message,customer,time,amount,shop\n"
GOOD = "m0,K-0,2026-05-01,1.00,Kiosk\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A bank that has taken in one good row."""
    bank = Bank(tmp_path)
    bank.write("sources/payments.yaml", PAYMENTS)
    bank.write("data/payments-0.csv", HEAD + GOOD)
    bank.ingest()
    return bank


def lenient(bank: Bank, source: str = PAYMENTS) -> None:
    bank.write("sources/payments.yaml", source + "max_rejects: 1\n")


def codes(bank: Bank) -> list[tuple[int, tuple[str, ...]]]:
    return sorted((entry.row, entry.codes) for entry in quarantine.entries(bank.store))


FATAL: list[tuple[str, str, bytes, str]] = [
    ("empty", "payments-1.csv", b"", "S309 The file is empty"),
    ("blank", "payments-1.csv", b"\n\n\n", "S309 The file has no header"),
    ("not gzip", "payments-1.csv.gz", HEAD.encode(), r"S303 Cannot be read as csv \(gzip\)"),
    ("cut gzip", "payments-1.csv.gz", gzip.compress((HEAD + GOOD * 999).encode())[:-50], "S303"),
    ("utf-16 taken for utf-8", "payments-1.csv", (HEAD + GOOD).encode("utf-16"), "encoding: utf-16"),
    ("latin-1 header", "payments-1.csv", "message,customer,time,amount,shöp\n".encode("latin-1"), "S303"),
    (
        "vanished",
        "payments-1.csv",
        HEAD.replace("amount", "amonut").encode(),
        "S304 Column 'amount' .*Valid: amonut",
    ),
    ("twice", "payments-1.csv", HEAD.replace("shop", "amount").encode(), "S304 Column 'shop'"),
    (
        "doubled",
        "payments-1.csv",
        HEAD.replace("\n", ",amount\n").encode(),
        "S305 Column 'amount' .* 2 times",
    ),
    (
        "open quote",
        "payments-1.csv",
        (HEAD + GOOD + 'm1,K-1,2026-05-01,1,"never closed\n' + GOOD * 50_000).encode(),
        "S306 Row 2 opens a quote that is not closed",
    ),
    (
        "latin-1 rows",
        "payments-1.csv",
        (HEAD + "m1,K-1,2026-05-01,1,Kafé\n").encode("latin-1"),
        "S307 .*latin-1",
    ),
    ("wrong delimiter", "payments-1.csv", (HEAD + "m1;K-1;2026-05-01;1;x\n").encode(), "S307 .*delimiter"),
    ("binary", "payments-1.csv", random.Random(1).randbytes(20_000), "S30[349]"),
    (
        "year 0001",
        "payments-1.csv",
        (HEAD + "m1,K-1,0001-01-01,1,x\n").encode(),
        "S339, such as row 1: at is '0001-01-01'",
    ),
    (
        "year 9999",
        "payments-1.csv",
        (HEAD + "m1,K-1,9999-12-31,1,x\n").encode(),
        "S338, such as row 1: at is '9999-12-31'",
    ),
    (
        "not a number",
        "payments-1.csv",
        (HEAD + "m1,K-1,2026-05-01,NaN,x\n").encode(),
        "S333, such as row 1: amount is 'NaN'",
    ),
    (
        "infinite",
        "payments-1.csv",
        (HEAD + "m1,K-1,2026-05-01,-inf,x\n").encode(),
        "S333, such as row 1: amount is '-inf'",
    ),
]


@pytest.mark.parametrize(
    ("file", "content", "message"), [case[1:] for case in FATAL], ids=[c[0] for c in FATAL]
)
def test_a_file_that_cannot_be_used_changes_nothing(
    bank: Bank, file: str, content: bytes, message: str
) -> None:
    lenient_name = PAYMENTS.replace("payments*.csv", "payments*")
    bank.write("sources/payments.yaml", lenient_name)
    bank.write(f"data/{file}", content)
    before = bank.tree()
    with pytest.raises(SourceError, match=f"(?s){message}") as caught:
        bank.ingest()
    assert caught.value.exit_code == 3
    assert f"data/{file}" in str(caught.value)
    assert bank.tree() == before


def test_no_file_at_all(bank: Bank) -> None:
    bank.write("sources/payments.yaml", PAYMENTS.replace("payments*", "paiments"))
    with pytest.raises(SourceError, match=r"S301 .*'data/paiments.csv', and no file.*payments-0.csv"):
        bank.ingest()


def test_a_folder_instead_of_a_file(bank: Bank) -> None:
    bank.write("sources/payments.yaml", PAYMENTS.replace("payments*.csv", "inbox"))
    (bank.root / "data/inbox").mkdir()
    with pytest.raises(SourceError, match=r"S302 .*Write a glob such as `data/inbox/\*.csv`"):
        bank.ingest()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(bank: Bank) -> None:
    bank.write("data/payments-1.csv", HEAD).chmod(0)
    with pytest.raises(SourceError, match="S302"):
        bank.ingest()


@pytest.mark.parametrize("content", [b"PAR1 no parquet", b"x" * 5000])
def test_a_broken_parquet_file(bank: Bank, content: bytes) -> None:
    bank.write("sources/payments.yaml", PAYMENTS.replace("payments*.csv", "p.parquet"))
    bank.write("data/p.parquet", content)
    with pytest.raises(SourceError, match="S303 Cannot be read as parquet"):
        bank.ingest()


def test_rows_too_short_too_long_and_misquoted_are_set_apart(bank: Bank) -> None:
    lenient(bank)
    bank.write(
        "data/payments-1.csv",
        HEAD
        + 'm1,K-1,2026-05-01,1,"two\nlines"\n'
        + "m2,K-2\n"
        + "\n"
        + "m3,K-3,2026-05-01,3,x,EXTRA\n"
        + 'm4,K-4,2026-05-01,4,"x" y\n'
        + "m5,K-5,2026-05-01,oops,y\n",
    )
    report = bank.ingest()
    assert (report.files[-1].rows, report.taken) == (5, 1)
    assert codes(bank) == [(2, ("S321",)), (4, ("S322",)), (5, ("S323",)), (6, ("S332",))]


def test_bytes_that_are_no_utf8_are_set_apart(bank: Bank) -> None:
    lenient(bank)
    bank.write(
        "data/payments-1.csv", HEAD.encode() + b"m1,K-1,2026-05-01,1,Kaf\xe9\n" + b"m2,K-2,2026-05-01,2,x\n"
    )
    assert bank.ingest().taken == 1
    assert codes(bank) == [(1, ("S324",))]


def test_a_line_of_ten_megabytes_is_set_apart(bank: Bank) -> None:
    lenient(bank)
    line = f"m1,K-1,2026-05-01,1,{'z' * 10_000_000}\n"
    bank.write("data/payments-1.csv", HEAD + line + "m2,K-2,2026-05-01,2,x\n")
    assert bank.ingest().taken == 1
    assert codes(bank) == [(1, ("S325",))]


def test_ten_megabytes_without_a_line_end(bank: Bank) -> None:
    bank.write("data/payments-1.csv", "z" * 10_000_000)
    before = bank.tree()
    with pytest.raises(SourceError, match="S304") as caught:
        bank.ingest()
    assert len(str(caught.value)) < 2_000
    assert bank.tree() == before


def test_json_lines_that_are_none_are_set_apart(bank: Bank) -> None:
    lenient(bank, PAYMENTS.replace("payments*.csv", "p.jsonl"))
    rest = '"customer": "K-1", "time": "2026-05-01", "amount": 1}'
    lines = [
        f'{{"message": "m1", {rest}',
        "not json",
        "[1, 2]",
        f'{{"message": "m2", "message": "m3", {rest}',
        f'{{"message": "m4", {rest.replace("1}", "NaN}")}',
        "",
        f'{{"message": "m5", {rest.replace("1}", "1e999}")}',
        f'{{"message": "m6", {rest}{"x" * 3_000_000}',
        '{"customer": "K-1"}',
    ]
    bank.write("data/p.jsonl", "\n".join(lines) + "\n")
    assert bank.ingest().taken == 1
    assert [(row, found[0]) for row, found in codes(bank)] == [
        (2, "S326"),
        (3, "S326"),
        (4, "S327"),
        (5, "S333"),
        (7, "S332"),
        (8, "S325"),
        (9, "S331"),
    ]


def test_years_at_the_ends_of_the_calendar_are_kept_where_they_are_dates(bank: Bank) -> None:
    bank.write("sources/payments.yaml", PAYMENTS + "  valid: date\n  seen: timestamp\nmax_rejects: 1\n")
    bank.write(
        "data/payments-0.csv",
        HEAD.replace("\n", ",valid,seen\n")
        + "m1,K-1,2026-05-01,1,x,0001-01-01,2026-01-01\n"
        + "m2,K-1,2026-05-01,1,x,9999-12-31,9999-12-31 23:59:59\n"
        + "m3,K-1,2026-05-01,1,x,,0001-01-01 00:00:00\n"
        + "m4,K-1,2026-05-01,1,x,10000-01-01,2026-01-01\n",
    )
    assert bank.ingest().taken == 2
    assert codes(bank) == [(3, ("S339",)), (4, ("S332",))]
    assert bank.rows("events/payment", "max(seen)") == [(datetime(9999, 12, 31, 22, 59, 59),)]


def test_fuzzed_files_are_taken_in_set_apart_or_refused_but_never_crash(bank: Bank) -> None:
    chance = random.Random(20260504)
    clean = (HEAD + "".join(f'm{n},K-{n},2026-05-01 10:00,{n}.5,"a, ""b"""\n' for n in range(40))).encode()
    lenient(bank)
    for _ in range(25):
        content = bytearray(clean)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(HEAD), len(content))
            content[place : place + chance.randrange(3)] = chance.choice(
                [b"", b'"', b",", b"\n", b"\r", b"\x00", b"\xff", b'""', b"\r\n"]
            )
        bank.write("data/payments-1.csv", bytes(content))
        before = bank.tree()
        refused = ""
        try:
            (_, file) = bank.ingest().files
        except SourceError as error:
            refused = error.faults[0].code
        if refused:
            assert refused in {"S303", "S306"}
            assert bank.tree() == before
        else:
            assert file.rows == file.taken + file.duplicate + file.quarantined


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, where this machine lets us mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_says_so_and_keeps_what_was(small_disk: Path, tmp_path: Path) -> None:
    bank = Bank(small_disk)
    bank.write(
        "sources/payments.yaml", PAYMENTS.replace("data/payments*.csv", f"{tmp_path}/data/payments*.csv")
    )
    data = tmp_path / "data"
    data.mkdir()
    (data / "payments-0.csv").write_text(HEAD + GOOD)
    bank.ingest()
    before = bank.tree()
    chance = random.Random(1)
    rows = (f"{chance.random()},K-{chance.random()},2026-05-01,1,{chance.random()}\n" for _ in range(100_000))
    (data / "payments-1.csv").write_text(HEAD + "".join(rows))
    with pytest.raises(EngineError, match=r"E501 .*disk is full") as caught:
        bank.ingest(now=NOW)
    assert caught.value.exit_code == 5
    assert bank.tree() == before
    (data / "payments-1.csv").unlink()
    assert bank.ingest().files[0].is_unchanged


_TAKE_IN = """
import sys
from datetime import datetime
from pathlib import Path
from tilltal.runtime.intake.ingest import ingest
from tilltal.workspace.load import load
ingest(load(Path(sys.argv[1])), None, now=datetime.fromisoformat(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_ingest_leaves_whole_files_only(bank: Bank) -> None:
    names = [f"payments-{n}.csv" for n in range(1, 4)]
    for n, name in enumerate(names):
        rows = (f"m{n}-{k},K-{k},2026-05-01,1.00,Kiosk\n" for k in range(60_000))
        bank.write(f"data/{name}", HEAD + "".join(rows))
    chance = random.Random(7)
    for _ in range(6):
        running = subprocess.Popen([sys.executable, "-c", _TAKE_IN, str(bank.root), NOW.isoformat()])
        try:
            running.wait(chance.uniform(1.0, 4.0))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        count = len(bank.rows("events/payment", "event_id"))
        assert count % 60_000 == 1
    bank.ingest()
    assert bank.rows("events/payment", "count(*), count(DISTINCT event_id)") == [(180_001, 180_001)]
    named = {path for files in bank.store.views().values() for path in files}
    assert named == set(bank.store.history.rglob("*.parquet"))
