"""All new files of a source, or none: prepared one by one, judged together, then made part of history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from tilltal.core.time import utc_naive
from tilltal.runtime.intake import prepare, quarantine
from tilltal.runtime.intake.prepare import Desk, Draft
from tilltal.runtime.intake.quarantine import Entry
from tilltal.runtime.intake.rejects import refuse_too_many
from tilltal.runtime.intake.staging import Staged
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage.store import Manifest
from tilltal.workspace.definitions.sources import Source

_STEPS = 2  # progress a file makes: read, written


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one file or query; `is_unchanged` where history had its content already."""

    source: str
    file: str
    rows: int = 0
    taken: int = 0
    duplicate: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    is_unchanged: bool = False


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One file, corrected file or query to take in. `stage` reads it, `entries` are those it corrects."""

    file: str
    content: str
    stage: Callable[[Path], Staged]
    entries: tuple[str, ...] = ()
    is_query: bool = False


def take(desk: Desk, name: str, source: Source, work: Sequence[Work], progress: Progress) -> list[FileReport]:
    """Take in the new files of a source, or, whatever happens on the way, none of them."""
    if work:
        progress.start(name, len(work) * _STEPS)
    drafts: list[Draft] = []
    seconds: list[float] = []
    accepted: list[Path] = []
    try:
        for one in work:
            started = time.perf_counter()
            staged = one.stage(desk.scratch)
            progress.advance()
            drafts.append(prepare.prepare(desk, name, source, staged, _draft_id(name, one), drafts))
            progress.advance()
            seconds.append(time.perf_counter() - started)
        refuse_too_many(desk, name, source, [one.file for one in work], drafts)
        manifests = [_furnish(desk, name, one, draft) for one, draft in zip(work, drafts, strict=True)]
        for one, manifest in zip(work, manifests, strict=True):
            if not one.is_query or manifest.taken or manifest.quarantine:
                accepted.append(desk.store.accept(manifest))
    except BaseException:
        _undo(desk, name, work, accepted)
        raise
    return [
        _report(one, manifest, spent) for one, manifest, spent in zip(work, manifests, seconds, strict=True)
    ]


def _draft_id(name: str, work: Work) -> str:
    return f"{name}-{work.content[:16]}"


def _furnish(desk: Desk, name: str, work: Work, draft: Draft) -> Manifest:
    """Give the vault and the quarantine their share, and say what the file brings."""
    prepare.keep_secrets(desk, name, draft)
    ingested = utc_naive(desk.now).isoformat() + "Z"
    found = quarantine.sealed_entries(
        desk.vault, prepare.rejected_rows(desk, draft), source=name, file=work.file, ingested=ingested
    )
    still = frozenset(entry.id for entry in quarantine.entries(desk.store, name))
    bad: dict[int, str] = {}
    path = desk.store.root / "quarantine" / name / f"{draft.id}.jsonl"
    count = 0
    if draft.rejected:
        count = quarantine.write(path, _fresh(found, quarantine.ever(desk.store, name), bad))
    if not count:
        path.unlink(missing_ok=True)
    return Manifest(
        id=draft.id,
        source=name,
        file=work.file,
        content="" if work.is_query else work.content,
        ingested=ingested,
        rows=draft.rows,
        taken=draft.taken,
        duplicate=draft.duplicate,
        quarantined=draft.rejected,
        parts=tuple(part.relative_to(desk.store.root).as_posix() for part in draft.parts),
        quarantine=path.relative_to(desk.store.root).as_posix() if count else "",
        resolved=_resolved(work.entries, bad, still),
    )


def _fresh(found: Iterable[Entry], known: frozenset[str], bad: dict[int, str]) -> Iterator[Entry]:
    """Keep entries that the quarantine never had, and note the entry of each bad row in `bad`."""
    for entry in found:
        bad[entry.row] = entry.id
        if entry.id not in known:
            yield entry


def _resolved(entries: Sequence[str], bad: Mapping[int, str], still: frozenset[str]) -> tuple[str, ...]:
    """Return the entries that a corrected file settles: all its rows but those that failed as before."""
    settled = (entry for row, entry in enumerate(entries, start=1) if bad.get(row) != entry)
    return tuple(entry for entry in settled if entry in still)


def _undo(desk: Desk, name: str, work: Sequence[Work], accepted: Sequence[Path]) -> None:
    """Remove what a source's files have left in the store, manifests first: nothing is ever half there."""
    for manifest in accepted:
        manifest.unlink(missing_ok=True)
    for one in work:
        draft_id = _draft_id(name, one)
        for path in prepare.part_paths(desk, draft_id):
            path.unlink(missing_ok=True)
        (desk.store.root / "quarantine" / name / f"{draft_id}.jsonl").unlink(missing_ok=True)


def _report(work: Work, manifest: Manifest, seconds: float) -> FileReport:
    return FileReport(
        source=manifest.source,
        file=work.file,
        rows=manifest.rows,
        taken=manifest.taken,
        duplicate=manifest.duplicate,
        quarantined=manifest.quarantined,
        seconds=seconds,
    )
