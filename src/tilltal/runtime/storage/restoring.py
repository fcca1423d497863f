"""Restore: a workspace made anew from a backup, once every file of it was found as it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from tilltal.core.errors import DataError
from tilltal.runtime.live.places import place_of
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.backup import (
    CONTENTS,
    LIVE_FILE,
    STORE,
    VAULT,
    WORKSPACE,
    BackedUp,
    Contents,
    made_beside,
    refuse_full,
    sum_of,
    told,
)
from tilltal.runtime.storage.store import keep_out_of_git

_NO_KEY = "The vault was not in the backup: put its folder here, key included.\n"


def restore(
    source: Path, target: Path, progress: Progress, environment: Mapping[str, str] = os.environ
) -> BackedUp:
    """Make a workspace from a backup; it appears when it is whole.

    Store, vault and operational store are put where its tilltal.yaml looks for them, which may be outside the
    new folder. Where the vault was left out, a note takes the place of its key, so that nobody gets a new
    pseudonym by mistake.

    Raises:
        DataError: E551 if a place is taken; E552 if the folder is no backup; E553 if a file is missing or
            damaged; E542 if the operational store is to be where an unset environment variable says.
        EngineError: E501, E505 for the disk. Nothing was made.
    """
    contents = _contents(source)
    _verify(source, contents, progress)
    target = target.resolve()
    with disk.explained(), ExitStack() as made:
        beside = made.enter_context(made_beside(target))
        places = _folders(contents, target, beside, environment, made)
        progress.start("restore", len(contents.sums))
        for path in contents.sums:
            _copy(source, path, places)
            progress.advance()
        places[STORE].mkdir(parents=True, exist_ok=True)
        keep_out_of_git(places[STORE])
        if not contents.has_vault and not (places[VAULT] / "key").exists():
            places[VAULT].mkdir(parents=True, mode=0o700, exist_ok=True)
            disk.write(places[VAULT] / "key", _NO_KEY.encode(), mode=0o600)
    return told(target, contents)


def _contents(source: Path) -> Contents:
    try:
        contents = msgspec.json.decode((source / CONTENTS).read_bytes(), type=Contents)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError.of(
            "E552",
            f"{source} is no backup: its {CONTENTS} cannot be read: {error}.",
            hint="Name a folder that `tilltal backup` made.",
        ) from error
    astray = [path for path in contents.sums if _is_astray(path)]
    if astray:
        raise DataError.of("E552", f"{source} is no backup of ours: it names {astray[0]!r}.")
    return contents


def _is_astray(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return ".." in parts or parts[:1] not in ((WORKSPACE,), (STORE,), (VAULT,), (LIVE_FILE,))


def _verify(source: Path, contents: Contents, progress: Progress) -> None:
    progress.start("checking", len(contents.sums))
    bad = []
    for path, digest in contents.sums.items():
        if not (source / path).is_file():
            bad.append(f"{path} is missing")
        elif sum_of(source / path) != digest:
            bad.append(f"{path} is damaged")
        progress.advance()
    if bad:
        more = f", and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError.of(
            "E553",
            f"Of the backup's {len(contents.sums)} files {', '.join(bad[:5])}{more}.",
            hint="Nothing was restored. Take another backup.",
        )


def _folders(
    contents: Contents, target: Path, beside: Path, environment: Mapping[str, str], made: ExitStack
) -> dict[str, Path]:
    """Return where each part of the backup is copied to; all becomes final as `made` ends."""
    places, bases = {WORKSPACE: beside}, {target: beside}
    for part, path in ((STORE, contents.places.store), (VAULT, contents.places.vault)):
        final = Path(os.path.normpath(target / path))
        base = next((base for base in bases if final.is_relative_to(base)), None)
        if base is not None:
            places[part] = bases[base] / final.relative_to(base)
        elif part == VAULT and not contents.has_vault:
            places[part] = final
        else:
            places[part] = bases[final] = made.enter_context(made_beside(final))
    if contents.has_vault:
        places[VAULT].mkdir(parents=True, mode=0o700, exist_ok=True)
    if contents.operational == "sqlite":
        final = Path(os.path.normpath(place_of(contents.places.operational, target, environment)))
        base = next((base for base in bases if final.is_relative_to(base)), None)
        places[LIVE_FILE] = (
            made.enter_context(_file_beside(final)) if base is None else bases[base] / final.relative_to(base)
        )
    return places


@contextmanager
def _file_beside(target: Path) -> Iterator[Path]:
    """Give a hidden file to write, which becomes the target at the end."""
    refuse_full(target)
    beside = target.with_name(f".{target.name}.part")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _copy(source: Path, path: str, places: Mapping[str, Path]) -> None:
    part, _, rest = path.partition("/")
    copy = places[part] / rest if rest else places[part]
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / path, copy)
