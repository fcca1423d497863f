"""A connection to a SQLite store: how it is opened, begun and committed, and what its failures mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tilltal.core.errors import EngineError
from tilltal.engines.operational import sqlite_writes
from tilltal.engines.operational.rows import decision_number
from tilltal.engines.operational.steps import VERSION, VERSION_TABLE, missing_steps

BUSY_MS = 10_000
_PAUSE_SECONDS = 0.01
_CHECKPOINT_PAGES = 64_000  # 256 MB: if the background does not keep up, the writer itself does it


def connected(path: Path, *, cache_mb: int) -> sqlite3.Connection:
    """Open a connection, durable and in WAL mode."""
    connection = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.create_function("decision_number", 1, decision_number, deterministic=True)
    _write_ahead(connection)
    for pragma in (
        "synchronous = FULL",
        f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        f"cache_size = {-1024 * cache_mb}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Begin to use a WAL; SQLite waits for nobody then who does the same to a new file."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def read_singly(path: Path) -> None:
    """Tell the system that what is open now of a store's files reads single pages here and there.

    Nothing is read ahead then, and the system keeps each page alone. Otherwise it keeps what it read in
    larger pieces, and Linux since 6.16 looks through such a piece for each page that is written to it: a
    commit costs several times as much.
    """
    for number in _open_files(path, Path(f"{path}-wal")):
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_RANDOM)


def drop_pages(path: Path) -> None:
    """Let the system forget what it keeps of a store's file, as far as that is on disk."""
    for number in _open_files(path):
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)


def _open_files(*paths: Path) -> list[int]:
    """Return what this process has open of some files, where the system tells (Linux)."""
    own, found = Path("/proc/self/fd"), []
    names = {str(path.resolve()) for path in paths}
    for entry in own.iterdir() if own.is_dir() else ():
        with suppress(OSError):  # closed meanwhile
            if str(entry.readlink()) in names:
                found.append(int(entry.name))
    return found


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Run the steps that the file still needs, all or none; who needs none waits for no writer."""
    if _has_version(connection):
        (version,) = connection.execute(VERSION).fetchone()
        if not missing_steps("sqlite", version, where):
            return
    begin(connection)
    try:
        connection.execute(VERSION_TABLE)
        (version,) = connection.execute(VERSION).fetchone()
        for step in missing_steps("sqlite", version, where):
            sqlite_writes.run_script(connection, step.script)
            connection.execute(step.note)
    except BaseException:
        roll_back(connection)
        raise
    commit(connection)


def _has_version(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'"
    (count,) = connection.execute(query).fetchone()
    return bool(count)


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that differs once another connection has committed."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def checkpoint(connection: sqlite3.Connection, path: Path) -> None:
    """Fold the WAL into the file as far as nobody is in the way."""
    with explained(path):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def begin(connection: sqlite3.Connection) -> None:
    """Begin to write, after what a cancelled task may have left."""
    roll_back(connection)  # of a task that was cancelled while it began
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Commit, or roll back if that fails."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """Roll back if anything is open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def back_up(path: Path, target: Path) -> None:
    """Copy the last commit to a file that appears when it is whole."""
    partly = target.with_name(target.name + ".partly")
    partly.unlink(missing_ok=True)
    with (
        explained(path),
        closing(connected(path, cache_mb=1)) as source,  # it reads ahead
        closing(sqlite3.connect(partly, isolation_level=None)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    drop_pages(path)
    with partly.open("rb+") as file:
        os.fsync(file.fileno())
    partly.replace(target)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what to do about the failures of SQLite that somebody can do something about."""
    try:
        yield
    except sqlite3.Error as error:
        raise explanation(path, error) from error


def explanation(path: Path, error: sqlite3.Error) -> EngineError:
    """Return a failure of SQLite with what to do about it."""
    name, text = getattr(error, "sqlite_errorname", ""), str(error)
    if name.startswith(("SQLITE_BUSY", "SQLITE_CONSTRAINT")):
        return EngineError.of(
            "E531", f"The operational store {path} was written at the same time: {text}.", hint="Try again."
        )
    if name.startswith("SQLITE_FULL"):
        return EngineError.of("E501", f"The disk is full: {path}.", hint="Free some space and run again.")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return EngineError.of(
            "E505", f"{path}: {text}.", hint="Check that it exists and that you may write there."
        )
    if "no such module: fts5" in text:
        return EngineError.of(
            "E503",
            f"This Python's SQLite ({sqlite3.sqlite_version}) has no FTS5, which {path} needs.",
            hint="Use a Python of python.org, conda or Debian.",
        )
    return EngineError.of(
        "E503", f"SQLite refused {path}: {text}.", hint="Restore a damaged file from its backup."
    )
