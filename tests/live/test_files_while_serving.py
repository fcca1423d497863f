"""Files that come while customers live: portion by portion, once, as a refresh counts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.live.bank import LiveBank, Seen, differences
from tests.live.live_messages import Document
from tests.live.live_words import RULES
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.instants import micros
from tilltal.core.operational import Decided, OperationalStore, Writes
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.history.catching_up import CatchUp, name_messages
from tilltal.runtime.live.history.ingested import Files, Shown, marks_of, shown_by
from tilltal.runtime.live.history.keeping import Keeping
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.places import files_of

__all__ = ["postgres"]

NOON = datetime(2026, 10, 20, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Banks = Callable[..., LiveBank]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store goes."""
    if request.param == "sqlite":
        return str(tmp_path / "live.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_dsn()


@pytest.fixture
def bank(tmp_path: Path, place: str) -> Iterator[LiveBank]:
    found = LiveBank(tmp_path / "bank", place, RULES[0], NOON, key=5)
    yield found
    found.close()


def message(
    number: int, kind: str, at: datetime, fields: dict[str, object] | None = None, **ids: str
) -> Document:
    """A message as the collector gives it; kinds with a capital are events of `track`."""
    type_, event = ("track", {"event": kind}) if kind[0].isupper() else (kind, {})
    traits = {"email": ids.pop("email")} if "email" in ids else {}
    is_of_person = type_ == "identify"
    own = {**(fields or {}), **traits}
    part: Document = {"traits": own} if is_of_person else {"properties": fields or {}, "traits": traits}
    return {"type": type_, "messageId": f"m{number}", "timestamp": at, **event, **ids, **part}


def crowd(first: int, now: datetime) -> list[Document]:
    """Messages of some people who share a few identifiers, of each kind, some of them late."""
    found: list[Document] = []
    for number in range(first, first + 24):
        at = now - HOUR * (number % 7) - DAY * (number % 3) * 9
        user = {"userId": f"c{number % 4 + 1}"}
        kinds: list[tuple[str, dict[str, object], dict[str, str]]] = [
            ("Buy", {"amount": number % 30, "pieces": number % 4, "city": "Lund"}, user),
            ("Look", {"pieces": 1}, {"anonymousId": f"d{number % 3 + 1}"}),
            ("identify", {"income": number * 3, "town": "Umeå"}, {**user, "email": f"{number % 3}@x.se"}),
            ("Opened", {}, {**user, "anonymousId": f"d{number % 3 + 1}"}),
            ("Held", {"product": "loan", "opened": at.date().isoformat()}, user),
            ("Answered", {"purpose": "ads", "channel": "push", "granted": number % 2 == 0}, user),
        ]
        kind, fields, ids = kinds[number % 6]
        found.append(message(number, kind, at, fields, **ids))
    return found


def agreed(bank: LiveBank) -> Seen:
    """Check that live and batch say the same, and return it."""
    live = bank.live()
    assert live.profiles
    assert differences(live, bank.batch()) == []
    return live


def total(seen: Seen, name: str) -> float:
    values = (row[name] for row in seen.profiles.values())
    return sum(value for value in values if isinstance(value, int | float))


def shown(bank: LiveBank) -> Shown:
    found = bank.run(shown_by(bank.store))
    assert found is not None
    return found


def test_a_file_reaches_live_customers_and_those_who_listen(bank: LiveBank) -> None:
    bank.send(crowd(0, NOON))
    before = agreed(bank)
    bank.now += MINUTE
    position = bank.run(bank.store.changes_after(0, 10_000))[-1].position
    report = bank.ingest(crowd(100, bank.now))
    assert report.taken == 24
    assert total(bank.live(), "visits_ever") == total(before, "visits_ever")
    bank.catch_up()
    after = agreed(bank)
    assert total(after, "visits_ever") > total(before, "visits_ever")
    turns = bank.run(bank.store.changes_after(position, 10_000))
    assert {one.kind for one in turns} >= {"entered"}
    members = bank.members()
    for audience, held in members.items():
        assert held.keys() == {
            one for one, row in after.profiles.items() if row[f"audience.{audience}"] is True
        }
    assert bank.run(bank.store.log_after(0, 1_000))[-1].position == 24  # the file's rows are in Parquet


def test_decisions_that_left_the_store_are_no_file_to_take_in(bank: LiveBank) -> None:
    old = Decided(id=b"d" * 16, at=micros(NOON - timedelta(days=5_000)), profile=1, body=b"{}")

    async def decide() -> None:
        async with bank.store.transaction() as tx:
            await tx.write(Writes(decisions=[old]))

    bank.run(decide())
    assert bank.run(Keeping(bank.store, lambda: bank.workspace, lambda: bank.now).tidy()) == 1
    bank.ingest(crowd(0, NOON))
    bank.catch_up()
    assert total(agreed(bank), "visits_ever") > 0


def test_it_goes_on_where_a_crash_broke_it_off(bank: LiveBank) -> None:
    bank.send(crowd(0, NOON))
    bank.ingest(crowd(100, NOON))
    places: list[Shown] = []
    for _ in range(12):
        bank.catch_up(1)
        bank.restart()
        assert shown(bank) not in places
        places.append(shown(bank))
    assert sum(one.place is not None and one.place.row > 0 for one in places) > 3
    bank.catch_up()
    assert total(agreed(bank), "visits_ever") == 2 * total_of(crowd(0, NOON))


def total_of(documents: list[Document]) -> int:
    return sum(one.get("event") in ("Buy", "Look") for one in documents)


def test_a_transaction_that_fails_changes_nothing(bank: LiveBank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.ingest(crowd(0, NOON))
    bank.catch_up(4)
    before = bank.live(), shown(bank)

    async def fail(self: object, *_: object) -> None:
        raise RuntimeError("in the middle")

    for name in ("observe", "fill_in"):
        monkeypatch.setattr(f"tilltal.runtime.live.intake.applying.Applier.{name}", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        bank.catch_up()
    assert (bank.live(), shown(bank)) == before
    monkeypatch.undo()
    bank.catch_up()
    agreed(bank)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["file first", "message first", "message while the file waits"])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_message_that_comes_both_ways_counts_once(bank: LiveBank, order: str, is_compacted: bool) -> None:
    documents = crowd(0, NOON)
    if order == "file first":
        bank.ingest(documents)
        bank.catch_up()
        assert bank.send(documents).duplicates == len(documents)
    elif order == "message first":
        bank.send(documents)
        if is_compacted:
            bank.compact()
        bank.now += MINUTE
        assert bank.ingest(documents).taken == (0 if is_compacted else len(documents))
        bank.catch_up(5)
        bank.restart()
        bank.catch_up()
    else:
        bank.ingest(documents)
        bank.catch_up(3)
        bank.now += MINUTE
        bank.send(documents)
    bank.catch_up()
    if is_compacted:
        bank.compact()
    assert total(agreed(bank), "visits_ever") == total_of(documents)
    bank.correct([{"forbid": ["crm:c1", "device:d1"]}])  # what moves is made again from Parquet
    assert total(agreed(bank), "visits_ever") == total_of(documents)
    bank.correct([])
    assert total(agreed(bank), "visits_ever") == total_of(documents)


def test_what_is_ahead_of_its_time_waits_for_it(bank: LiveBank) -> None:
    soon = NOON + 3 * MINUTE
    bank.ingest(
        [
            message(1, "Buy", NOON - DAY, {"amount": 3}, userId="c1"),
            message(2, "Look", soon, {}, userId="c1", anonymousId="d1"),
            message(3, "Buy", soon, {"amount": 5}, userId="c2", email="c@x.se"),
        ]
    )
    bank.catch_up()
    assert [row["visits_ever"] for row in agreed(bank).profiles.values()] == [1]
    assert list(shown(bank).files.ahead.values()) == [int(NOON.timestamp() * 1_000_000)] * 2
    bank.restart()
    bank.now = soon
    assert bank.live() != bank.batch()
    bank.catch_up()
    seen = agreed(bank)
    assert sorted(int(str(row["visits_ever"])) for row in seen.profiles.values()) == [1, 2]
    assert shown(bank).files.ahead == {}
    bank.correct([{"forbid": ["crm:c1", "device:d1"]}])
    agreed(bank)


@pytest.mark.slow
def test_two_servers_on_one_store_take_in_each_row_once(tmp_path: Path, postgres: PostgresServer) -> None:
    dsn = postgres.new_dsn()
    bank = LiveBank(tmp_path / "bank", dsn, RULES[0], NOON, key=5)
    try:
        documents = crowd(0, NOON)
        bank.send(documents[:6])
        bank.ingest(documents[6:])
        bank.run(_race(bank, dsn))
        assert total(agreed(bank), "visits_ever") == total_of(documents)
    finally:
        bank.close()


async def _race(bank: LiveBank, dsn: str) -> None:
    """Let two servers catch up at the same time."""
    files = files_of(bank.workspace)

    def server(store: OperationalStore, engine: DuckDBEngine) -> CatchUp:
        past = Past(engine, bank.workspace, files)
        return CatchUp(store, files, past, bank.in_force, lambda: None, lambda: bank.now, size=2)

    async def work(one: CatchUp) -> int:
        count = 0
        while await one.portion():
            count += 1
        return count

    other = await open_store(dsn)
    try:
        with DuckDBEngine(threads=1) as first, DuckDBEngine(threads=1) as second:
            counts = await asyncio.gather(work(server(bank.store, first)), work(server(other, second)))
        assert min(counts) > 3
    finally:
        await other.close()


def test_messages_of_files_taken_over_as_a_whole_are_known_once_the_collector_reads_their_source(
    bank: LiveBank,
) -> None:
    documents = crowd(0, NOON)
    bank.ingest(documents)
    bank.catch_up()
    files = shown(bank).files

    async def forget() -> None:
        async with bank.store.transaction() as tx:
            await tx.write(Writes(marks=marks_of(Shown(Files(files.whole, unnamed=files.whole)))))

    bank.run(forget())
    bank.run(name_messages(bank.store, files_of(bank.workspace), bank.workspace))
    assert shown(bank).files == files
    assert bank.send(documents).duplicates == len(documents)
