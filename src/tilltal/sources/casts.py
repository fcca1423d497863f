"""From a cell to a typed value, and what can be wrong with it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.money import minor_per_major
from tilltal.core.names import literal
from tilltal.core.time import zone_of
from tilltal.sources import clock, numbers
from tilltal.sources.inputs import Input
from tilltal.sources.reasons import written
from tilltal.workspace.names import IDENTITY_LABEL


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """How one input becomes a value.

    `value` is SQL over the cell, `final` SQL over that value as history keeps it, and each of `faults` a
    condition under which the row is turned away, with SQL of the reason.
    """

    value: str
    final: str
    faults: tuple[tuple[str, str], ...]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a bank's settings say about reading: its currency and the zone of its clocks."""

    currency: str
    zone: ZoneInfo


def cast(one: Input, kind: str, cell: str, value: str, context: Context, says_text: str = "FALSE") -> Cast:
    """Return how to read an input whose cell is of the DuckDB type `kind`.

    `cell` and `value` are the names under which the query knows the two; `says_text` is SQL that is true
    where the source says that an untyped value is a text.
    """
    final = value
    if one.type == "money":
        final = f"TRY_CAST({value} AS BIGINT)"
    faults = [*_presence(one, cell), *_type_faults(one, cell, value), *_limits(one, cell, value, context)]
    if is_untyped(one):
        final = numbers.scalar(value, says_text)
    return Cast(value=_value(one, kind, cell, context), final=final, faults=tuple(faults))


def is_untyped(one: Input) -> bool:
    """True for what history keeps as JSON; the vault keeps texts only."""
    return one.type == "any" and IDENTITY_LABEL not in one.labels


def _value(one: Input, kind: str, cell: str, context: Context) -> str:
    zone = zone_of(one.time_zone) if one.time_zone else context.zone
    if one.type == "integer":
        return numbers.integer(cell, kind, one.decimal)
    if one.type == "number":
        return numbers.number(cell, kind, one.decimal)
    if one.type == "money" and one.unit == "minor":
        return numbers.integer(cell, kind, one.decimal)
    if one.type == "money":
        return numbers.money(cell, kind, one.decimal, context.currency)
    if one.type == "boolean":
        return numbers.boolean(cell, kind)
    if one.type == "date":
        return _date(cell, kind, one.format, zone)
    if one.type == "timestamp":
        return _timestamp(cell, kind, one.format, zone)
    return f"CAST({cell} AS VARCHAR)"


def _timestamp(cell: str, kind: str, form: str | None, zone: ZoneInfo) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {cell})"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return clock.to_utc(f"CAST({cell} AS TIMESTAMP)", zone)
    return clock.timestamp(f"CAST({cell} AS VARCHAR)", form, zone)


def _date(cell: str, kind: str, form: str | None, zone: ZoneInfo) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return clock.to_local_date(cell, zone)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"CAST({cell} AS DATE)"
    return clock.calendar_date(f"CAST({cell} AS VARCHAR)", form, zone)


def _presence(one: Input, cell: str) -> list[tuple[str, str]]:
    return [(f"{cell} IS NULL", written("S331", one.name))] if one.is_required else []


def _type_faults(one: Input, cell: str, value: str) -> list[tuple[str, str]]:
    if one.type in ("text", "any"):
        return []
    reason = written("S332", one.name, _shown(one, cell), one.type)
    if one.type in ("number", "money", "integer"):
        text = f"lower(CAST({cell} AS VARCHAR))"
        is_infinite = f"regexp_full_match({text}, '[+-]?(nan|inf|infinity)')"
        not_finite = written("S333", one.name, _shown(one, cell))
        reason = f"CASE WHEN {is_infinite} THEN {not_finite} ELSE {reason} END"
    faults = [(f"{cell} IS NOT NULL AND {value} IS NULL", reason)]
    if one.type == "number":
        faults.append((f"NOT isfinite({value})", written("S333", one.name, _shown(one, cell))))
    if one.type == "money":
        too_large = f"{value} IS NOT NULL AND TRY_CAST({value} AS BIGINT) IS NULL"
        faults.append((too_large, written("S335", one.name, _shown(one, cell))))
        if one.unit == "major":
            faults.append((f"{value} <> trunc({value})", written("S334", one.name, _shown(one, cell))))
    if one.type in ("date", "timestamp"):
        kind = one.type.upper()
        outside = f"{value} NOT BETWEEN {kind} '0001-01-02' AND {kind} '9999-12-31 23:59:59'"
        if one.type == "date":
            outside = f"{value} NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
        faults.append((outside, written("S339", one.name, _shown(one, cell))))
    return faults


def _limits(one: Input, cell: str, value: str, context: Context) -> list[tuple[str, str]]:
    faults = []
    scale = minor_per_major(context.currency) if one.type == "money" else 1
    bounds = [("<", one.minimum), (">", one.maximum)]
    outside = [f"{value} {sign} {bound * scale!r}" for sign, bound in bounds if bound is not None]
    if outside:
        faults.append((" OR ".join(outside), written("S335", one.name, _shown(one, cell))))
    if one.values:
        allowed = ", ".join(literal(text) for text in one.values)
        is_other = f"CAST({cell} AS VARCHAR) NOT IN ({allowed})"
        faults.append((is_other, written("S336", one.name, _shown(one, cell))))
    return faults


def _shown(one: Input, cell: str) -> str:
    """What a reason may quote: never a value that says who somebody is."""
    return "'(hidden)'" if "identity" in one.labels else cell
