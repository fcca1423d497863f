"""Training in a refresh: profiles as of past days, labels from what followed, one model after the other.

Models that look at the same day share its profiles. At most a sample of the customers is looked at, chosen
by their pseudonyms, which are as good as random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from tilltal.core.errors import DataError, Fault
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.core.time import parse_window
from tilltal.models.card.text import write_card
from tilltal.models.dataset.labels import eligible_sql, outcome_sql, training_rows_sql
from tilltal.models.dataset.snapshots import Snapshot, plan_snapshots
from tilltal.models.fitting import Task
from tilltal.models.model import Scorer, from_bytes
from tilltal.models.training import base_rate_only, train
from tilltal.models.uplift.assigned import TREATED, Round, answered_sql, assigned_rows_sql, assigned_sql
from tilltal.models.uplift.train import no_effect, train_uplift
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type
from tilltal.runtime.progress import Progress, Silent
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder, event_reader, event_type_schemas
from tilltal.runtime.refresh.views import open_views
from tilltal.workspace.definitions.models import Model, Uplift
from tilltal.workspace.graph import dependencies, needed_by, node_of
from tilltal.workspace.names import matching, profile_schema
from tilltal.workspace.workspace import Workspace

PAST, PAST_IDENTITY = "past", "past_identity"
# labels are of today's profiles: who had another leading identifier then is looked up
_AS_KNOWN_TODAY = (
    f"(SELECT COALESCE(m.profile, p.profile) AS profile, p.* EXCLUDE (profile) FROM {PAST}.profiles AS p "
    "LEFT JOIN history.identity_map AS m ON m.identity = p.profile AND m.valid_to IS NULL)"
)
_SPARE = 4  # customers looked at per row wanted, for not everybody is eligible


def definition_hash(workspace: Workspace, model: Model) -> str:
    """Return a hash of all that a model is made from; the same hash needs no new training."""
    parts = (
        model,
        workspace.traits,
        workspace.profile,
        workspace.lifecycle,
        workspace.value,
        workspace.personas,
        workspace.audiences,
        {name: source.fields for name, source in workspace.sources.items()},
    )
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]


def earlier_models(workspace: Workspace, snapshot: Path | None) -> dict[str, Scorer]:
    """Return the models of a snapshot whose definitions are still the same; damaged ones are left out."""
    found: dict[str, Scorer] = {}
    for name, model in workspace.models.items():
        path = snapshot / "models" / name / "model" if snapshot else None
        if path is None or not path.exists():
            continue
        try:
            scorer = from_bytes(path.read_bytes())
        except DataError:  # trained anew, which is what its message would ask for
            continue
        if scorer.content.definition_hash == definition_hash(workspace, model):
            found[name] = scorer
    return found


_NO_ROWS = pa.schema(
    {"profile": pa.int64(), "snapshot": pa.date32(), "label": pa.bool_(), TREATED: pa.bool_()}
).empty_table()


class Trainer:
    """Trains the models of a workspace; leaves the engine's current schema as it was."""

    def __init__(
        self,
        engine: BatchEngine,
        workspace: Workspace,
        clock: Clock,
        memory: PersonaMemory,
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._clock = clock
        self._memory = memory
        self._progress = progress
        self._schema = profile_schema(workspace)
        self._schemas = event_type_schemas(workspace)
        self.faults: tuple[Fault, ...] = ()

    def train(self, names: tuple[str, ...], earliest: datetime | None, present: str) -> dict[str, Scorer]:
        """Train models.

        Args:
            names: which.
            earliest: first event of all; there is nothing to know before it.
            present: the schema of the refresh, where `transitions` is.

        A model that cannot be trained answers with the base rate; `faults` then says why.
        """
        rows = self._rows(names, earliest, present)
        trained: dict[str, Scorer] = {}
        self._progress.start("training", len(names))
        for name in names:
            model = self._workspace.models[name]
            task = Task(
                name=name,
                definition=model,
                hash=definition_hash(self._workspace, model),
                threads=self._workspace.settings.engine.threads or 0,
            )
            try:
                trained[name] = self._trained(rows[name], task)
            except DataError as error:  # one model's leak must not keep the others from being used
                self.faults += error.faults
                fallback = base_rate_only if model.uplift is None else no_effect
                trained[name] = fallback(rows[name], task, error.faults[0].message.rstrip("."))
            self._progress.advance()
        return trained

    def _trained(self, rows: pa.Table, task: Task) -> Scorer:
        design = task.definition.uplift
        if design is None:
            return train(rows, task, undated=self._undated())
        return train_uplift(rows, task, design, undated=self._undated())

    def _undated(self) -> frozenset[str]:
        """Return the attributes of records without a time of their own: they may be of later."""
        sources = self._workspace.sources.values()
        undated = [s for s in sources if s.kind == "record" and s.at is None and s.received is None]
        return frozenset(name for source in undated for name in source.fields)

    def _rows(
        self, names: tuple[str, ...], earliest: datetime | None, present: str
    ) -> Mapping[str, pa.Table]:
        plans = {name: self._plan(name, earliest) for name in names}
        days = sorted({snapshot.at for plan in plans.values() for snapshot in plan})
        self._progress.start("training snapshots", len(days))
        parts: dict[str, list[pa.Table]] = {name: [] for name in names}
        for at in days:
            users = {name: snapshot for name, plan in plans.items() for snapshot in plan if snapshot.at == at}
            self._profiles_at(at, tuple(users))
            self._engine.run(f"SET search_path = '{present}'")
            for name, snapshot in users.items():
                later = [other.at for other in plans[name] if other.at > snapshot.at]
                until = min(later, default=self._clock.now)
                parts[name].append(self._engine.arrow(self._rows_sql(name, snapshot, until)))
            self._engine.run(f"DROP SCHEMA {PAST} CASCADE")
            self._progress.advance()
        return {name: pa.concat_tables(tables) if tables else _NO_ROWS for name, tables in parts.items()}

    def _plan(self, name: str, earliest: datetime | None) -> tuple[Snapshot, ...]:
        model = self._workspace.models[name]
        return plan_snapshots(
            self._clock.now,
            model.horizon,
            model.snapshots.every,
            model.snapshots.count,
            self._clock.zone,
            earliest=earliest,
        )

    def _profiles_at(self, at: datetime, names: tuple[str, ...]) -> None:
        """Make `past.profiles` as of an instant, with what the models read and nothing more."""
        graph = dependencies(self._workspace, self._schema)
        wanted = needed_by(graph, (f"score.{name}" for name in names))
        wanted |= {node_of(name) for name in ("lifecycle.stage",) if "lifecycle" in graph}
        clock = Clock(at, self._clock.zone)
        resolve_identities(self._engine, self._workspace, clock, PAST_IDENTITY)
        open_views(self._engine, self._workspace, clock, PAST, self._sample(names), identity=PAST_IDENTITY)
        builder = ProfileBuilder(self._engine, self._workspace, clock, self._memory.frozen(), Silent())
        builder.build("profiles", frozenset(wanted))

    def _sample(self, names: tuple[str, ...]) -> str:
        if any(self._workspace.models[name].uplift for name in names):
            return "TRUE"  # an experiment is a small part of all: a sample would miss most of it
        wanted = _SPARE * max(self._workspace.models[name].snapshots.sample for name in names)
        everybody = int(self._engine.rows("SELECT count(*) FROM history.people_spine")[0][0])
        if everybody <= wanted:
            return "TRUE"
        return f"profile % 10000 < {max(1, wanted * 10000 // everybody)}"

    def _rows_sql(self, name: str, snapshot: Snapshot, until: datetime) -> str:
        model = self._workspace.models[name]
        leaving = self._workspace.lifecycle.names.regain if self._workspace.lifecycle else ""
        outcome = model.outcome
        where = {event: self._where(event, outcome.where) for event in outcome.events if outcome.where}
        clock = Clock(snapshot.at, self._clock.zone)
        eligible = None
        if model.eligible:
            eligible = to_sql(parse(model.eligible, self._schema, want=Type.BOOLEAN), quote, clock=clock)
        present = [row[0] for row in self._engine.rows(f"DESCRIBE {PAST}.profiles")]
        excluded = matching(model.exclude, present)
        columns = [column for column in matching(model.features, present) if column not in excluded]
        if model.uplift is not None:
            span = Round(
                snapshot=snapshot, until=until, horizon=parse_window(model.horizon), clock=self._clock
            )
            return assigned_rows_sql(
                _AS_KNOWN_TODAY,
                columns,
                self._assigned(model.uplift, span),
                answered_sql(outcome, span, where=where, leaving_stage=leaving),
                span,
                eligible=eligible_sql(outcome, eligible, leaving_stage=leaving),
                sample=model.snapshots.sample,
                seed=model.seed,
            )
        return training_rows_sql(
            _AS_KNOWN_TODAY,
            columns,
            outcome_sql(outcome, snapshot, where=where, leaving_stage=leaving),
            snapshot,
            eligible=eligible_sql(outcome, eligible, leaving_stage=leaving),
            sample=model.snapshots.sample,
            seed=model.seed,
        )

    def _assigned(self, design: Uplift, span: Round) -> str:
        treated, control = (
            {event: self._where(event, group.where) for event in group.events if group.where}
            for group in (design.treated, design.control)
        )
        return assigned_sql(design.treated, design.control, span, (treated, control))

    def _where(self, event: str, condition: str | None) -> str:
        kind = self._schemas[event]
        expression = parse(condition or "TRUE", kind.fields, want=Type.BOOLEAN)
        return to_sql(expression, event_reader(kind), clock=self._clock)


def write_models(trained: Mapping[str, Scorer], folder: Path) -> None:
    """Write each model with its card and pictures to `<folder>/<name>/`."""
    for name, scorer in trained.items():
        place = folder / name
        place.mkdir(parents=True)
        (place / "model").write_bytes(scorer.to_bytes())
        card = write_card(scorer.content)
        (place / "card.md").write_text(card.text, encoding="utf-8")
        for picture in card.pictures:
            (place / picture.name).write_bytes(picture.png)
