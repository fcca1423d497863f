"""One file or query on its way into history: checked, deduplicated and written, but not yet accepted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa

from tilltal.core.names import literal
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.normalise import Normaliser
from tilltal.governance.vault import Direct, Personal, Vault
from tilltal.runtime.intake.quarantine import Rejected
from tilltal.runtime.intake.staging import Staged
from tilltal.runtime.storage.store import Store
from tilltal.sources import history
from tilltal.sources.casts import Context
from tilltal.sources.checked import Plan, checked, identifier_texts, rejected
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.reasons import Reason, read
from tilltal.workspace.definitions.identity import Identity, Namespace
from tilltal.workspace.definitions.sources import Source

T = TypeVar("T")

_BESIDE = ("observations", "identities")  # views that hold no events of their own


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows are taken in: the engines and rules that all files share."""

    engine: DuckDBEngine
    store: Store
    vault: Vault
    identity: Identity
    context: Context
    scratch: Path
    now: datetime


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a file would bring. Its parts lie in history, but no manifest names them yet.

    `checked`, `broken`, `direct` and `personal` are Parquet in the scratch folder: all rows with their
    reasons, the rejected ones as they came, and what the vault is to keep.
    """

    id: str
    staged: Staged
    rows: int
    taken: int
    rejected: int
    parts: tuple[Path, ...]
    checked: Path
    broken: Path
    direct: Path | None = None
    personal: dict[str, Path] = {}

    @property
    def duplicate(self) -> int:
        """How many sound rows history had already."""
        return self.rows - self.taken - self.rejected


def prepare(
    desk: Desk, name: str, source: Source, staged: Staged, draft_id: str, before: Sequence[Draft]
) -> Draft:
    """Check a staged file and write what is new of it; `before` are the drafts of the same source.

    Raises:
        EngineError: E501 to E503; the parts written so far are for the caller to remove.
    """
    path = desk.scratch / f"checked-{len(before)}.parquet"
    namespaces = _namespaces(desk.identity, source)
    _check(desk, name, source, staged, namespaces, path)
    earlier = [part for draft in before for part in draft.parts]
    _relate(desk, name, source, path, earlier)
    broken = desk.scratch / f"broken-{len(before)}.parquet"
    query = rejected(staged.table, _parquet(path))
    desk.engine.run(f"COPY ({query}) TO {literal(str(broken))} (FORMAT parquet)")
    rows, bad = desk.engine.rows(history.COUNTS)[0]
    ((taken,),) = desk.engine.rows("SELECT count(*) FROM taken")
    draft = Draft(
        id=draft_id,
        staged=staged,
        rows=rows + len(staged.rejects),
        taken=taken,
        rejected=bad + len(staged.rejects),
        parts=(),
        checked=path,
        broken=broken,
    )
    return _written(desk, name, source, namespaces, draft, earlier) if taken else draft


def part_paths(desk: Desk, draft_id: str) -> Iterator[Path]:
    """Return what a draft has written to history, finished or not."""
    return desk.store.history.rglob(f"{draft_id}-*.parquet")


def rejected_rows(desk: Desk, draft: Draft) -> Iterator[Rejected]:
    """Return the rows of a draft that broke their contract, in the order of the file."""
    columns = draft.staged.columns
    unreadable = (
        Rejected(row=one.row, reasons=(Reason(code=one.code),), raw=one.raw, columns=columns)
        for one in draft.staged.rejects
    )
    broken = (
        Rejected(
            row=draft.staged.row(row["k"]),
            reasons=tuple(read(text) for text in row["reasons"]),
            raw=row["raw"],
            columns=columns,
        )
        for batch in desk.engine.batches(f"SELECT * FROM {_parquet(draft.broken)} ORDER BY k")
        for row in batch.to_pylist()
    )
    yield from heapq.merge(unreadable, broken, key=lambda one: one.row)


def keep_secrets(desk: Desk, name: str, draft: Draft) -> None:
    """Give the vault what only it may hold of a draft's rows."""
    if draft.direct is not None:
        query = f"SELECT token, namespace, value FROM {_parquet(draft.direct)}"
        desk.vault.keep_direct(_read(desk, query, Direct))
    for field, path in draft.personal.items():
        query = (
            f"SELECT identity AS token, {literal(name)} AS source, {literal(field)} AS field, "
            f'CAST("at" AS VARCHAR) AS "at", value FROM {_parquet(path)}'
        )
        desk.vault.keep_personal(_read(desk, query, Personal))


def _namespaces(identity: Identity, source: Source) -> list[Namespace]:
    known = {namespace.name: namespace for namespace in identity.namespaces}
    return [known[name] for name in source.identities]


def _ranks(identity: Identity, namespaces: Sequence[Namespace]) -> tuple[int, ...]:
    """Positions of a source's namespaces, those of the highest priority first."""
    order = [namespace.name for namespace in identity.namespaces]
    return tuple(sorted(range(len(namespaces)), key=lambda n: order.index(namespaces[n].name)))


def _check(
    desk: Desk, name: str, source: Source, staged: Staged, namespaces: Sequence[Namespace], path: Path
) -> None:
    """Write the file's rows with their values or reasons to `path`."""
    for n, (one, namespace) in enumerate(zip(inputs_of(source), namespaces, strict=False)):
        _make_tokens(desk, staged, one, namespace, n)
    plan = Plan(
        name=name,
        source=source,
        table=staged.table,
        tokens=tuple(f"tokens_{n}" for n in range(len(namespaces))),
        ranks=_ranks(desk.identity, namespaces),
        context=desk.context,
        now=desk.now,
    )
    desk.engine.run(f"COPY ({checked(plan)}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION lz4)")


def _make_tokens(desk: Desk, staged: Staged, one: Input, namespace: Namespace, n: int) -> None:
    """Make the relation of a namespace's usable texts: text, value, token. Unusable ones are left out."""
    normaliser = Normaliser(desk.identity, desk.now.astimezone(desk.context.zone).date())
    tables = [_schema_only()]
    for batch in desk.engine.batches(identifier_texts(staged.table, one)):
        texts: list[str] = batch.column("text").to_pylist()
        pairs = zip(texts, normaliser.all(namespace.name, texts), strict=True)
        usable = [(text, value) for text, value in pairs if value is not None]
        values = [value for _, value in usable]
        tokens = desk.vault.pseudonymiser.tokens(namespace.name, values)
        columns = {"text": [text for text, _ in usable], "value": values, "token": tokens}
        tables.append(pa.table(columns, schema=_TOKENS))
    desk.engine.register("incoming", pa.concat_tables(tables))
    desk.engine.run(f"CREATE OR REPLACE TEMP TABLE tokens_{n} AS FROM incoming")


_TOKENS = pa.schema([("text", pa.string()), ("value", pa.string()), ("token", pa.int64())])


def _schema_only() -> pa.Table:
    return _TOKENS.empty_table()


def _relate(desk: Desk, name: str, source: Source, path: Path, earlier: Sequence[Path]) -> None:
    """Make the relations that `sources.history` speaks of."""
    own = _own_parts(desk, name, earlier)
    make = "CREATE OR REPLACE TEMP"
    desk.engine.run(f"{make} VIEW checked AS FROM {_parquet(path)}")
    desk.engine.run(f"{make} TABLE repeats AS {history.REPEATS}")
    desk.engine.run(f"{make} VIEW good AS {history.good(source)}")
    desk.engine.run(f"{make} TABLE known AS {history.known([str(part) for part in own])}")
    desk.engine.run(f"{make} VIEW taken AS {history.TAKEN}")


def _own_parts(desk: Desk, name: str, earlier: Sequence[Path]) -> list[Path]:
    """Return what history holds of a source, with the parts that its earlier drafts wrote."""
    manifests = desk.store.manifests(name)
    accepted = [desk.store.root / part for manifest in manifests for part in manifest.parts]
    return [part for part in (*accepted, *earlier) if _view_of(desk, part) not in _BESIDE]


def _view_of(desk: Desk, part: Path) -> str:
    return part.relative_to(desk.store.history).parts[0]


def _written(
    desk: Desk,
    name: str,
    source: Source,
    namespaces: Sequence[Namespace],
    draft: Draft,
    earlier: Sequence[Path],
) -> Draft:
    """Write the new rows to history, and what the vault is to keep to the scratch folder."""
    if source.kind == "holding":
        own = [str(part) for part in _own_parts(desk, name, earlier)]
        desk.engine.run(f"CREATE OR REPLACE TEMP TABLE restated AS {history.restated(own)}")
    parts = []
    types, zone = _event_types(desk, source), desk.context.zone
    for view in history.views(name, source, types, now=desk.now, zone=zone):
        parts.append(_copy_part(desk, view.folder, view.query, draft.id))
    names = [namespace.name for namespace in namespaces]
    parts.append(_copy_part(desk, "observations", history.observations(name, source.kind, names), draft.id))
    known = [*desk.store.accepted("identities"), *(p for p in earlier if _view_of(desk, p) == "identities")]
    fresh = history.identities(namespaces, [str(part) for part in known])
    desk.engine.run(f"CREATE OR REPLACE TEMP TABLE fresh AS {fresh}")
    parts.append(_copy_part(desk, "identities", history.identities_kept("fresh"), draft.id))
    return msgspec.structs.replace(
        draft, parts=tuple(parts), direct=_direct(desk, draft), personal=_personal(desk, source, draft)
    )


def _event_types(desk: Desk, source: Source) -> list[str]:
    if source.kind != "event":
        return []
    return [str(row[0]) for row in desk.engine.rows("SELECT DISTINCT event FROM taken ORDER BY event")]


def _copy_part(desk: Desk, folder: str, query: str, draft_id: str) -> Path:
    path = desk.store.history / folder / f"{draft_id}-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    desk.engine.run(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    return path


def _direct(desk: Desk, draft: Draft) -> Path:
    path = desk.scratch / f"direct-{draft.checked.stem}.parquet"
    query = "SELECT token, namespace, value FROM fresh WHERE is_direct ORDER BY token"
    desk.engine.run(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet)")
    return path


def _personal(desk: Desk, source: Source, draft: Draft) -> dict[str, Path]:
    paths = {}
    for position, one in history.personal_fields(source):
        path = desk.scratch / f"personal-{position}-{draft.checked.stem}.parquet"
        desk.engine.run(f"COPY ({history.personal(position)}) TO {literal(str(path))} (FORMAT parquet)")
        paths[one.name] = path
    return paths


def _parquet(path: Path) -> str:
    return history.parquet([str(path)])


def _read(desk: Desk, query: str, kind: type[T]) -> Iterator[T]:
    for batch in desk.engine.batches(query):
        yield from (msgspec.convert(row, kind) for row in batch.to_pylist())
