"""The number of different values in nested windows: the latest time of each value says which windows hold it.

It is not additive over rings: a value may lie in several.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.names import quote
from tilltal.customers.traits.columns import FieldReader
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.rings import bounds_of, lower_bound, since
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock

Family = tuple[tuple[str, ...], str | None, str]


def family_of(trait: CompiledTrait) -> Family:
    """Return what `distinct` traits that differ in their windows only have in common."""
    return trait.types, trait.of, trait.where_text


def distinct_sql(traits: Sequence[CompiledTrait], schemas: Schemas, clock: Clock) -> str:
    """Return the `SELECT` of `profile` and one column per trait, for traits of one family."""
    events = " UNION ALL ".join(_events(traits, name, schemas, clock) for name in traits[0].types)
    latest = f'SELECT profile, value, MAX("at") AS "at" FROM ({events}) AS events GROUP BY profile, value'
    counts = ", ".join(
        f"COUNT(*) FILTER (WHERE {since(lower_bound(trait.window, clock))}) AS {quote(trait.name)}"
        for trait in traits
    )
    return f"SELECT profile, {counts} FROM ({latest}) AS latest GROUP BY profile"


def _events(traits: Sequence[CompiledTrait], event_type: str, schemas: Schemas, clock: Clock) -> str:
    reader = FieldReader(traits[0], event_type, schemas)
    oldest = bounds_of(traits, clock)[-1]
    conditions = (since(oldest), f"{reader.value()} IS NOT NULL", reader.condition(clock))
    stated = " AND ".join(f"({condition})" for condition in conditions if condition)
    return f'SELECT profile, "at", {reader.key()} AS value FROM {quote("event." + event_type)} WHERE {stated}'
