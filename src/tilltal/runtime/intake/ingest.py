"""Ingest: a bank's files and queries become history, each file whole or not at all.

For each new file: read, check, replace identifiers by tokens, leave out what history has, write. When all
files of a source have been prepared and few enough rows broke their contract, the vault and the quarantine
get their share, and manifests make the rest part of history. Until then nothing has happened.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from tilltal.core.errors import Fault, SourceError, nearest
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.runtime.intake import correction, files, staging
from tilltal.runtime.intake.acceptance import FileReport, Work, take
from tilltal.runtime.intake.prepare import Desk
from tilltal.runtime.progress import Progress, Silent
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import Store
from tilltal.sources.casts import Context
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.workspace import Workspace


class IngestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest brought, file by file."""

    files: tuple[FileReport, ...]

    @property
    def taken(self) -> int:
        """Rows that history did not have."""
        return sum(file.taken for file in self.files)

    @property
    def quarantined(self) -> int:
        """Rows that broke their contract."""
        return sum(file.quarantined for file in self.files)


class IngestError(SourceError):
    """Some sources could not be taken in and changed nothing; `report` says what came of the others."""

    def __init__(self, report: IngestReport, *faults: Fault) -> None:
        super().__init__(*faults)
        self.report = report


def store_of(workspace: Workspace) -> Store:
    """Return the store of a workspace."""
    return Store(Path(workspace.root) / workspace.settings.store.path)


@contextmanager
def open_vault(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> Iterator[Vault]:
    """Open the vault of a workspace.

    Raises:
        DataError: S341, S342 for a wrong key.
        EngineError: E501, E503, E505 if its folder cannot be used.
    """
    with disk.explained():
        vault = Vault(Path(workspace.root) / workspace.settings.store.vault, environment)
    with vault:
        yield vault


def ingest(
    workspace: Workspace, names: Sequence[str] | None, progress: Progress | None = None, *, now: datetime
) -> IngestReport:
    """Take in what is new of the named sources, or of all.

    Raises:
        IngestError: if sources could not be taken in (S301 to S309); the others were.
        SourceError: S310 for a name that is no source.
        EngineError: E501 to E506; the source at hand changed nothing.
    """
    chosen = _chosen(workspace, names)
    reports: list[FileReport] = []
    faults: list[Fault] = []
    with _desk(workspace, now) as desk:
        for name in chosen:
            source = workspace.sources[name]
            try:
                work = _new_work(desk, workspace, name, source, reports)
                reports += take(desk, name, source, work, progress or Silent())
            except SourceError as error:
                faults += error.faults
    report = IngestReport(files=tuple(reports))
    if faults:
        raise IngestError(report, *faults)
    return report


def reingest(
    workspace: Workspace, name: str, path: Path | None, progress: Progress | None = None, *, now: datetime
) -> IngestReport:
    """Take in a corrected file; its rows that pass leave the quarantine. Without a file, try all rows again.

    A share of rejects is not held against it. Rows whose correction fails too stay, with the new reason.

    Raises:
        SourceError: S301 to S310, S346 if the file cannot be used; nothing changed.
        DataError: S345 if nothing is in quarantine.
        EngineError: E501 to E506; nothing changed.
    """
    source = msgspec.structs.replace(source_of(workspace, name), max_rejects=1.0)
    with _desk(workspace, now) as desk:
        if path is None:
            again = desk.scratch / "again.txt"
            reports: list[FileReport] = []
            for exported in correction.export(desk.store, desk.vault, name, source, again):
                reports += _retake(desk, workspace, name, source, exported, progress)
            return IngestReport(files=tuple(reports))
        return IngestReport(files=tuple(_retake(desk, workspace, name, source, path, progress)))


def _retake(
    desk: Desk, workspace: Workspace, name: str, source: Source, path: Path, progress: Progress | None
) -> list[FileReport]:
    corrected = correction.unmarked(path, source, desk.scratch / "corrected")
    form = "csv" if corrected.path.suffix == ".csv" else "jsonl"
    read = msgspec.structs.replace(source.read, files=corrected.path.name, query=None, format=form)
    plain = msgspec.structs.replace(source, read=read)
    file = files.describe(corrected.path, Path(workspace.root), name, read)
    file = msgspec.structs.replace(file, label=path.name)
    content = hashlib.sha256(f"{files.content_hash(file)} {desk.now.isoformat()}".encode()).hexdigest()
    work = Work(
        file=file.label,
        content=content,
        stage=partial(staging.stage_file, desk.engine, name, plain, file),
        entries=corrected.entries,
    )
    return take(desk, name, source, [work], progress or Silent())


def source_of(workspace: Workspace, name: str) -> Source:
    """Return a source by its name.

    Raises:
        SourceError: S310 if there is none of that name.
    """
    if name not in workspace.sources:
        valid = nearest(name, workspace.sources) or tuple(sorted(workspace.sources))
        raise SourceError.of("S310", f"There is no source {name!r}.", valid=valid)
    return workspace.sources[name]


@contextmanager
def _desk(workspace: Workspace, now: datetime) -> Iterator[Desk]:
    """Lock the store, clean up after crashes, open the vault and an engine."""
    store, settings = store_of(workspace), workspace.settings
    with disk.explained(), store.lock():
        store.sweep()
        vault_folder = Path(workspace.root) / settings.store.vault
        with open_vault(workspace) as vault, store.scratch(vault_folder / "work") as scratch:
            engine = DuckDBEngine(
                memory_limit=settings.engine.memory_limit, threads=settings.engine.threads, spill=scratch
            )
            with engine:
                engine.run("SET preserve_insertion_order = true")  # row numbers of a file follow from it
                yield Desk(
                    engine=engine,
                    store=store,
                    vault=vault,
                    identity=workspace.identity,
                    context=Context(currency=workspace.currency, zone=workspace.zone),
                    scratch=scratch,
                    now=now,
                )


def _chosen(workspace: Workspace, names: Sequence[str] | None) -> Sequence[str]:
    if names is None:
        return sorted(workspace.sources)
    for name in names:
        source_of(workspace, name)
    return names


def _new_work(
    desk: Desk, workspace: Workspace, name: str, source: Source, reports: list[FileReport]
) -> list[Work]:
    """Return what of a source is to be read; files known by content are reported as unchanged."""
    root = Path(workspace.root)
    if source.read.collector is not None:  # its messages come to the server
        return []
    if source.read.query is not None:
        content = hashlib.sha256(f"{source.read.query} {desk.now.isoformat()}".encode()).hexdigest()
        return [
            Work(
                file="query",
                content=content,
                stage=partial(staging.stage_query, desk.engine, name, source, root),
                is_query=True,
            )
        ]
    known = {manifest.content for manifest in desk.store.manifests(name)}
    work = []
    for file in files.find(root, name, source.read):
        content = files.content_hash(file)
        if content in known:
            reports.append(FileReport(source=name, file=file.label, is_unchanged=True))
            continue
        known.add(content)
        stage = partial(staging.stage_file, desk.engine, name, source, file)
        work.append(Work(file=file.label, content=content, stage=stage))
    return work
