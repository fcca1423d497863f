"""Backup of a workspace: definitions, history, the snapshot in force, operational store and vault, with sums.

A backup is a folder, made while a server runs if need be. The operational store is copied first, as of one
instant; everything else after it, so that what the store refers to is there. Rows that a compaction moved to
Parquet after that instant are in the store's copy still, so their files are left out.

backup.json         what it is, and the SHA-256 of every file
workspace/…         definitions
store/…             history and its manifests, quarantine, snapshot, links
live.sqlite         the operational store, unless it is in PostgreSQL
vault/…             the vault with its key, unless it was left out
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from tilltal.core.errors import DataError, EngineError
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.history.compaction import last_begun, range_of
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Manifest, Store
from tilltal.workspace.workspace import Workspace

CONTENTS = "backup.json"
WORKSPACE, STORE, VAULT, LIVE_FILE = "workspace", "store", "vault", "live.sqlite"
OPERATIONAL: TypeAlias = Literal["sqlite", "postgresql", "none"]
_CHOSEN = frozenset(("history", "ingested", "quarantine", "snapshots", "current"))  # copied file by file
_NOT_COPIED = _CHOSEN | {"work", "lock", "compacting"}
_GIT_IGNORE = ".gitignore"  # the one hidden file that is copied: it keeps customers' data out of git


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where store, vault and operational store lie, as tilltal.yaml says it; no address of a database."""

    store: str
    vault: str
    operational: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: `sums` are SHA-256 by path; `created` is ISO 8601 in UTC."""

    name: str
    created: str
    operational: OPERATIONAL
    has_vault: bool
    has_key: bool
    places: Places
    sums: dict[str, str]


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a backup or of a restore: where it is, how much, and what it holds or lacks."""

    folder: str
    files: int
    bytes: int
    operational: OPERATIONAL
    has_vault: bool
    has_key: bool


def back_up(
    workspace: Workspace, target: Path, created: str, progress: Progress, *, with_vault: bool = True
) -> BackedUp:
    """Copy a workspace to a new folder, which appears when it is whole.

    Raises:
        DataError: E551 if the folder exists and is not empty; E506 if a manifest is damaged.
        EngineError: E501, E503, E505 for disk and SQLite; E530 if the operational store cannot be opened.
            Nothing is left behind.
    """
    with disk.explained(), made_beside(target) as beside:
        operational, bound = asyncio.run(_copy_operational(workspace, beside / LIVE_FILE))
        files = list(_files(workspace, beside, bound))
        progress.start("backup", len(files))
        for source, copy in files:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
            progress.advance()
        for folder in (beside / STORE / "snapshots").glob("*"):
            (beside / STORE / "current").write_text(f"{folder.name}\n", encoding="utf-8")
        has_key = with_vault and _copy_vault(_vault_of(workspace), beside / VAULT)
        contents = Contents(
            name=workspace.settings.name,
            created=created,
            operational=operational,
            has_vault=(beside / VAULT).is_dir(),
            has_key=has_key,
            places=_places(workspace),
            sums={path.relative_to(beside).as_posix(): sum_of(path) for path in _all_files(beside)},
        )
        (beside / CONTENTS).write_bytes(msgspec.json.format(msgspec.json.encode(contents)) + b"\n")
    return told(target, contents)


@contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """Give a hidden folder to fill, for nobody else to read; at the end it becomes the target, whole.

    Raises:
        DataError: E551 if the target exists and is not an empty folder.
        OSError: if the disk refuses; nothing is left.
    """
    target = target.resolve()
    refuse_full(target)
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True, mode=0o700)
    try:
        yield beside
        disk.sync_all(_all_files(beside))
        if target.exists():
            target.rmdir()
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    disk.sync(target.parent)


def refuse_full(target: Path) -> None:
    """Refuse a place where something is already.

    Raises:
        DataError: E551.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise DataError.of(
            "E551", f"{target} is there already, and not empty.", hint="Name a new or an empty folder."
        )


def told(folder: Path, contents: Contents) -> BackedUp:
    """Return what there is to say of a backup, or of a workspace made from one."""
    files = list(_all_files(folder))
    return BackedUp(
        folder=str(folder),
        files=len(files),
        bytes=sum(path.stat().st_size for path in files),
        operational=contents.operational,
        has_vault=contents.has_vault,
        has_key=contents.has_key,
    )


def sum_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _copy_operational(workspace: Workspace, copy: Path) -> tuple[OPERATIONAL, int | None]:
    """Copy the operational store; return its kind, and up to where compactions had moved its log by then.

    The bound is None where nothing was copied: then whatever is in Parquet is all there is.
    """
    place = store_place(workspace)
    if "://" in place:
        return "postgresql", None
    if not Path(place).exists():
        return "none", None
    target = await open_store(place)
    try:
        await target.backup(str(copy))
    finally:
        await target.close()
    made = await open_store(str(copy))
    try:
        return "sqlite", await last_begun(made)
    finally:
        await made.close()


def _files(workspace: Workspace, beside: Path, bound: int | None) -> Iterator[tuple[Path, Path]]:
    """Give each file to copy, with the place of its copy."""
    files = StillStore(files_of(workspace).root)
    yield from _definitions(workspace, files.root, beside / WORKSPACE)
    chosen = [path for manifest in files.manifests() for path in _named(manifest, bound)]
    for name in (*chosen, *_snapshot(files)):
        yield files.root / name, beside / STORE / name
    left_out = {_vault_of(workspace).resolve(), *_operational_files(workspace)}
    for other in _inside(files.root):
        if other.name not in _NOT_COPIED:
            for path in _tree(other, left_out):
                yield path, beside / STORE / path.relative_to(files.root)


def _definitions(workspace: Workspace, store: Path, copy: Path) -> Iterator[tuple[Path, Path]]:
    """Give the files of the workspace itself: without data, hidden files, and backups that lie in it."""
    root = Path(workspace.root)
    left_out = {(root / "data").resolve(), store.resolve(), _vault_of(workspace).resolve()}
    left_out |= _operational_files(workspace)
    for path in _tree(root, left_out):
        yield path, copy / path.relative_to(root)


def _tree(path: Path, left_out: set[Path]) -> Iterator[Path]:
    """Give a file, or all files of a folder, in order."""
    if path.resolve() in left_out:
        return
    if path.is_file():
        yield path
    elif path.is_dir() and not (path / CONTENTS).is_file():
        for one in _inside(path):
            yield from _tree(one, left_out)


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if not one.name.startswith(".") or one.name == _GIT_IGNORE)


def _named(manifest: Manifest, bound: int | None) -> Sequence[str]:
    """Return a manifest and the files it names; nothing if its rows are in the operational store's copy."""
    moved = range_of(manifest)
    if moved is not None and bound is not None and moved.last > bound:
        return ()
    own = f"ingested/{manifest.source}/{manifest.id}.json"
    return (own, *manifest.parts, *filter(None, [manifest.quarantine]))


def _snapshot(files: Store) -> Iterator[str]:
    """Give the files of the snapshot in force."""
    try:
        folder = files.current_snapshot()
    except DataError:
        return
    for path in _all_files(folder):
        yield path.relative_to(files.root).as_posix()


def _copy_vault(folder: Path, copy: Path) -> bool:
    """Copy a vault while it is in use; return whether its key was in it, and not in the environment."""
    if not (folder / "vault.sqlite").is_file():
        return False
    copy.mkdir(mode=0o700)
    address = f"{(folder / 'vault.sqlite').resolve().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True)) as old,
            closing(sqlite3.connect(copy / "vault.sqlite")) as new,
        ):
            (copy / "vault.sqlite").chmod(0o600)
            old.backup(new)
    except sqlite3.Error as error:
        raise EngineError.of(
            "E503", f"The vault {folder} cannot be copied: {error}.", hint="Restore it if it is damaged."
        ) from error
    for name in ("key", _GIT_IGNORE):
        if (folder / name).is_file():
            shutil.copy2(folder / name, copy / name)
    return (copy / "key").is_file()


def _vault_of(workspace: Workspace) -> Path:
    return Path(workspace.root) / workspace.settings.store.vault


def _operational_files(workspace: Workspace) -> set[Path]:
    place = store_place(workspace)
    if "://" in place:
        return set()
    path = Path(place).resolve()
    return {path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))}


def _places(workspace: Workspace) -> Places:
    settings = workspace.settings.store
    operational = "" if "://" in settings.operational else settings.operational
    return Places(store=settings.path, vault=settings.vault, operational=operational)


def _all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
