"""Backup and restore: what comes back is the same, whatever went on meanwhile, or nothing comes back."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Commands
from tests.live.bank import LiveBank, differences

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.intake.ingest import open_vault, store_of
from tilltal.runtime.intake.quarantine import entries, opened
from tilltal.runtime.progress import Silent
from tilltal.runtime.storage import backup
from tilltal.runtime.storage.backup import BackedUp, back_up
from tilltal.runtime.storage.restoring import restore
from tilltal.workspace.load import load

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
CREATED = "2026-05-04T12:00:00Z"


def saved(root: Path, target: Path, **options: Any) -> BackedUp:
    return back_up(load(root), target, CREATED, Silent(), **options)


def brought_back(source: Path, target: Path, **environment: str) -> BackedUp:
    return restore(source, target, Silent(), environment)


def profiles(root: Path) -> list[dict[str, object]]:
    folder = store_of(load(root)).current_snapshot()
    with DuckDBEngine(threads=1) as engine:
        path = str(folder / "profiles.parquet")
        return list(engine.arrow(f"SELECT * FROM read_parquet('{path}') ORDER BY profile").to_pylist())


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_restored_bank_answers_ingests_and_refreshes_as_before(
    tilltal: Commands, bank: Path, tmp_path: Path
) -> None:
    made = tilltal("backup", bank, tmp_path / "kept", "--json").json
    assert (made["operational"], made["has_vault"], made["has_key"]) == ("none", True, True)
    back = tilltal("restore", tmp_path / "kept", tmp_path / "back", "--json").json
    assert back["files"] == made["files"] - 1  # backup.json itself
    assert profiles(tmp_path / "back") == profiles(bank)
    shutil.copytree(bank / "data", tmp_path / "back/data")
    assert all(file["is_unchanged"] for file in tilltal("ingest", tmp_path / "back", "--json").json["files"])
    assert tilltal("refresh", tmp_path / "back").code == 0
    assert len(profiles(tmp_path / "back")) == len(profiles(bank))
    assert names_in(tmp_path) == {"bank", "kept", "back"}


def test_only_its_owner_reads_the_vault(bank: Path, tmp_path: Path) -> None:
    saved(bank, tmp_path / "kept")
    brought_back(tmp_path / "kept", tmp_path / "back")
    for vault in (tmp_path / "kept/vault", tmp_path / "back/.tilltal/vault"):
        assert stat.S_IMODE(vault.stat().st_mode) == 0o700
        for name in ("key", "vault.sqlite"):
            assert stat.S_IMODE((vault / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert (tmp_path / "back/.tilltal/.gitignore").read_text(encoding="utf-8") == "*\n"


def test_without_the_vault_nobody_gets_a_second_pseudonym(
    tilltal: Commands, bank: Path, tmp_path: Path
) -> None:
    assert tilltal("backup", bank, tmp_path / "kept", "--without-vault").code == 0
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.name in ("key", "vault.sqlite")]
    answer = tilltal("restore", tmp_path / "kept", tmp_path / "back")
    assert "vault was not in the backup" in answer.out
    answer = tilltal("quarantine", "list", tmp_path / "back")
    assert (answer.code, answer.err[:4]) == (4, "S341")
    shutil.rmtree(tmp_path / "back/.tilltal/vault")
    shutil.copytree(bank / ".tilltal/vault", tmp_path / "back/.tilltal/vault")
    assert tilltal("quarantine", "list", tmp_path / "back").code == 0


def test_store_and_vault_may_lie_outside(bank: Path, tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    (bank / ".tilltal/vault").rename(tmp_path / "safe/vault")
    (bank / ".tilltal").rename(tmp_path / "safe/store")
    with (bank / "tilltal.yaml").open("a", encoding="utf-8") as file:
        file.write("\nstore: {path: ../safe/store, vault: ../safe/vault, operational: $LIVE}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIVE", str(tmp_path / "safe/live.db"))
        saved(bank, tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "elsewhere/kept")
    with pytest.raises(Exception, match=r"E551 .*safe/store is there already"):
        brought_back(tmp_path / "kept", tmp_path / "back")
    assert names_in(tmp_path) == {"bank", "kept", "safe", "elsewhere"}
    brought_back(tmp_path / "kept", tmp_path / "elsewhere/back")
    assert profiles(tmp_path / "elsewhere/back") == profiles(bank)
    assert names_in(tmp_path / "elsewhere") == {"kept", "back", "safe"}
    with open_vault(load(tmp_path / "elsewhere/back"), {}) as vault:
        assert vault.pseudonymiser is not None
    assert (tmp_path / "elsewhere/safe/vault/vault.sqlite").stat().st_size > 0


def test_data_hidden_files_and_other_backups_stay_behind(bank: Path, tmp_path: Path) -> None:
    saved(bank, bank / "backups/first")
    (bank / ".git").mkdir()
    (bank / ".git/config").write_text("x", encoding="utf-8")
    (bank / ".tilltal/history/stray-0.parquet").write_bytes(b"left by a crash")
    saved(bank, bank / "backups/second")
    held = {
        path.relative_to(bank / "backups/second").parts[:2] for path in (bank / "backups/second").rglob("*")
    }
    assert ("workspace", "tilltal.yaml") in held
    assert not held & {
        ("workspace", "data"),
        ("workspace", ".git"),
        ("workspace", "backups"),
        ("workspace", ".tilltal"),
    }
    assert not list((bank / "backups/second").rglob("stray*"))


def test_the_address_of_a_database_is_told_to_nobody(
    tilltal: Commands, bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_DB", "postgresql://bank:secret@nowhere.invalid/bank")
    with (bank / "tilltal.yaml").open("a", encoding="utf-8") as file:
        file.write("\nstore: {operational: $BANK_DB}\n")
    answer = tilltal("backup", bank, tmp_path / "kept")
    assert answer.code == 0
    assert "pg_dump" in answer.out
    assert "secret" not in (tmp_path / "kept/backup.json").read_text(encoding="utf-8")
    answer = tilltal("restore", tmp_path / "kept", tmp_path / "back")
    assert "pg_restore" in answer.out
    assert profiles(tmp_path / "back") == profiles(bank)


def damage(kept: Path) -> None:
    (kept / "workspace/tilltal.yaml").write_text("name: other\n", encoding="utf-8")


def lose(kept: Path) -> None:
    next((kept / "store/history").rglob("*.parquet")).unlink()


def unmark(kept: Path) -> None:
    (kept / "backup.json").unlink()


def garble(kept: Path) -> None:
    (kept / "backup.json").write_text("{", encoding="utf-8")


def point_outside(kept: Path) -> None:
    text = (kept / "backup.json").read_text(encoding="utf-8")
    (kept / "backup.json").write_text(
        text.replace('"store/current"', '"store/../../current"'), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("harm", "code", "words"),
    [
        (damage, "E553", "workspace/tilltal.yaml is damaged"),
        (lose, "E553", "parquet is missing"),
        (unmark, "E552", "is no backup"),
        (garble, "E552", "is no backup"),
        (point_outside, "E552", "store/../../current"),
    ],
)
def test_a_bad_backup_makes_nothing(
    tilltal: Commands, bank: Path, tmp_path: Path, harm: Callable[[Path], None], code: str, words: str
) -> None:
    saved(bank, tmp_path / "kept")
    harm(tmp_path / "kept")
    answer = tilltal("restore", tmp_path / "kept", tmp_path / "back")
    assert (answer.code, answer.err[:4]) == (4, code)
    assert words in answer.err
    assert names_in(tmp_path) == {"bank", "kept"}


def test_nothing_is_overwritten_or_left_half_made(tilltal: Commands, bank: Path, tmp_path: Path) -> None:
    saved(bank, tmp_path / "kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("x", encoding="utf-8")
    for command, place in (("backup", bank), ("restore", tmp_path / "kept")):
        answer = tilltal(command, place, tmp_path / "full")
        assert (answer.code, answer.err[:4]) == (4, "E551")
        answer = tilltal(command, place, tmp_path / "full/mine/below")
        assert (answer.code, answer.err[:4]) == (5, "E505")
    assert names_in(tmp_path) == {"bank", "kept", "full"}
    (bank / ".tilltal/vault/vault.sqlite").write_bytes(b"no database" * 1000)
    answer = tilltal("backup", bank, tmp_path / "again")
    assert (answer.code, answer.err[:4]) == (5, "E503")
    assert names_in(tmp_path) == {"bank", "kept", "full"}


def test_there_may_be_nothing_to_compact(tilltal: Commands, bank: Path) -> None:
    assert tilltal("compact", bank, "--json").json == {"moved": 0}
    assert not (bank / ".tilltal/live.sqlite").exists()


# -- while a server runs -----------------------------------------------------------------------------------


def documents(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "track",
            "event": "Buy" if number % 3 else "Look",
            "messageId": f"m{number}",
            "timestamp": NOW - timedelta(minutes=number),
            "userId": f"c{number % 7}",
            "anonymousId": f"d{number % 5}",
            "properties": {"amount": number if number % 10 else "much"},
            "traits": {"email": f"x{number % 7}@bank.se"},
        }
        for number in range(first, first + count)
    ]


class Busy(threading.Thread):
    """A server in which messages come in and rows move to Parquet, all the time."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._is_over = threading.Event()
        self.acknowledged = 0
        self.is_warm = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            bank = LiveBank(self._root, str(self._root / ".tilltal/live.sqlite"), {}, NOW, key=5)
            while not self._is_over.is_set():
                bank.send(documents(self.acknowledged, 10))
                self.acknowledged += 10
                if self.acknowledged % 30 == 0:
                    bank.compact()
                if self.acknowledged > 100:
                    self.is_warm.set()
            bank.close()
        except BaseException as error:  # told by `stop`
            self.fault = error
            self.is_warm.set()

    def stop(self) -> None:
        self._is_over.set()
        self.join()
        if self.fault:
            raise self.fault


class Restored(LiveBank):
    """A bank whose workspace is there already."""

    def __init__(self, root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.live.bank.write_workspace", lambda root, rules: None)
            patch.setattr(Path, "mkdir", _mkdir_or_be_there)
            super().__init__(root, str(root / ".tilltal/live.sqlite"), {}, NOW, key=5)
        self._tokens = self.run(self._everybody())

    async def _everybody(self) -> set[int]:
        with sqlite3.connect(self._root / ".tilltal/live.sqlite") as database:
            return {row[0] for row in database.execute("SELECT token FROM identities")}


_mkdir = Path.mkdir


def _mkdir_or_be_there(path: Path, *arguments: Any, **options: Any) -> None:
    _mkdir(path, *arguments, **{**options, "exist_ok": True})


def events(bank: LiveBank) -> list[str]:
    bank.batch()  # makes the views of log and files
    rows = bank._engine.rows(
        'SELECT CAST(event_id AS VARCHAR) FROM (SELECT event_id FROM history."event.buy" '
        'UNION ALL SELECT event_id FROM history."event.look")'
    )
    return [row[0] for row in rows]


def sound(count: int) -> int:
    return sum(number % 10 != 0 for number in range(count))


@pytest.mark.slow
def test_a_backup_of_a_busy_server_has_every_acknowledged_message_once(tmp_path: Path) -> None:
    busy = Busy(tmp_path / "bank")
    busy.start()
    busy.is_warm.wait(120)
    surely = []
    try:
        for number in range(4):
            surely.append(busy.acknowledged)
            saved(tmp_path / "bank", tmp_path / f"kept{number}")
    finally:
        busy.stop()
    assert busy.acknowledged > surely[-1] > surely[0]
    for number, count in enumerate(surely):
        brought_back(tmp_path / f"kept{number}", tmp_path / f"back{number}")
        bank = Restored(tmp_path / f"back{number}")
        found = events(bank)
        assert len(set(found)) == len(found) >= sound(count)
        assert differences(bank.live(), bank.batch()) == []
        collected = bank.send(documents(0, busy.acknowledged))  # clients send all of it again
        assert collected.accepted == sound(busy.acknowledged) - len(found)
        bank.compact()
        found = events(bank)
        assert len(set(found)) == len(found) == sound(busy.acknowledged)
        assert differences(bank.live(), bank.batch()) == []
        bank.close()
        _open_quarantine(tmp_path / f"back{number}", count)


def _open_quarantine(root: Path, count: int) -> None:
    workspace = load(root)
    with open_vault(workspace, {}) as vault:
        texts = {opened(vault, entry).raw for entry in entries(store_of(workspace))}
    assert len(texts) >= count - sound(count)
    assert all('"much"' in text for text in texts)


def test_a_log_and_its_files_come_back_together(tmp_path: Path) -> None:
    bank = LiveBank(tmp_path / "bank", str(tmp_path / "bank/.tilltal/live.sqlite"), {}, NOW, key=5)
    bank.send(documents(0, 20))
    bank.compact()
    bank.send(documents(20, 10))
    made = saved(tmp_path / "bank", tmp_path / "kept")
    assert made.operational == "sqlite"
    live, members = bank.live(), bank.members()
    bank.close()
    brought_back(tmp_path / "kept", tmp_path / "back")
    back = Restored(tmp_path / "back")
    assert len(events(back)) == sound(30)
    assert back.live() == live
    assert back.members() == members
    assert differences(back.live(), back.batch()) == []
    back.close()


def test_what_moved_after_the_copy_of_the_store_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that came and went to Parquet between the two copies are not of this backup's instant."""
    bank = LiveBank(tmp_path / "bank", str(tmp_path / "bank/.tilltal/live.sqlite"), {}, NOW, key=5)
    bank.send(documents(0, 20))
    listed = backup._files

    def late(*arguments: Any) -> Any:
        bank.send(documents(20, 10))
        bank.compact()
        return listed(*arguments)

    monkeypatch.setattr(backup, "_files", late)
    saved(tmp_path / "bank", tmp_path / "kept")
    bank.close()
    brought_back(tmp_path / "kept", tmp_path / "back")
    back = Restored(tmp_path / "back")
    assert len(events(back)) == sound(20)
    assert differences(back.live(), back.batch()) == []
    assert back.send(documents(20, 10)).accepted == sound(30) - sound(20)
    back.compact()
    assert len(events(back)) == sound(30)
    back.close()
