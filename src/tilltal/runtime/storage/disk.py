"""Writing so that a crash leaves the old or the new, never half; and what the disk says, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tilltal.core.errors import EngineError


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the operating system says about files into sentences.

    Raises:
        EngineError: E501 for a full disk, E505 for a folder or file that may not be written or read.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or "the store"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineError.of(
                "E501",
                f"The disk is full while writing {where}; nothing half-written was kept.",
                hint="Free some space and run again.",
            ) from error
        raise EngineError.of(
            "E505",
            f"{where}: {error.strerror or error}.",
            hint="Check that the folder exists and that you may write to it.",
        ) from error


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(paths: Iterable[Path]) -> None:
    """Make files survive, and the folders that name them."""
    files = list(paths)
    for path in [*files, *sorted({path.parent for path in files})]:
        sync(path)


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file: beside its place first, then renamed into it.

    Raises:
        OSError: if the disk refuses; the old file, if any, is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)
