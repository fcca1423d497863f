"""The store: whole or not at all, one writer, and nothing that no manifest names."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from tilltal.core.errors import DataError, EngineError
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import KEPT_SNAPSHOTS, Manifest, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def manifest(store: Store, name: str, view: str = "events/visit", source: str = "web") -> Manifest:
    part = store.history / view / f"{name}-0.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"rows")
    return Manifest(
        id=name, source=source, file=f"{name}.csv", ingested="2026-05-04T12:00:00Z",
        rows=1, taken=1, duplicate=0, quarantined=0, parts=(part.relative_to(store.root).as_posix(),),
    )  # fmt: skip


def test_a_file_belongs_to_history_once_a_manifest_names_it(store: Store) -> None:
    one = manifest(store, "a")
    assert store.views() == {}
    store.accept(one)
    assert store.accepted("events/visit") == [store.history / "events/visit/a-0.parquet"]
    assert store.manifests("web") == (one,)
    assert store.manifests("crm") == ()


def test_sweeping_removes_what_no_manifest_names(store: Store) -> None:
    store.accept(manifest(store, "a"))
    manifest(store, "b")
    (store.root / "ingested" / "web" / ".half.json.77").write_bytes(b"{")
    (store.snapshots / ".unfinished").mkdir(parents=True)
    store.work.mkdir()
    store.sweep()
    left = sorted(path.name for path in store.root.rglob("*") if path.is_file())
    assert left == ["a-0.parquet", "a.json"]
    assert not store.work.exists()
    assert not list(store.snapshots.iterdir())


def test_a_manifest_that_cannot_be_read_is_named(store: Store) -> None:
    path = store.accept(manifest(store, "a"))
    path.write_text("{")
    with pytest.raises(DataError, match=r"E506 .*a\.json"):
        store.views()


def _hold(root: Path, ready: object, done: object) -> None:
    with Store(root).lock():
        ready.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_there_is_one_writer_at_a_time(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(store.root, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(EngineError, match=f"E504 .*process {other.pid}"), store.lock():
            pass
    finally:
        done.set()
        other.join(30)
    with store.lock():
        pass


def test_a_snapshot_comes_into_force_whole(store: Store) -> None:
    with pytest.raises(DataError, match="E507"):
        store.current_snapshot()
    with store.begin_snapshot("s1") as folder:
        (folder / "profiles.parquet").write_bytes(b"one")
        with pytest.raises(DataError):
            store.current_snapshot()
    assert store.current_snapshot() == store.snapshots / "s1"
    assert (store.current_snapshot() / "profiles.parquet").read_bytes() == b"one"


def test_a_snapshot_that_fails_leaves_the_old_one_in_force(store: Store) -> None:
    with store.begin_snapshot("s1"):
        pass

    def fail() -> None:
        with store.begin_snapshot("s2") as folder:
            (folder / "half").write_bytes(b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.current_snapshot().name == "s1"
    assert [path.name for path in store.snapshots.iterdir()] == ["s1"]


def test_the_last_snapshots_are_kept_also_of_one_name(store: Store) -> None:
    for _ in range(KEPT_SNAPSHOTS + 2):
        with store.begin_snapshot("s"):
            pass
    assert len(list(store.snapshots.iterdir())) == KEPT_SNAPSHOTS
    assert store.current_snapshot().is_dir()


def test_a_failing_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write(tmp_path / "f", b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EngineError, match="E501 The disk is full"), disk.explained():
        disk.write(tmp_path / "f", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
