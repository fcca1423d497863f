"""Personas from one refresh to the next: who has one keeps it until another is clearly nearer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.bank import NOW, Bank

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh

CUSTOMERS = """
    kind: record
    read: {files: data/customers*.csv}
    identities: {crm: id}
    at: at
    fields: {age: integer}
"""
# two given centroids, 0 and 100: at 50 they are equally near
PERSONAS = """
    characteristics: {age: {value: age}}
    centroids: {young: {age: 0}, old: {age: 100}}
    hysteresis: 0.5
"""


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path / "bank")
    made.write("sources/customers.yaml", CUSTOMERS)
    made.write("personas.yaml", PERSONAS)
    return made


def personas_after(
    bank: Bank, day: int, ages: dict[str, int], as_of: datetime | None = None
) -> dict[int, str]:
    """Take in ages as of a day of April, refresh as of that day's end, and return age → persona."""
    rows = "".join(f"{name},{age},2026-04-{day:02d}T00:00\n" for name, age in ages.items())
    bank.write(f"data/customers{day}.csv", "id,age,at\n" + rows)
    bank.ingest()
    instant = as_of or datetime(2026, 4, day, 23, tzinfo=UTC)
    refresh(bank.workspace, now=NOW + timedelta(minutes=day), progress=Silent(), as_of=instant)
    with DuckDBEngine(threads=1) as engine:
        file = bank.store.current_snapshot() / "profiles.parquet"
        return dict(engine.rows(f"SELECT age, \"persona.name\" FROM '{file}'"))


def test_a_persona_is_kept_until_another_is_clearly_nearer(bank: Bank) -> None:
    assert personas_after(bank, 1, {"K-1": 0, "K-2": 100}) == {0: "young", 100: "old"}
    # 60 is nearer to old, 40 to young, but not by half: both stay; somebody new takes the nearest
    assert personas_after(bank, 2, {"K-1": 60, "K-2": 40, "K-3": 61}) == {60: "young", 40: "old", 61: "old"}
    # 70 and 30 are: 30 is less than half of 70
    assert personas_after(bank, 3, {"K-1": 70, "K-2": 30}) == {70: "old", 30: "young", 61: "old"}


def test_the_same_refresh_twice_moves_nobody(bank: Bank) -> None:
    personas_after(bank, 1, {"K-1": 0, "K-2": 100})
    once = personas_after(bank, 2, {"K-1": 60, "K-2": 40})
    assert personas_after(bank, 2, {"K-1": 60, "K-2": 40}) == once == {60: "young", 40: "old"}


def test_an_earlier_instant_does_not_know_later_personas(bank: Bank) -> None:
    personas_after(bank, 1, {"K-1": 60, "K-2": 40})
    personas_after(bank, 3, {"K-1": 0, "K-2": 100})
    past = datetime(2026, 4, 2, 12, tzinfo=UTC)
    assert personas_after(bank, 4, {}, as_of=past) == {60: "old", 40: "young"}


def test_personas_given_anew_forget_who_had_which(bank: Bank) -> None:
    personas_after(bank, 1, {"K-1": 0, "K-2": 100})
    bank.write("personas.yaml", PERSONAS.replace("hysteresis: 0.5", "hysteresis: 0.4"))
    assert personas_after(bank, 2, {"K-1": 60, "K-2": 40}) == {60: "old", 40: "young"}
