"""Taking in files: what counts, what counts once, and what stays outside."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bank import PAYMENTS, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path)
    bank.write("sources/payments.yaml", PAYMENTS)
    return bank


def test_rows_become_typed_events(bank: Bank) -> None:
    bank.write(
        "data/payments.csv",
        """\
        message,customer,time,amount,shop
        m1,K-1,2026-05-01 10:00:00,12.50,Kiosk
        m2,K-2,2026-05-01T10:00:00Z,0.10,
        """,
    )
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (2, 0)
    assert bank.rows("events/payment", '"at", received, source, amount, shop', "amount") == [
        (datetime(2026, 5, 1, 10), datetime(2026, 5, 1, 10), "payments", 10, None),
        (datetime(2026, 5, 1, 8), datetime(2026, 5, 1, 8), "payments", 1250, "Kiosk"),
    ]
