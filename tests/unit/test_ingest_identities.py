"""Identifiers on their way in: tokens in history, direct ones in the vault, and who was seen with whom."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from tests.bank import Bank

from tilltal.engines.duckdb import DuckDBEngine

VISITS = """
kind: event
read: {files: data/visits.csv}
identities: {device: cookie, email: mail, crm: customer}
id: message
at: time
event: visit
max_rejects: 1
fields:
  page: text
  name: {type: text, labels: [identity]}
"""
HEAD = "message,customer,mail,cookie,time,page,name\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path)
    bank.write("sources/visits.yaml", VISITS)
    return bank


def token(bank: Bank, namespace: str, value: str) -> int:
    with bank.vault() as vault:
        return vault.pseudonymiser.token(namespace, value)


def test_the_leading_identifier_is_that_of_the_highest_priority(bank: Bank) -> None:
    bank.write(
        "data/visits.csv",
        HEAD
        + "m1,K-1,a@mail.example,d-1,2026-05-01,/,\n"
        + "m2,,A@Mail.Example ,d-1,2026-05-01,/,\n"
        + "m3,,,d-1,2026-05-01,/,\n",
    )
    bank.ingest()
    found = {row[0] for row in bank.rows("events/visit", "identity")}
    assert found == {
        token(bank, "crm", "K-1"),
        token(bank, "email", "a@mail.example"),
        token(bank, "device", "d-1"),
    }


def test_identifiers_seen_together_are_observed_and_those_seen_alone_summed_up(bank: Bank) -> None:
    bank.write(
        "data/visits.csv",
        HEAD
        + "m1,K-1,,d-1,2026-05-01 12:00,/,\n"
        + "m2,,,d-1,2026-05-02 12:00,/,\n"
        + "m3,,,d-1,2026-05-03 12:00,/,\n",
    )
    bank.ingest()
    crm, device = token(bank, "crm", "K-1"), token(bank, "device", "d-1")
    assert bank.rows("observations", 'observation, "at", last_at, ids', '"at"') == [
        (
            "visits:m1",
            datetime(2026, 5, 1, 10),
            datetime(2026, 5, 1, 10),
            [{"namespace": "device", "token": device}, {"namespace": "crm", "token": crm}],
        ),
        (
            None,
            datetime(2026, 5, 2, 10),
            datetime(2026, 5, 3, 10),
            [{"namespace": "device", "token": device}],
        ),
    ]


def test_each_identity_is_listed_once_and_a_direct_one_without_its_value(bank: Bank) -> None:
    bank.write("data/visits.csv", HEAD + "m1,K-1,a@mail.example,d-1,2026-05-01,/,\n")
    bank.ingest()
    bank.write("data/visits.csv", HEAD + "m2,K-1,A@MAIL.example,d-2,2026-05-01,/,\n")
    bank.ingest()
    assert bank.rows("identities", "namespace, value", "1, 2") == [
        ("crm", "K-1"),
        ("device", "d-1"),
        ("device", "d-2"),
        ("email", None),
    ]


@pytest.mark.parametrize("value", ["", "   ", "NULL", "0000", "Anonymous", "-1", "[object Object]"])
def test_a_row_without_any_usable_identifier_is_turned_away(bank: Bank, value: str) -> None:
    bank.write("data/visits.csv", HEAD + f"m1,{value},,,2026-05-01,/,\nm2,{value},,d-1,2026-05-01,/,\n")
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (1, 1)
    assert bank.rows("identities", "namespace, value") == [("device", "d-1")]


def test_names_of_people_are_kept_by_the_vault_alone(bank: Bank) -> None:
    bank.write(
        "data/visits.csv",
        HEAD + "m1,K-1,,,2026-05-01,/,Old Name\nm2,K-1,,,2026-05-03,/,New Name\nm3,K-1,,,2026-05-02,/,\n",
    )
    bank.ingest()
    with bank.vault() as vault:
        (personal,) = vault.personal(token(bank, "crm", "K-1"))
    assert (personal.source, personal.field, personal.value) == ("visits", "name", "New Name")
    with DuckDBEngine() as engine:
        (path,) = bank.store.accepted("events/visit")
        columns = [row[0] for row in engine.rows(f"DESCRIBE SELECT * FROM '{path}'")]
    assert columns == ["event_id", "at", "received", "source", "identity", "page"]


def test_no_direct_identifier_lies_outside_the_vault(bank: Bank) -> None:
    secrets = ("findme@mail.example", "Findable Person")
    bank.write(
        "data/visits.csv",
        HEAD
        + f"m1,K-1,{secrets[0].upper()},d-1,2026-05-01,/,{secrets[1]}\n"
        + f"m2,K-1,{secrets[0]},d-1,no time,/,{secrets[1]}\n"
        + f"m3,{secrets[0]},{secrets[1]}\n",
    )
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (1, 2)
    with DuckDBEngine() as engine:
        for path in bank.store.root.rglob("*.parquet"):
            engine.run(f"COPY (SELECT * FROM '{path}') TO '{path}.json' (FORMAT json)")
    for name, content in bank.tree().items():
        for secret in secrets:
            assert secret.lower().encode() not in content.lower(), name
    with bank.vault() as vault:
        direct = vault.reveal(token(bank, "email", secrets[0]))
    assert direct is not None
    assert direct.value == secrets[0]
