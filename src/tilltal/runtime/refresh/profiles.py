"""One profile per person, as of an instant: the order in which a refresh makes what expressions name.

First what needs events only (attributes, measured traits, holdings, consents, lifecycle), then everything
that names something else, in the order of the workspace's dependency graph. The result is a table of the
current schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter

import msgspec

from tilltal.core.money import minor_per_major
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.customers.audiences import PREFIX
from tilltal.customers.consents import consents_sql
from tilltal.customers.derived import Derived, derived_sql
from tilltal.customers.holdings import holdings_sql
from tilltal.customers.lifecycle.plan import KEPT, lifecycle_steps
from tilltal.customers.profiles import attributes_sql, record_sources
from tilltal.customers.step import Step
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.schema import EventType, Schemas
from tilltal.customers.value import value_steps
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.types import Type
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.lookalikes import lookalike_table
from tilltal.runtime.refresh.personas import PersonaMemory, persona_table
from tilltal.workspace.graph import dependencies
from tilltal.workspace.names import (
    event_fields,
    event_schemas,
    expanded_traits,
    products,
    profile_schema,
)
from tilltal.workspace.workspace import Workspace

Scorer = Callable[[str, str], str]
"""Given a model's name and a relation of profiles, makes a table of profile and score; returns its name."""


def event_type_schemas(workspace: Workspace) -> Schemas:
    """Return each event type's fields and which of them are money, for traits and lifecycle."""
    divisor = minor_per_major(workspace.currency)
    declared = event_fields(workspace)
    return {
        name: EventType(
            fields=fields,
            money={field: divisor for field, kind in declared[name].items() if kind == "money"},
        )
        for name, fields in event_schemas(workspace).items()
    }


def event_reader(kind: EventType) -> Callable[[str], str]:
    """Return how an expression reads a field of an event's view: money in major units."""

    def read(name: str) -> str:
        divisor = kind.money.get(name)
        return quote(name) if divisor is None else f"(CAST({quote(name)} AS DOUBLE) / {float(divisor)!r})"

    return read


def profile_hash(workspace: Workspace) -> str:
    """Return a hash of all that profiles are made from; actions and most policies are not among it."""
    parts = (
        workspace.settings.time_zone,
        workspace.currency,
        workspace.settings.channels,
        workspace.identity,
        workspace.profile,
        workspace.sources,
        workspace.traits,
        workspace.audiences,
        workspace.lifecycle,
        workspace.value,
        workspace.personas,
        workspace.models,
        workspace.micro_segments.products,
        sorted(workspace.consent.purposes),
    )
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


class ProfileBuilder:
    """Makes tables of profiles in the current schema of an engine, from the views that `views` opened."""

    def __init__(
        self,
        engine: BatchEngine,
        workspace: Workspace,
        clock: Clock,
        memory: PersonaMemory,
        progress: Progress,
        score: Scorer | None = None,
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._clock = clock
        self._memory = memory
        self._progress = progress
        self._score = score
        self._schema = profile_schema(workspace)
        self._graph = dependencies(workspace, self._schema)
        self._layer = 0

    def build(self, target: str, wanted: frozenset[str]) -> None:
        """Make profiles from events and records.

        Args:
            target: name of the table to make.
            wanted: nodes of the dependency graph to make; what they need must be among them.
        """
        self._finish(target, self._stack(self._base(wanted), wanted))

    def extend(self, relation: str, target: str, wanted: frozenset[str]) -> None:
        """Put more nodes on profiles made before: scores, and what names them."""
        self._finish(target, self._stack(relation, wanted))

    def _stack(self, relation: str, wanted: frozenset[str]) -> str:
        order = TopologicalSorter(
            {node: [need for need in self._graph[node] if need in wanted] for node in wanted}
        )
        order.prepare()
        while order.is_active():
            ready = order.get_ready()
            relation = self._add(relation, sorted(ready))
            order.done(*ready)
        return relation

    def _finish(self, target: str, relation: str) -> None:
        self._progress.start(target, None)
        self._table(target, f"SELECT * FROM {relation}")

    def _base(self, nodes: frozenset[str]) -> str:
        """Make what needs events and records only; return its relation."""
        parts = ["attributes", "traits"]
        workspace, clock = self._workspace, self._clock
        self._progress.start("attributes", None)
        self._table("attributes", self._attributes())
        self._traits(nodes)
        if any(source.kind == "holding" for source in workspace.sources.values()):
            order = workspace.micro_segments.products
            self._table("held", holdings_sql(products(workspace), clock, order=order))
            parts.append("held")
        if workspace.consent.purposes:
            channels = workspace.settings.channels
            self._table("consented", consents_sql(workspace.consent.purposes, channels))
            parts.append("consented")
        joins = "".join(f" LEFT JOIN {part} USING (profile)" for part in parts)
        self._table("base", f"SELECT * FROM spine{joins}")
        for part in parts:
            self._engine.run(f"DROP TABLE {part}")
        return "base"

    def _attributes(self) -> str:
        workspace = self._workspace
        return attributes_sql(record_sources(workspace), workspace.profile, workspace.currency)

    def _traits(self, nodes: frozenset[str]) -> None:
        traits = {name: trait for name, trait in expanded_traits(self._workspace).items() if name in nodes}
        schemas = event_type_schemas(self._workspace)
        plan = trait_plan(compile_traits(traits, schemas), schemas, self._clock)
        self._progress.start("traits", len(plan.steps) + 1)
        for step in plan.steps:
            self._table(step.name, step.sql)
            self._progress.advance()
        self._table("traits", plan.select)
        self._progress.advance()
        for step in plan.steps:
            self._engine.run(f"DROP TABLE {quote(step.name)}")

    def _add(self, relation: str, nodes: list[str]) -> str:
        """Put a layer of nodes, which do not name each other, on top of a relation; return the new one."""
        derived: list[Derived] = []
        tables: list[str] = []
        for node in nodes:
            table = self._side_table(node, relation)
            if table:
                tables.append(table)
            else:
                derived += self._derived(node)
        if not derived and not tables:
            return relation
        self._layer += 1
        name = f"layer_{self._layer}"
        select = derived_sql(derived, relation, self._clock) if derived else f"SELECT * FROM {relation}"
        joins = "".join(f" LEFT JOIN {table} USING (profile)" for table in tables)
        self._engine.run(f"CREATE VIEW {name} AS SELECT * FROM ({select}) AS made{joins}")
        return name

    def _side_table(self, node: str, relation: str) -> str | None:
        """Make the table of a node that is no expression; return its name, or None for expressions."""
        workspace = self._workspace
        if node == "lifecycle" and workspace.lifecycle:
            schemas = event_type_schemas(workspace)
            self._steps("lifecycle", lifecycle_steps(workspace.lifecycle, schemas, self._clock), KEPT)
            return "lifecycle"
        if node == "value" and workspace.value:
            steps = value_steps(
                workspace.value, self._schema, self._clock, relation=relation, customers="is_known"
            )
            self._steps("value", steps)
            return "value"
        if node == "persona" and workspace.personas:
            self._progress.start("personas", None)
            table = persona_table(self._engine, workspace, self._schema, relation, self._clock, self._memory)
            self._engine.register("persona_table", table)
            self._table("persona_map", "SELECT profile, x, y FROM persona_table")
            self._table("persona", "SELECT * EXCLUDE (x, y) FROM persona_table")
            return "persona"
        if node.startswith(PREFIX) and workspace.audiences[node.removeprefix(PREFIX)].lookalike:
            return self._lookalike(node, relation)
        if node.startswith("score.") and self._score:
            return self._score(node.removeprefix("score."), relation)
        return None

    def _lookalike(self, node: str, relation: str) -> str:
        self._progress.start(f"lookalikes {node.removeprefix(PREFIX)}", None)
        found = lookalike_table(
            self._engine, self._workspace, self._schema, node.removeprefix(PREFIX), relation
        )
        self._engine.register("lookalike_table", found)
        name = quote(f"made {node}")
        self._table(f"made {node}", "SELECT * FROM lookalike_table")
        return name

    def _derived(self, node: str) -> list[Derived]:
        """Return the column of an expression trait or of an audience with a condition."""
        if node.startswith(PREFIX):
            condition = self._workspace.audiences[node.removeprefix(PREFIX)].condition
            if condition is None:
                return []
            expression = parse(condition, self._schema, want=Type.BOOLEAN)
            return [Derived(name=node, expression=expression, is_condition=True)]
        trait = self._workspace.traits.get(node)
        if trait is None or trait.expression is None:
            return []
        return [Derived(name=node, expression=parse(trait.expression, self._schema), is_condition=False)]

    def _steps(self, task: str, steps: Iterable[Step], kept: Iterable[str] = ()) -> None:
        made = list(steps)
        self._progress.start(task, len(made))
        for step in made:
            self._table(step.name, step.sql)
            self._progress.advance()
        for step in made[:-1]:
            if step.name not in kept:
                self._engine.run(f"DROP TABLE {quote(step.name)}")

    def _table(self, name: str, sql: str) -> None:
        self._engine.run(f"CREATE OR REPLACE TABLE {quote(name)} AS {sql}")
