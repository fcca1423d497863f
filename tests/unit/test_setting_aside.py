"""Messages in quarantine: the commands that know rows of files know them, and take them in again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Answer, Commands
from tests.live.bank import LiveBank, differences

from tilltal.core.operational import Writes
from tilltal.runtime.live.places import MADE
from tilltal.workspace.load import load

NOW = datetime.now(UTC).replace(microsecond=0)
GONE = """
kind: event
read: {collector: [track], event: [Gone]}
identities: {crm: userId}
event: gone
fields: {why: {type: text, column: properties.why}}
"""


CELLS = "".join(
    f"  - {{income: {income}, affinity: {affinity}, name: {income}_{affinity}}}\n"
    for income, affinity in itertools.permutations(("low", "middle", "high"), 2)
)


@pytest.fixture
def tilltal(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LiveBank]:
    """A bank whose server runs, and holds three messages in quarantine."""
    made = LiveBank(tmp_path / "bank", str(tmp_path / "bank/.tilltal/live.sqlite"), {}, NOW, key=3)
    with (tmp_path / "bank/value.yaml").open("a", encoding="utf-8") as file:
        file.write(CELLS)
    reopen(made)
    collected = made.send([
        track(1, "Buy", {"amount": 3}),
        track(2, "Buy", {"amount": "much"}),
        track(3, "Gone", {"why": "rates"}),
        track(4, "Buy", {"amount": "\x1b[2Jtwo"}, userId=None),
    ])  # fmt: skip
    assert collected.accepted == 1
    yield made
    made.close()


def track(number: int, event: str, properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    made = {"type": "track", "event": event, "messageId": f"m{number}", "userId": "c1"}
    return {**made, "timestamp": NOW - timedelta(hours=number), "properties": properties, **others}


def taken_over(bank: LiveBank) -> None:
    """Say what a server says once it serves the definitions as they are."""

    async def mark() -> None:
        async with bank.store.transaction() as tx:
            await tx.write(Writes(marks={MADE: bank._server.force.made_by}))

    bank.run(mark())


def reopen(bank: LiveBank) -> None:
    """Let the server take up the definitions as they are now."""
    bank._workspace = load(bank._root)
    bank.restart()
    taken_over(bank)


def declare_gone(bank: LiveBank) -> None:
    (bank._root / "sources/gone.yaml").write_text(GONE, encoding="utf-8")
    reopen(bank)


def listed(tilltal: Commands, bank: LiveBank, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tilltal("quarantine", "list", bank._root, *options, "--json").json
    return found


def retry(tilltal: Commands, bank: LiveBank, source: str, *file: Path) -> tuple[int, ...]:
    answer = tilltal("quarantine", "retry", bank._root, source, *file, "--json")
    assert answer.code == 0, answer.out
    (report,) = answer.json["files"]
    return tuple(report[name] for name in ("rows", "taken", "duplicate", "quarantined"))


def messages(bank: LiveBank) -> list[str]:
    rows = bank.run(bank.store.log_after(0, 100))
    return [f"{row.source} {row.at}" for row in rows]


def corrected(path: Path, changes: dict[str, object]) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["properties"] |= changes
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_they_are_listed_shown_and_exported(tilltal: Commands, bank: LiveBank, tmp_path: Path) -> None:
    assert [(row["source"], row["file"], row["codes"]) for row in listed(tilltal, bank)] == [
        ("buys", "collector", ["S332"]),
        ("buys", "collector", ["S332", "S337"]),
        ("collector", "collector", ["S330"]),
    ]
    (gone,) = listed(tilltal, bank, "--source", "collector")
    assert "'Gone'" in gone["reasons"][0]
    shown = tilltal("quarantine", "show", bank._root, gone["id"], "--json").json
    assert json.loads(shown["raw"])["properties"] == {"why": "rates"}
    assert "\x1b" not in tilltal("quarantine", "list", bank._root).out
    for source, count in (("buys", 2), ("collector", 1)):
        target = tmp_path / f"{source}.jsonl"
        assert tilltal("quarantine", "export", bank._root, source, target).code == 0
        assert len(target.read_text(encoding="utf-8").splitlines()) == count


def test_a_source_that_is_none_is_named(tilltal: Commands, bank: LiveBank) -> None:
    answer = tilltal("quarantine", "list", bank._root, "--source", "collectr")
    assert (answer.code, answer.err[:4]) == (3, "S310")


def test_what_is_as_wrong_as_before_stays(tilltal: Commands, bank: LiveBank) -> None:
    before = listed(tilltal, bank)
    assert retry(tilltal, bank, "buys") == (2, 0, 0, 2)
    assert retry(tilltal, bank, "collector") == (1, 0, 0, 1)
    assert listed(tilltal, bank) == before


def test_once_the_definitions_are_right_they_count(tilltal: Commands, bank: LiveBank) -> None:
    declare_gone(bank)
    assert retry(tilltal, bank, "collector") == (1, 1, 0, 0)
    assert {row["source"] for row in listed(tilltal, bank)} == {"buys"}
    assert [line.split()[0] for line in messages(bank)] == ["buys", "gone"]
    answer: Answer = tilltal("quarantine", "retry", bank._root, "collector")
    assert (answer.code, answer.err[:4]) == (4, "S345")


def test_a_corrected_message_changes_the_live_customer(
    tilltal: Commands, bank: LiveBank, tmp_path: Path
) -> None:
    target = tmp_path / "buys.jsonl"
    tilltal("quarantine", "export", bank._root, "buys", target)
    corrected(target, {"amount": 12})
    assert retry(tilltal, bank, "buys", target) == (2, 1, 0, 1)  # the other says nobody
    assert len(messages(bank)) == 2
    bank.now = datetime.now(UTC)
    live, batch = bank.live(), bank.batch()
    assert differences(live, batch) == []
    assert len(live.profiles) == 1
    (left,) = listed(tilltal, bank, "--source", "buys")
    assert left["codes"] == ["S337"]
    assert bank.send([track(2, "Buy", {"amount": 12})]).duplicates == 1  # the client's own retry
    assert retry(tilltal, bank, "buys") == (1, 0, 0, 1)


def test_a_message_settled_twice_counts_once(tilltal: Commands, bank: LiveBank, tmp_path: Path) -> None:
    """As after a crash between the operational store and the quarantine."""
    target = tmp_path / "buys.jsonl"
    tilltal("quarantine", "export", bank._root, "buys", target)
    corrected(target, {"amount": 12})
    before: Sequence[Path] = list((bank._root / ".tilltal/ingested/buys").glob("*.json"))
    retry(tilltal, bank, "buys", target)
    for path in set((bank._root / ".tilltal/ingested/buys").glob("*.json")) - set(before):
        path.unlink()
    assert retry(tilltal, bank, "buys", target) == (2, 0, 1, 1)
    assert len(messages(bank)) == 2


def test_customers_of_other_definitions_are_left_alone(tilltal: Commands, bank: LiveBank) -> None:
    async def forget() -> None:
        async with bank.store.transaction() as tx:
            await tx.write(Writes(marks={MADE: b"others"}))

    bank.run(forget())
    answer = tilltal("quarantine", "retry", bank._root, "buys")
    assert (answer.code, answer.err[:4]) == (4, "S347")
    assert "tilltal serve" in answer.err
    assert len(listed(tilltal, bank)) == 3
