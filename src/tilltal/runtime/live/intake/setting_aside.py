"""The live part of the quarantine: messages that broke their contract, sealed and durable before the answer.

They lie where rows of files lie, as entries of the same form, so that the same commands list and show them.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from tilltal.core.instants import micros
from tilltal.governance.vault import Vault
from tilltal.runtime.intake import quarantine
from tilltal.runtime.intake.quarantine import Rejected
from tilltal.runtime.storage.store import LIVE, Manifest, Store
from tilltal.sources.reasons import Reason

NO_SOURCE = "collector"  # stands for the source where none takes a message
COLLECTOR = "collector"  # stands for the file that a message came in
FULL = 10_000  # entries in a file, after which another is begun
_REMEMBERED = 100_000  # messages that the quarantine surely has


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be set aside: the source that refused it (empty: none took it), why, and its JSON.

    `key` is what stays the same when the message is sent again.
    """

    source: str
    index: int
    reasons: tuple[Reason, ...]
    raw: str
    key: str

    @property
    def known_as(self) -> bytes:
        """Tell it from others, in few bytes."""
        return hashlib.blake2b(f"{self.source}\x1f{self.key}".encode(), digest_size=16).digest()


class _File(msgspec.Struct, kw_only=True):
    """A file of this process that takes more entries: its name, when it was begun, how much it holds."""

    name: str
    path: Path
    began: datetime
    count: int = 0
    size: int = 0

    def takes_more(self, now: datetime) -> bool:
        """True until it is full, or of another day."""
        return self.count < FULL and self.began.date() == now.date()


class SetAside:
    """Puts messages into quarantine: a source's into one file until it is full, or the day is over."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._count = 0
        self._kept: OrderedDict[bytes, None] = OrderedDict()
        self._files: dict[str, _File] = {}

    def keep(self, found: Sequence[Aside], now: datetime) -> None:
        """Store messages durably, unless they lie there already: clients send again, and so do we.

        Raises:
            OSError: if the disk refuses; then nobody is told that they are stored.
        """
        by_source: dict[str, dict[bytes, Aside]] = {}
        for one in found:
            if one.known_as in self._kept:
                self._kept.move_to_end(one.known_as)
            else:
                by_source.setdefault(one.source or NO_SOURCE, {}).setdefault(one.known_as, one)
        for source, group in by_source.items():
            self._keep(source, list(group.values()), now)
            self._remember(group)

    def _remember(self, keys: Iterable[bytes]) -> None:
        self._kept.update(dict.fromkeys(keys))
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def _keep(self, source: str, group: Sequence[Aside], now: datetime) -> None:
        file = self._file(source, now)
        before = file.size
        count, size = quarantine.append(file.path, self._entries(source, group, _written(now)), before)
        rows = file.count + count
        try:
            self._store.accept(
                Manifest(
                    id=file.name,
                    source=source,
                    file=COLLECTOR,
                    ingested=_written(file.began),
                    rows=rows,
                    taken=0,
                    duplicate=0,
                    quarantined=rows,
                    quarantine=_relative(file.path, self._store.root),
                )
            )
        except OSError:
            quarantine.cut(file.path, before)
            raise
        file.count, file.size = rows, size

    def _file(self, source: str, now: datetime) -> _File:
        file = self._files.get(source)
        if file is None or not file.takes_more(now) or not file.path.exists():
            folder = self._store.root / "quarantine" / source
            path = folder / f"{self._name(now)}.jsonl"
            while path.exists():  # an earlier process of this number began it, by the same clock
                path = folder / f"{self._name(now)}.jsonl"
            file = self._files[source] = _File(name=path.stem, path=path, began=now)
        return file

    def settle(self, source: str, entries: Sequence[str], taken: int, now: datetime) -> None:
        """Note durably that entries of a source were seen to, and how many of them were taken in.

        Raises:
            OSError: if the disk refuses; they stay.
        """
        if not entries:
            return
        self._store.accept(
            Manifest(
                id=self._name(now),
                source=source,
                file=COLLECTOR,
                ingested=_written(now),
                rows=len(entries),
                taken=taken,
                duplicate=0,
                quarantined=0,
                resolved=tuple(entries),
            )
        )

    def _name(self, now: datetime) -> str:
        """Return a name that no other process gives, either."""
        self._count += 1
        return f"{LIVE}{micros(now)}-{os.getpid()}-{self._count}"

    def _entries(self, source: str, group: Sequence[Aside], ingested: str) -> Iterable[quarantine.Entry]:
        rows = [Rejected(row=one.index, reasons=one.reasons, raw=one.raw, key=one.key) for one in group]
        return quarantine.sealed_entries(self._vault, rows, source=source, file=COLLECTOR, ingested=ingested)


def _written(now: datetime) -> str:
    return now.replace(tzinfo=None).isoformat() + "Z"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
