"""Traits as SQL: nested windows ring by ring, each event type read once.

Steps: an event type is grouped by (profile, ring) into mergeable partial aggregates (`rings`); the partial
aggregates of the event types of a trait are put together window by window (`windows`); different values
take a pass of their own (`distinct`); the results join the spine. An event is added once, however many
windows hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from tilltal.core.names import quote
from tilltal.customers.step import Step
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.distinct import Family, distinct_sql, family_of
from tilltal.customers.traits.rings import Rings
from tilltal.customers.traits.schema import Schemas
from tilltal.customers.traits.windows import windows_sql
from tilltal.rules.clock import Clock


class TraitPlan(msgspec.Struct, frozen=True):
    """Traits of all profiles: make a (temporary) table of each step, then `select` the profiles.

    A table per step keeps the peak of memory at one aggregation, and a progress bar can move.
    """

    steps: tuple[Step, ...]
    select: str


def trait_plan(traits: Sequence[CompiledTrait], schemas: Schemas, clock: Clock) -> TraitPlan:
    """Return the SQL of all traits as of `clock`, over the views `"event.<type>"` and `spine`.

    The views hold what is known as of the clock (`received <= now`, `at <= now`).
    """
    groups: dict[tuple[str, ...], list[CompiledTrait]] = {}
    families: dict[Family, list[CompiledTrait]] = {}
    for trait in traits:
        if trait.measure == "distinct":
            families.setdefault(family_of(trait), []).append(trait)
        else:
            groups.setdefault(trait.types, []).append(trait)
    shared, steps = _window_steps(groups, schemas, clock)
    for family in families.values():
        name = f"traits.{len(steps) + 1}: {family[0].of} of {' + '.join(family[0].types)}"
        steps[name] = (distinct_sql(family, schemas, clock), family)
    made = (Step(name, sql) for name, (sql, _) in steps.items())
    return TraitPlan(
        (*shared, *made), _select(traits, {name: members for name, (_, members) in steps.items()})
    )


_Steps = dict[str, tuple[str, list[CompiledTrait]]]  # table → its SQL and the traits it holds


def _window_steps(
    groups: dict[tuple[str, ...], list[CompiledTrait]], schemas: Schemas, clock: Clock
) -> tuple[list[Step], _Steps]:
    """Return the partial aggregates that several groups need, as tables, and each group's table."""
    rings = Rings([trait for group in groups.values() for trait in group], schemas, clock)
    uses = Counter(event_type for types in groups for event_type in types)
    shared = [Step(f"rings.{name}", rings.sql(name)) for name, count in uses.items() if count > 1]
    steps: _Steps = {}
    for types, group in groups.items():
        sources = [quote(f"rings.{name}") if uses[name] > 1 else f"({rings.sql(name)})" for name in types]
        name = f"traits.{len(steps) + 1}: {' + '.join(types)}"
        steps[name] = (windows_sql(group, sources, rings, clock), group)
    return shared, steps


def _select(traits: Iterable[CompiledTrait], tables: dict[str, list[CompiledTrait]]) -> str:
    held = {trait.name: name for name, members in tables.items() for trait in members}
    columns = ["spine.profile"]
    for trait in traits:
        column = f"{quote(held[trait.name])}.{quote(trait.name)}"
        empty = {"count": "0", "distinct": "0", "exists": "FALSE"}.get(trait.measure)
        value = column if empty is None else f"COALESCE({column}, {empty})"
        columns.append(f"{value} AS {quote(trait.name)}")
    joins = "".join(f" LEFT JOIN {quote(name)} ON {quote(name)}.profile = spine.profile" for name in tables)
    return f"SELECT {', '.join(columns)} FROM spine{joins}"
