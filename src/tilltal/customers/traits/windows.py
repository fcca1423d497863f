"""Rings put together: the values of all traits that read the same event types."""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.names import literal, quote
from tilltal.core.time import Unit, sql_timestamp
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.rings import Part, Rings, parts_of
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type

_MERGE = {"min": "MIN", "first": "MIN", "max": "MAX", "last": "MAX", "latest": "MAX"}


def windows_sql(traits: Sequence[CompiledTrait], sources: Sequence[str], rings: Rings, clock: Clock) -> str:
    """Return the `SELECT` of `profile` and one column per trait.

    `sources` are relations of partial aggregates, one per event type, that hold the parts of all these
    traits.
    """
    parts = ", ".join(dict.fromkeys(rings.name(part) for trait in traits for part in parts_of(trait)))
    union = " UNION ALL ".join(f"SELECT profile, ring, {parts} FROM {source}" for source in sources)
    columns = ", ".join(f"{_value(trait, rings, clock)} AS {quote(trait.name)}" for trait in traits)
    return f"SELECT profile, {columns} FROM ({union}) AS rings GROUP BY profile"


def _value(trait: CompiledTrait, rings: Rings, clock: Clock) -> str:
    merged = [_merged(part, rings, rings.ring(trait)) for part in parts_of(trait)]
    match trait.measure:
        case "count":
            return f"CAST({merged[0]} AS BIGINT)"
        case "exists":
            return f"{merged[0]} > 0"
        case "recency":
            return _recency(merged[0], trait.unit, clock)
        case "avg":
            return _major(f"CAST({merged[0]} AS DOUBLE) / NULLIF({merged[1]}, 0)", trait)
        case "first" | "last":
            return _major(f"STRUCT_EXTRACT({merged[0]}, 'value')", trait)
        case _:
            return _major(
                f"CAST({merged[0]} AS {'BIGINT' if trait.type is Type.INTEGER else 'DOUBLE'})", trait
            )


def _merged(part: Part, rings: Rings, ring: int) -> str:
    return f"{_MERGE.get(part.kind, 'SUM')}({rings.name(part)}) FILTER (WHERE ring <= {ring})"


def _major(value: str, trait: CompiledTrait) -> str:
    return value if trait.divisor is None else f"CAST({value} AS DOUBLE) / {float(trait.divisor)!r}"


def _recency(latest: str, unit: Unit, clock: Clock) -> str:
    if unit is Unit.DAYS:
        local = f"TIMEZONE({literal(clock.zone.key)}, TIMEZONE('UTC', {latest}))"
        return f"DATE_DIFF('day', CAST({local} AS DATE), DATE '{clock.today.isoformat()}')"
    elapsed = f"(EPOCH_US({sql_timestamp(clock.now)}) - EPOCH_US({latest}))"
    return f"({elapsed} // {unit.seconds * 1_000_000})"
