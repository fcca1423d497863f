"""The store's folders: what lies where, what counts, and how a result is swapped in whole.

history/<view>/…      Parquet; a file counts only if a manifest names it
ingested/<source>/…   one manifest per accepted file or query, renamed into place last
quarantine/<source>/… rows that broke their contract, sealed
snapshots/<id>/       what a refresh made; `current` names the one in force
work/                 scratch; emptied by whoever holds the lock

Begin with `Store`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, EngineError
from tilltal.runtime.storage import disk

KEPT_SNAPSHOTS = 3
LIVE = "live-"  # begins the names of what a running server writes, without the lock
_LIVE_SECONDS = 3600  # after which a file of a server that no manifest names was left by a crash


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one accepted file or query brought. Paths are relative to the store.

    `content` is the SHA-256 of the file's bytes, empty for a query. `resolved` are quarantine entries that
    this file's rows took the place of.
    """

    id: str
    source: str
    file: str
    content: str = ""
    ingested: str
    rows: int
    taken: int
    duplicate: int
    quarantined: int
    parts: tuple[str, ...] = ()
    quarantine: str = ""
    resolved: tuple[str, ...] = ()


class Store:
    """A workspace's store on disk. Cheap to make; reads and writes only when asked."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def history(self) -> Path:
        """Folder of what came in."""
        return self.root / "history"

    @property
    def snapshots(self) -> Path:
        """Folder of what refreshes made."""
        return self.root / "snapshots"

    @property
    def work(self) -> Path:
        """Scratch folder; its content is nobody's after the lock is let go."""
        return self.root / "work"

    # -- what is in history ------------------------------------------------------------------------------

    def manifests(self, source: str | None = None) -> tuple[Manifest, ...]:
        """Return the manifests of a source, or all, in order of acceptance.

        Raises:
            DataError: E506 if a manifest cannot be read.
        """
        pattern = f"{source or '*'}/*.json"
        found = [_read_manifest(path) for path in (self.root / "ingested").glob(pattern)]
        return tuple(sorted(found, key=lambda manifest: (manifest.ingested, manifest.source, manifest.id)))

    def views(self) -> dict[str, list[Path]]:
        """Return each view of history (`events/<type>`, `records/<source>`, `holdings`) with its files."""
        found: dict[str, list[Path]] = {}
        for manifest in self.manifests():
            for part in manifest.parts:
                path = self.root / part
                found.setdefault(path.parent.relative_to(self.history).as_posix(), []).append(path)
        return dict(sorted(found.items()))

    def accepted(self, view: str) -> list[Path]:
        """Return the accepted Parquet files of one view; none if nothing came in."""
        return self.views().get(view, [])

    def accept(self, manifest: Manifest) -> Path:
        """Make a file's rows part of history: its parts reach the disk first, the manifest last.

        Raises:
            OSError: if the disk refuses; nothing was accepted.
        """
        named = [*manifest.parts, manifest.quarantine] if manifest.quarantine else manifest.parts
        disk.sync_all(self.root / part for part in named)
        path = self.root / "ingested" / manifest.source / f"{manifest.id}.json"
        disk.write(path, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        return path

    def sweep(self) -> int:
        """Remove what a crash left behind: files no manifest names, scratch, unfinished snapshots.

        Only for who holds the lock. Returns how many files and folders went.
        """
        manifests = self.manifests()
        named = {part for manifest in manifests for part in (*manifest.parts, manifest.quarantine)}
        stray = [
            path
            for folder in ("history", "quarantine", "ingested")
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not _belongs(path, path.relative_to(self.root).as_posix(), named)
        ]
        for path in stray:
            path.unlink()
        folders = [self.work, *self.snapshots.glob(".*")]
        folders = [folder for folder in folders if folder.exists()]
        for folder in folders:
            shutil.rmtree(folder)
        return len(stray) + len(folders)

    # -- writers -----------------------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer; let go by itself if the process dies.

        Raises:
            EngineError: E504 if another process writes to this store.
        """
        with disk.explained():
            self.root.mkdir(parents=True, exist_ok=True)
            keep_out_of_git(self.root)
            handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(handle, self.root)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def scratch(self, folder: Path | None = None) -> Iterator[Path]:
        """Give an empty folder for intermediate files, `work` or another, removed at the end.

        Only for who holds the lock.
        """
        chosen = folder or self.work
        shutil.rmtree(chosen, ignore_errors=True)
        chosen.mkdir(parents=True, mode=0o700)
        try:
            yield chosen
        finally:
            shutil.rmtree(chosen, ignore_errors=True)

    # -- snapshots ---------------------------------------------------------------------------------------

    def current_snapshot(self) -> Path:
        """Return the folder of the snapshot in force.

        Raises:
            DataError: E507 if there is none yet.
        """
        name = self.root / "current"
        folder = self.snapshots / name.read_text(encoding="utf-8").strip() if name.exists() else None
        if folder is None or not folder.is_dir():
            raise DataError.of("E507", "There is no snapshot yet.", hint="Run `tilltal refresh` first.")
        return folder

    @contextmanager
    def begin_snapshot(self, name: str) -> Iterator[Path]:
        """Give a folder to fill; at the end it becomes the snapshot in force, at once and whole.

        If the block fails the folder is removed and the old snapshot stays in force. The last
        `KEPT_SNAPSHOTS` are kept. Only for who holds the lock.
        """
        unfinished = self.snapshots / f".{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            disk.sync_all(path for path in unfinished.rglob("*") if path.is_file())
            final = self._free_name(name)
            unfinished.rename(final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        disk.sync(self.snapshots)
        disk.write(self.root / "current", f"{final.name}\n".encode())
        self._forget_old(keep=final)

    def _free_name(self, name: str) -> Path:
        taken = {path.name for path in self.snapshots.iterdir()}
        number = 1
        while (candidate := name if number == 1 else f"{name}-{number}") in taken:
            number += 1
        return self.snapshots / candidate

    def _forget_old(self, keep: Path) -> None:
        others = [path for path in self.snapshots.iterdir() if path != keep and not path.name.startswith(".")]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in others[KEPT_SNAPSHOTS - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


def keep_out_of_git(folder: Path) -> None:
    """Make version control overlook a folder: it holds customers' data, and maybe the vault's key."""
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def _read_manifest(path: Path) -> Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError.of(
            "E506",
            f"{path} cannot be read: {error}.",
            hint="Restore it from a backup; without it the store cannot say what was taken in.",
        ) from error


def _belongs(path: Path, relative: str, named: set[str]) -> bool:
    """True for files that manifests name or will name, and for the manifests themselves."""
    if relative.startswith("ingested/"):
        return path.suffix == ".json" and not path.name.startswith(".")
    return relative in named or _is_being_written(path)


def _is_being_written(path: Path) -> bool:
    """True for a young file of a running server: its manifest may come in a moment."""
    return path.name.startswith(LIVE) and time.time() - path.stat().st_mtime < _LIVE_SECONDS


def _take(handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "?"
        raise EngineError.of(
            "E504",
            f"Another command (process {holder}) is writing to {root}.",
            hint="Wait until it has ended, then run again.",
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
