"""What the server sets aside: with the reason that the client heard, once however often it comes."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.live.bank import LiveBank

from tilltal.core.errors import EngineError
from tilltal.runtime.intake import quarantine
from tilltal.runtime.intake.quarantine import Entry
from tilltal.runtime.live.contract import Collected, Message, Refused, Unavailable
from tilltal.runtime.live.intake import setting_aside
from tilltal.runtime.live.places import files_of
from tilltal.runtime.storage.store import Store

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LiveBank]:
    made = LiveBank(tmp_path / "bank", str(tmp_path / "live.sqlite"), {}, NOW, key=3)
    yield made
    made.close()


def message(name: str | None, amount: object, *, at: datetime = NOW, index: int = 0) -> Message:
    """Return a purchase as the collector gives it; `at` is its time by our clock."""
    document: dict[str, Any] = {"type": "track", "event": "Buy", "userId": "c1", "sentAt": at.isoformat()}
    if name is not None:
        document["messageId"] = name
    return Message(
        index=index,
        type="track",
        message_id=name or f"server-{at}",
        user_id="c1",
        anonymous_id=None,
        timestamp=at,
        event="Buy",
        document={**document, "properties": {"amount": amount}},
    )


def refused(code: str, reason: str, body: bytes, index: int = 0) -> Refused:
    return Refused(index=index, message_id="", code=code, reason=reason, body=body)


def collect(bank: LiveBank, *messages: Message, refused: tuple[Refused, ...] = ()) -> Collected:
    return bank.run(bank._server.collect(messages, bank.now, refused))


def held(bank: LiveBank) -> list[Entry]:
    return list(quarantine.entries(files_of(bank._workspace)))


def files(bank: LiveBank) -> int:
    folder = files_of(bank._workspace).root
    return len(list((folder / "quarantine").rglob("*.jsonl")))


def lines(bank: LiveBank) -> int:
    folder = files_of(bank._workspace).root
    return sum(len(one.read_bytes().splitlines()) for one in (folder / "quarantine").rglob("*.jsonl"))


def test_a_flood_of_bad_messages_makes_few_files(bank: LiveBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_aside, "FULL", 30)
    for number in range(60):
        collect(bank, message(f"m{number}", "much"))
    assert (len(held(bank)), files(bank)) == (60, 2)
    manifests = [one for one in files_of(bank._workspace).manifests() if one.quarantine]
    assert [one.quarantined for one in manifests] == [30, 30]
    bank.now += timedelta(days=1)
    collect(bank, message("m60", "much", at=bank.now))
    assert (len(held(bank)), files(bank)) == (61, 3)


def test_what_a_crash_cut_off_was_never_told_to_be_stored(bank: LiveBank) -> None:
    collect(bank, message("m1", "much"))
    (path,) = (files_of(bank._workspace).root / "quarantine").rglob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert len(held(bank)) == 1
    bank.restart()  # another process begins another file
    collect(bank, message("m2", "much"))
    assert (len(held(bank)), files(bank)) == (2, 2)


@pytest.mark.parametrize("what", ["rows", "manifest"])
def test_a_disk_that_fills_up_leaves_a_file_as_it_was(
    bank: LiveBank, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    collect(bank, message("m1", "much"))
    (path,) = (files_of(bank._workspace).root / "quarantine").rglob("*.jsonl")
    before = path.read_bytes()

    def full(*_: object) -> object:
        with path.open("ab") as file:
            file.write(b'{"half')
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if what == "rows":
            patch.setattr(quarantine, "_lines", full)
        else:
            patch.setattr(Store, "accept", full)
        with pytest.raises(Unavailable):
            collect(bank, message("m2", "much"))
    assert path.read_bytes() == before
    collect(bank, message("m2", "much"))
    assert (len(held(bank)), files(bank), lines(bank)) == (2, 1, 2)


def test_an_entry_shows_the_reason_that_the_client_heard(bank: LiveBank) -> None:
    told = collect(
        bank,
        refused=(
            refused("H605", "the message is nested deeper than 32 levels", b"[[[["),
            refused("H616", "the message has 40000 bytes, more than 32768", b'{"a": "', 1),
        ),
    )
    assert [one.code for one in told.rejected] == ["H605", "H616"]
    kept = [(entry.codes, quarantine.opened(bank._vault, entry).reasons) for entry in held(bank)]
    assert kept == [((one.code,), (one.reason,)) for one in told.rejected]


@pytest.mark.parametrize("name", ["m1", None])
def test_a_message_sent_again_is_the_same_entry(bank: LiveBank, name: str | None) -> None:
    for _ in range(3):
        assert len(collect(bank, message(name, "much", at=bank.now)).rejected) == 1
        bank.now += timedelta(seconds=7)
    assert (len(held(bank)), files(bank)) == (1, 1)
    bank.restart()
    collect(bank, message(name, "much", at=bank.now))
    assert len(held(bank)) == 1  # although nobody remembers it


def test_a_refused_message_sent_again_is_the_same_entry(bank: LiveBank) -> None:
    for second in range(3):
        body = b'{"type": "track", "userId": [1], "sentAt": "2026-03-02T09:00:0%dZ"}' % second
        collect(bank, refused=(refused("S332", "userId is no text", body),))
    assert (len(held(bank)), files(bank)) == (1, 1)


def test_something_else_under_the_same_id_is_another_entry(bank: LiveBank) -> None:
    collect(bank, message("m1", "much"), message("m1", "more", index=1))
    assert len(held(bank)) == 2


def test_one_call_that_says_it_twice_makes_one_entry(bank: LiveBank) -> None:
    told = collect(bank, message("m1", "much"), message("m1", "much", index=1))
    assert [one.index for one in told.rejected] == [0, 1]
    assert len(held(bank)) == 1


def test_a_commit_that_fails_does_not_set_aside_again(
    bank: LiveBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise EngineError.of("E530", "No answer.")

    both = (message("m1", "much"), message("m2", 3, index=1))
    with monkeypatch.context() as patch:
        patch.setattr(bank._server._committer._store, "transaction", broken)
        for _ in range(3):
            with pytest.raises(Unavailable):
                collect(bank, *both)
    assert files(bank) == 1
    told = collect(bank, *both)
    assert (told.accepted, len(told.rejected)) == (1, 1)
    assert (len(held(bank)), files(bank)) == (1, 1)


def test_what_is_remembered_is_bounded(bank: LiveBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_aside, "_REMEMBERED", 2)
    for name in ("a", "b", "a", "c", "a", "b"):  # b was forgotten for c, a never
        collect(bank, message(name, "much"))
    assert (len(held(bank)), lines(bank)) == (3, 4)


def test_a_full_disk_makes_the_call_unavailable_and_no_other(
    bank: LiveBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def together() -> list[Collected | BaseException]:
        calls = ([message("m1", "much")], [message("m2", 3)])
        asked = (bank._server.collect(call, bank.now) for call in calls)
        return list(await asyncio.gather(*asked, return_exceptions=True))

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "append", full)
        bad, good = bank.run(together())
    assert isinstance(bad, Unavailable)
    assert "No space left" in bad.reason
    assert isinstance(good, Collected)
    assert good.accepted == 1
    assert held(bank) == []
    assert len(collect(bank, message("m1", "much")).rejected) == 1
    assert len(held(bank)) == 1


def test_others_go_on_while_the_disk_is_slow(bank: LiveBank, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    write = quarantine.write

    def slow(*given: Any) -> int:
        assert goes_on.wait(5), "the loop stood still"
        return write(*given)

    async def beside() -> Collected:
        asked = asyncio.create_task(bank._server.collect([message("m1", "much")], bank.now))
        await asyncio.sleep(0.02)
        goes_on.set()
        return await asked

    monkeypatch.setattr(quarantine, "write", slow)
    assert len(bank.run(beside()).rejected) == 1
