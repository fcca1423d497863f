"""Refresh: from history to a snapshot of every customer, swapped in whole.

identities → profiles → models → scores → decisions → micro-segments and key figures
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.core.errors import DataError, Fault
from tilltal.core.names import literal, quote
from tilltal.core.time import parse_instant
from tilltal.customers.micro_segments import MicroSegment, describe, describing, micro_segments_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.insight.kpi_tables import kpi_steps
from tilltal.insight.penetration import penetration_steps
from tilltal.models.model import Scorer
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.live.history.compaction import hot_of
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import Decided, decide_all, decision_plan, open_input
from tilltal.runtime.refresh.exploring import known_so_far, write_known
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.manifest import Manifest, Step
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder, event_type_schemas, profile_hash
from tilltal.runtime.refresh.scoring import score_table
from tilltal.runtime.refresh.sending import open_pace, write_rhythm
from tilltal.runtime.refresh.training import Trainer, earlier_models, write_models
from tilltal.runtime.refresh.views import event_span, open_history, open_views
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.graph import dependencies, uses_scores
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

PRESENT = "present"
HISTORY_TABLES = ("identity_map", "people", "dropped_links", "shared_values")
KEPT_TABLES = (
    "profiles",
    "transitions",
    "relations",
    "persona_map",
    "kpis",
    "penetration",
    "micro_segments",
)
MICRO_SEGMENTS = pa.schema(
    [
        ("name", pa.string()),
        ("customers", pa.int64()),
        ("share", pa.float64()),
        (
            "differences",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("here", pa.float64()),
                        ("everywhere", pa.float64()),
                        ("deviations", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)


class Refresh:
    """One refresh: an engine, a clock, and the steps in order."""

    def __init__(
        self,
        engine: DuckDBEngine,
        workspace: Workspace,
        store: Store,
        progress: Progress,
        created: datetime,
        hot: Mapping[str, pa.Table],
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._store = store
        self._progress = progress
        self._created = created
        self._hot = hot
        self._steps: list[Step] = []
        self._warnings: tuple[Fault, ...] = ()

    def run(self, folder: Path, as_of: datetime | None, *, retrain: bool, previous: Path | None) -> Manifest:
        """Fill a snapshot's folder; return its manifest."""
        engine, workspace = self._engine, self._workspace
        with self._step("history"):
            open_history(engine, workspace, self._store, self._hot)
            clock = self._clock(as_of)
        with self._step("identity"):
            self._progress.start("identity", None)
            dropped = resolve_identities(engine, workspace, clock, "history")
            open_views(engine, workspace, clock, PRESENT)
        memory = PersonaMemory(previous, relearn=retrain)
        known = {} if retrain else earlier_models(workspace, previous)
        models, trained = self._profiles_and_models(clock, memory, known)
        with self._step("decisions"):
            plan = decision_plan(workspace, clock)
            exploration = known_so_far(workspace, plan, clock)
            open_input(engine, workspace, plan, clock, "profiles", exploration=exploration)
            pace = open_pace(engine, workspace, clock, "profiles")
            decided = decide_all(engine, plan, clock, models, {}, self._progress, pace, exploration)
        with self._step("insight"):
            self._insight(clock)
        with self._step("writing"):
            self._write(folder, decided)
            memory.write(folder)
            write_models(models, folder / "models")
            write_rhythm(pace, folder)
            write_known(exploration, folder)
        manifest = Manifest(
            name=workspace.settings.name,
            currency=workspace.currency,
            as_of=clock.now.isoformat(),
            created=self._created.isoformat(),
            definitions=workspace.content_hash,
            profiled=profile_hash(workspace),
            profiles=self._count("profiles"),
            customers=decided.customers,
            dropped_links=dropped,
            trained=trained,
            base_rates=tuple(name for name, model in sorted(models.items()) if not model.report.is_accepted),
            warnings=(*memory.faults, *self._warnings),
            steps=tuple(self._steps),
        )
        (folder / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        return manifest

    def _profiles_and_models(
        self, clock: Clock, memory: PersonaMemory, known: dict[str, Scorer]
    ) -> tuple[dict[str, Scorer], tuple[str, ...]]:
        """Make profiles without scores, train what is missing, then add scores and what names them."""
        workspace, engine = self._workspace, self._engine
        nodes = frozenset(
            node
            for node in dependencies(workspace)
            if not node.startswith("action.") and node != "micro_segments"
        )
        later = (
            frozenset(node for node in nodes if node.startswith("score.")) | uses_scores(workspace) & nodes
        )
        models = dict(known)

        def score(name: str, relation: str) -> str:
            return score_table(engine, models[name], name, relation, clock)

        builder = ProfileBuilder(engine, workspace, clock, memory, self._progress, score)
        with self._step("profiles"):
            builder.build("profiles_before_scores", nodes - later)
        missing = tuple(name for name in sorted(workspace.models) if name not in known)
        with self._step("training"):
            if missing:
                trainer = Trainer(engine, workspace, clock, memory, self._progress)
                models |= trainer.train(missing, event_span(engine, workspace)[0], PRESENT)
                self._warnings = trainer.faults
        with self._step("scores"):
            builder.extend("profiles_before_scores", "profiles", later)
        return models, missing

    def _insight(self, clock: Clock) -> None:
        """Make key figures, penetration and micro-segments, as far as the definitions allow."""
        engine, workspace = self._engine, self._workspace
        columns = frozenset(row[0] for row in engine.rows("DESCRIBE profiles"))
        self._progress.start("key figures", None)
        if workspace.lifecycle:
            steps = kpi_steps(workspace.kpis, event_type_schemas(workspace), clock, columns)
            for step in (*steps, *penetration_steps(workspace.kpis, clock, columns)):
                engine.run(f"CREATE OR REPLACE TABLE {quote(step.name)} AS {step.sql}")
        definition = workspace.micro_segments
        dimensions = tuple(name for name in definition.dimensions if name in columns)
        if dimensions:
            definition = msgspec.structs.replace(definition, dimensions=dimensions)
            schema = {name: kind for name, kind in profile_schema(workspace).items() if name in columns}
            names = describing(definition, schema)
            known = "(SELECT * FROM profiles WHERE is_known)"
            found = describe(definition, names, engine.arrow(micro_segments_sql(definition, names, known)))
            engine.register("micro_segments", _as_table(found))

    def _write(self, folder: Path, decided: Decided) -> None:
        self._progress.start("writing", None)
        made = {row[0] for row in self._engine.rows("SHOW TABLES")}
        for name in KEPT_TABLES:
            if name in made:
                # in order of profiles: the same refresh writes the same bytes, and one customer is found fast
                order = " ORDER BY profile" if name in ("profiles", "persona_map") else ""
                target = literal(str(folder / f"{name}.parquet"))
                self._engine.run(
                    f"COPY (SELECT * FROM {name}{order}) TO {target} (FORMAT parquet, COMPRESSION zstd)"
                )
        for name in HISTORY_TABLES:
            target = literal(str(folder / f"{name}.parquet"))
            self._engine.run(f"COPY history.{name} TO {target} (FORMAT parquet, COMPRESSION zstd)")
        pq.write_table(decided.table, folder / "decisions.parquet", compression="zstd")
        pq.write_table(decided.funnel_table, folder / "funnel.parquet", compression="zstd")

    def _clock(self, as_of: datetime | None) -> Clock:
        return Clock(
            as_of or as_of_setting(self._engine, self._workspace, self._created), self._workspace.zone
        )

    def _count(self, table: str) -> int:
        return int(self._engine.rows(f"SELECT count(*) FROM {table}")[0][0])

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started, used = time.perf_counter(), time.process_time()
        yield
        self._steps.append(
            Step(
                name=name,
                seconds=round(time.perf_counter() - started, 3),
                cpu_seconds=round(time.process_time() - used, 3),
            )
        )


def refresh(
    workspace: Workspace,
    *,
    now: datetime,
    progress: Progress,
    as_of: datetime | None = None,
    retrain: bool = False,
) -> Manifest:
    """Compute everything again and swap it in.

    Args:
        workspace: definitions that passed their check.
        now: the wall clock.
        progress: told of the steps.
        as_of: the instant to compute for; what the settings say if None.
        retrain: learn models and personas anew even if their definitions are the same.

    Raises:
        DataError: E508 if nothing was ingested yet; M403 if a model's feature knows the future.
        EngineError: if the disk or the engine gives up; the snapshot in force stays.
    """
    store = store_of(workspace)
    with store.lock():
        still = StillStore(store.root)
        hot = hot_of(workspace, still)
        if not hot and not still.manifests():
            raise DataError.of("E508", "There is no data yet.", hint="Run `tilltal ingest` first.")
        previous = current_or_none(store)
        with (
            disk.explained(),
            store.scratch() as scratch,
            workspace_engine(workspace, scratch) as engine,
            store.begin_snapshot(now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")) as folder,
        ):
            run = Refresh(engine, workspace, still, progress, now, hot)
            return run.run(folder, as_of, retrain=retrain, previous=previous)


def workspace_engine(workspace: Workspace, spill: Path) -> DuckDBEngine:
    """Return the engine that the workspace's settings ask for."""
    engine = workspace.settings.engine
    return DuckDBEngine(memory_limit=engine.memory_limit, threads=engine.threads, spill=spill)


def current_or_none(store: Store) -> Path | None:
    """Return the snapshot in force, or None before the first."""
    try:
        return store.current_snapshot()
    except DataError:
        return None


def as_of_setting(engine: DuckDBEngine, workspace: Workspace, now: datetime) -> datetime:
    """Return the instant that `as_of` of the settings means.

    Raises:
        DataError: E509 for `last_event` where no event came in.
    """
    setting = workspace.settings.as_of
    if setting == "now":
        return now.astimezone(UTC)
    if setting != "last_event":
        return parse_instant(setting, workspace.zone)
    latest = event_span(engine, workspace)[1]
    if latest is None:
        raise DataError.of(
            "E509",
            "`as_of: last_event` needs events, and none came in.",
            hint="Ingest events, or set as_of to an instant.",
        )
    return latest


def _as_table(segments: tuple[MicroSegment, ...]) -> pa.Table:
    rows = [
        {
            "name": each.name,
            "customers": each.customers,
            "share": each.share,
            "differences": [msgspec.structs.asdict(difference) for difference in each.differences],
        }
        for each in segments
    ]
    return pa.Table.from_pylist(rows, schema=MICRO_SEGMENTS)
