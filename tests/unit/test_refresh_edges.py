"""What a refresh must not know, whom it must not serve, and what deciding after it must not do in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.bank import NOW, Bank

from tilltal.core.errors import DataError
from tilltal.core.ports import Row
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.answers.decide import decide_anew
from tilltal.runtime.answers.explain import explain
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.manifest import Manifest
from tilltal.runtime.refresh.run import refresh

LOGINS = """
    kind: event
    read: {files: data/logins.csv}
    identities: {crm: customer, device: device}
    at: at
    received: received
    event: login
"""
ACTION = """
    title: News
    group: news
    purpose: service
    value: 1
"""
HEAD = "customer,device,at,received\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path / "bank")
    made.write("sources/logins.yaml", LOGINS)
    made.write("traits/logins.yaml", "measure: count\nfrom: [login]\n")
    made.write("policies/consent.yaml", "purposes: {service: {consent: not_required}}\n")
    made.write("actions/news/action.yaml", ACTION)
    made.write("actions/news/push.en.yaml", "body: Hello\n")
    made.write(
        "data/logins.csv",
        HEAD
        + "K-1,,2026-04-01T08:00,2026-04-01T08:00\n"
        + "K-1,,2026-04-02T08:00,2026-04-20T08:00\n"  # three weeks under way
        + ",d-1,2026-04-01T09:00,2026-04-01T09:00\n"
        + "K-2,,2026-04-15T08:00,2026-04-15T08:00\n",
    )
    made.ingest()
    return made


def refreshed(bank: Bank, day: int, *, retrain: bool = False) -> Manifest:
    instant = datetime(2026, 4, day, 20, tzinfo=UTC)
    now = NOW + timedelta(minutes=day)
    return refresh(bank.workspace, now=now, progress=Silent(), as_of=instant, retrain=retrain)


def read(bank: Bank, select: str, table: str) -> list[Row]:
    with DuckDBEngine(threads=1) as engine:
        file = bank.store.current_snapshot() / f"{table}.parquet"
        return engine.rows(f"SELECT {select} FROM '{file}' ORDER BY ALL")


@pytest.mark.parametrize(("day", "logins"), [(10, [(1,)]), (19, [(1,), (1,)]), (20, [(1,), (2,)])])
def test_what_arrives_late_is_not_known_before(bank: Bank, day: int, logins: list[Row]) -> None:
    refreshed(bank, day)
    known = read(bank, "logins, is_known", "profiles")
    assert [(count,) for count, is_known in known if is_known] == logins


def test_a_device_of_nobody_known_gets_no_action(bank: Bank) -> None:
    manifest = refreshed(bank, 20)
    assert (manifest.profiles, manifest.customers) == (3, 2)
    served = {profile for (profile,) in read(bank, "profile", "decisions")}
    assert served == {
        profile for profile, is_known in read(bank, "profile, is_known", "profiles") if is_known
    }
    assert explain(bank.workspace, "crm:K-1", {}).chosen[0].action == "news"
    with pytest.raises(DataError, match="P366 'device:d-1' is a device of nobody known"):
        explain(bank.workspace, "device:d-1", {})


def test_who_came_later_is_unknown_to_an_earlier_snapshot(bank: Bank) -> None:
    refreshed(bank, 10)
    with pytest.raises(DataError, match="P365"):
        explain(bank.workspace, "crm:K-2", {})


def test_definitions_newer_than_the_snapshot_say_so(bank: Bank) -> None:
    refreshed(bank, 20)
    assert not explain(bank.workspace, "crm:K-1", {}).has_changed
    bank.write("actions/news/action.yaml", ACTION.replace("value: 1", "value: logins"))
    told = explain(bank.workspace, "crm:K-1", {})
    assert (told.has_changed, told.definitions) == (True, bank.workspace.content_hash)
    assert told.chosen[0].V == 2


def test_deciding_by_names_that_the_snapshot_lacks_is_refused(bank: Bank) -> None:
    refreshed(bank, 20)
    bank.write("traits/recent.yaml", "measure: count\nfrom: [login]\nwindow: 7 days\n")
    bank.write("actions/news/action.yaml", ACTION.replace("value: 1", "value: recent"))
    for ask in (
        lambda: explain(bank.workspace, "crm:K-1", {}),
        lambda: decide_anew(bank.workspace, {}, slots=None, target=None, progress=Silent()),
    ):
        with pytest.raises(DataError, match="E514 The actions need recent"):
            ask()


def test_models_are_kept_until_asked_to_learn_anew(bank: Bank) -> None:
    bank.write("models/visits.yaml", "outcome: {events: [login]}\nhorizon: 2 days\nfeatures: [logins]\n")
    assert refreshed(bank, 20).trained == ("visits",)
    assert refreshed(bank, 20).trained == ()
    assert refreshed(bank, 20, retrain=True).trained == ("visits",)
