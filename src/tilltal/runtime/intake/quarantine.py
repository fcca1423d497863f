"""The quarantine: rows that broke their contract, kept until somebody has looked at them.

JSON Lines, one entry a row. Source, file, row number and codes are in clear; the row itself and the
sentences that quote it are sealed with the vault's key, because a rejected row holds direct identifiers like
any other. A row that comes again is the same entry: its id follows from its content.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, nearest
from tilltal.governance.vault import Vault
from tilltal.runtime.storage.store import Store
from tilltal.sources.reasons import Reason

_NAMESPACE = "quarantine"


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A row on its way into quarantine; `key` is what stays the same when it comes again, if not `raw`."""

    row: int
    reasons: tuple[Reason, ...]
    raw: str
    columns: tuple[str, ...] = ()
    key: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row in quarantine, as it lies there."""

    id: str
    source: str
    file: str
    row: int
    codes: tuple[str, ...]
    ingested: str
    sealed: str


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry seals: the sentences, the row as it came, and the columns of its file."""

    reasons: tuple[str, ...]
    raw: str
    columns: tuple[str, ...] = ()


def entries(store: Store, source: str | None = None) -> tuple[Entry, ...]:
    """Return the rows in quarantine, oldest first."""
    manifests = store.manifests(source)
    resolved = {entry for manifest in manifests for entry in manifest.resolved}
    found: dict[str, Entry] = {}
    for entry in _all(store, source):
        found.setdefault(entry.id, entry)  # what several servers were sent is one entry all the same
    return tuple(entry for entry in found.values() if entry.id not in resolved)


def ever(store: Store, source: str) -> frozenset[str]:
    """Return the ids of all entries a source ever had, also those resolved since."""
    return frozenset(entry.id for entry in _all(store, source))


def opened(vault: Vault, entry: Entry) -> Opened:
    """Open an entry with the vault's key.

    Raises:
        DataError: S342 if the vault's key is another.
    """
    content = vault.unseal(base64.b64decode(entry.sealed), _context(entry.id))
    return msgspec.json.decode(content, type=Opened)


def one(store: Store, entry: str) -> Entry:
    """Return an entry by its id.

    Raises:
        DataError: S345 if there is none.
    """
    present = {found.id: found for found in entries(store)}
    if entry not in present:
        raise DataError.of(
            "S345",
            f"There is no row {entry!r} in quarantine.",
            valid=nearest(entry, present)[:3],
            hint="`tilltal quarantine list` shows them.",
        )
    return present[entry]


def sealed_entries(
    vault: Vault, rows: Iterable[Rejected], *, source: str, file: str, ingested: str
) -> Iterator[Entry]:
    """Make entries of rejected rows; equal rows of one file get ids of their own by counting them."""
    seen: Counter[str] = Counter()
    for row in rows:
        key = row.key or row.raw
        seen[key] += 1
        token = vault.pseudonymiser.token(_NAMESPACE, f"{source}\x1f{key}\x1f{seen[key]}")
        entry = f"q{token:016x}"
        reasons = tuple(str(reason) for reason in row.reasons)
        content = Opened(reasons=reasons, raw=row.raw, columns=row.columns)
        sealed = vault.seal(msgspec.json.encode(content), _context(entry))
        codes = tuple(dict.fromkeys(reason.code for reason in row.reasons))
        yield Entry(
            id=entry,
            source=source,
            file=file,
            row=row.row,
            codes=codes,
            ingested=ingested,
            sealed=base64.b64encode(sealed).decode(),
        )


def write(path: Path, found: Iterable[Entry]) -> int:
    """Write entries as JSON Lines; returns how many. Raises OSError if the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as file:
        for entry in found:
            file.write(msgspec.json.encode(entry) + b"\n")
            count += 1
    return count


def append(path: Path, found: Iterable[Entry], size: int) -> tuple[int, int]:
    """Append entries to a file that is `size` bytes long; returns how many, and how long it is then.

    Raises:
        OSError: if the disk refuses; the file is as long as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lines = _lines(found)
        with path.open("ab") as file:
            file.writelines(lines)
    except OSError:
        cut(path, size)
        raise
    return len(lines), size + sum(map(len, lines))


def _lines(found: Iterable[Entry]) -> list[bytes]:
    return [msgspec.json.encode(entry) + b"\n" for entry in found]


def cut(path: Path, size: int) -> None:
    """Make a file as long as it was: what came after was never told to be stored."""
    with suppress(OSError):
        os.truncate(path, size)


def _all(store: Store, source: str | None) -> Iterator[Entry]:
    for manifest in store.manifests(source):
        if manifest.quarantine:
            with (store.root / manifest.quarantine).open("rb") as lines:
                whole = (line for line in lines if line.endswith(b"\n"))  # a crash may cut the last one
                yield from (msgspec.json.decode(line, type=Entry) for line in whole)


def _context(entry: str) -> bytes:
    return f"{_NAMESPACE}|{entry}".encode()
