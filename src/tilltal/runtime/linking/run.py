"""One run of linking: read the records, score all pairs with Splink, link what is sure, queue what is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.identity.corrections import Corrections, declared
from tilltal.customers.identity.linking.judging import holders_of
from tilltal.customers.identity.linking.plan import LinkPlan
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import Weights, fitting, weight_of
from tilltal.customers.identity.rules import compile_rules
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault, store_of
from tilltal.runtime.linking import batch
from tilltal.runtime.linking.judgement import Known, Scored, judged, last_said
from tilltal.runtime.linking.queue import Proposal, ends_of, write_queue
from tilltal.runtime.linking.records import comparable_records, plan_of, read_told
from tilltal.runtime.linking.verdicts import evidence, folder, keep_evidence, verdicts, with_verdicts
from tilltal.runtime.live.history.compaction import hot_of
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.run import workspace_engine
from tilltal.runtime.refresh.views import open_history
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace


class LinkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found. `refused`: probable pairs that a rule would not have."""

    records: int
    linked: int
    waiting: int
    refused: int
    trained: bool
    seconds: float


def link(workspace: Workspace, *, now: datetime, progress: Progress, retrain: bool = False) -> LinkReport:
    """Link what is sure and queue what is not.

    Args:
        workspace: definitions that passed their check.
        now: the wall clock, and the time of the links.
        progress: told of the steps.
        retrain: learn the weights anew even if the definitions of linking are the same.

    Raises:
        DataError: P371, P373 if nothing can be learned, P374 without `linking` in identity.yaml.
        EngineError: P370 without Splink; E501 to E505 for disk and engine. Nothing was linked.
    """
    started = time.perf_counter()
    plan, store = plan_of(workspace), store_of(workspace)
    with store.lock(), open_vault(workspace) as vault, reading(workspace, store) as engine:
        progress.start("records", None)
        corrections = corrections_of(workspace, store, vault)
        known = read_known(engine, workspace, vault, plan, now)
        with _private_engine(workspace) as private:
            weights, is_new, pairs = _scored(private, store, plan, known, now, progress, retrain=retrain)
        progress.start("links", None)
        found = judged(
            pairs,
            known,
            plan,
            PairScorer(plan, weights),
            compile_rules(workspace.identity),
            corrections,
            last_said(verdicts(store)),
            now,
        )
        with disk.explained():
            if found.sure:
                keep_evidence(store, ends_of(found.sure), now)
            every = [*found.proposals, *found.sure]
            decided = _decided(store)
            write_queue(store, every, lambda one: one.id in decided or _is_since(one, now))
    return LinkReport(
        records=len(known.records),
        linked=len(found.sure),
        waiting=sum(not one.is_refused for one in found.proposals),
        refused=sum(one.is_refused for one in found.proposals),
        trained=is_new,
        seconds=round(time.perf_counter() - started, 1),
    )


def corrections_of(workspace: Workspace, store: Store, vault: Vault) -> Corrections[int]:
    """Return the decisions in force: of identity.yaml, and against links."""
    rules, pseudonyms = compile_rules(workspace.identity), vault.pseudonymiser
    stated: Corrections[int] = declared(workspace.identity.corrections, rules).translated(
        lambda identifier: pseudonyms.token(identifier.namespace, identifier.value)
    )
    return with_verdicts(store, stated)


def read_known(
    engine: DuckDBEngine, workspace: Workspace, vault: Vault, plan: LinkPlan, now: datetime
) -> Known:
    """Read all records to compare and resolve whose they are; `engine` shows history."""
    resolve_identities(engine, workspace, Clock(now=now.astimezone(UTC), zone=workspace.zone), "history")
    rows = engine.rows(
        "SELECT p.identity, p.namespace, p.profile, first FROM history.people AS p JOIN "
        '(SELECT one.token AS token, epoch_us(min("at")) AS first FROM '
        '(SELECT unnest(ids) AS one, "at" FROM history.observations) GROUP BY 1) AS f ON f.token = p.identity'
    )
    holders = tuple(holders_of(rows, compile_rules(workspace.identity)))
    people = {one.token for one in holders}
    told = {token: one for token, one in read_told(engine, workspace, vault).items() if token in people}
    return Known(
        records=comparable_records(told, plan),
        holders=holders,
        namespace={row[0]: row[1] for row in rows},
    )


def load_weights(store: Store) -> Weights | None:
    """Return the weights last trained, or None.

    Raises:
        DataError: P376 if the file is damaged.
    """
    path = folder(store) / "weights.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Weights)
    except msgspec.DecodeError as error:
        raise DataError.of(
            "P376",
            f"{path} cannot be read: {error}.",
            hint="Remove it; `tilltal link run` trains it anew.",
        ) from error


@contextmanager
def reading(workspace: Workspace, store: Store) -> Iterator[DuckDBEngine]:
    """Give an engine that shows history. Only for who holds the store's lock."""
    still = StillStore(store.root)
    hot = hot_of(workspace, still)
    with disk.explained(), store.scratch() as scratch, workspace_engine(workspace, scratch) as engine:
        open_history(engine, workspace, still, hot)
        yield engine


def _private_engine(workspace: Workspace) -> DuckDBEngine:
    """Return an engine that never spills to disk: what it compares are names in clear."""
    settings = workspace.settings.engine
    engine = DuckDBEngine(memory_limit=settings.memory_limit, threads=settings.threads)
    engine.run("SET temp_directory = ''")
    return engine


def _decided(store: Store) -> set[str]:
    """Return the pairs that were ever linked or decided against: what was found out about them is kept."""
    return {one.link for one in evidence(store)} | {one.link for one in verdicts(store)}


def _is_since(one: Proposal, began: datetime) -> bool:
    """True for a find of a server since a run began, which cannot know of it."""
    return datetime.fromisoformat(one.found) >= began


def _scored(
    engine: DuckDBEngine,
    store: Store,
    plan: LinkPlan,
    known: Known,
    now: datetime,
    progress: Progress,
    *,
    retrain: bool,
) -> tuple[Weights, bool, list[Scored]]:
    """Return the weights, whether they are new, and the pairs of different people from `review` on."""
    table = batch.record_table(known.records, plan)
    weights = load_weights(store)
    is_new = retrain or weights is None or weights.content != plan.content
    if weights is None or is_new:
        progress.start("training", None)
        weights = batch.train(engine, table, plan, now)
        content = msgspec.json.format(msgspec.json.encode(weights)) + b"\n"
        with disk.explained():
            disk.write(folder(store) / "weights.json", content)
    progress.start("comparing", None)
    least = weight_of(min(plan.review, plan.auto_link))
    found = batch.scored(engine, table, plan, fitting(weights, plan), least)
    columns = (found[name].to_pylist() for name in ("a", "b", "weight"))
    profile = known.profile
    pairs = [(a, b, weight) for a, b, weight in zip(*columns, strict=True) if profile[a] != profile[b]]
    return weights, is_new, pairs
