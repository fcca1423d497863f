"""What a request tells of the moment, as conditions see it: `context.<field>`, as declared or NULL."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

from tilltal.core.names import literal, quote
from tilltal.decisions.arbitration import Context
from tilltal.rules.types import LARGEST_INTEGER, SMALLEST_INTEGER, Type
from tilltal.workspace.decision_names import CONTEXT, context_schema
from tilltal.workspace.definitions.engagement import EngagementPolicy

_SQL = {
    Type.BOOLEAN: "BOOLEAN",
    Type.INTEGER: "BIGINT",
    Type.NUMBER: "DOUBLE",
    Type.TEXT: "VARCHAR",
    Type.DATE: "DATE",
    Type.TIMESTAMP: "TIMESTAMP",
}


def context_values(engagement: EngagementPolicy, context: Context) -> dict[str, object]:
    """Return the declared names of the context with what a request tells, NULL where it is of another type.

    Dates and instants are ISO 8601 texts; an instant without an offset is UTC.
    """
    return {
        f"{CONTEXT}{field}": _typed(context.get(field), Type(kind))
        for field, kind in engagement.context.items()
    }


def context_columns(engagement: EngagementPolicy, context: Context) -> tuple[str, ...]:
    """Return the same as SQL columns, equal for everyone."""
    kinds = context_schema(engagement)
    return tuple(
        f"{_literal(value, kinds[name])} AS {quote(name)}"
        for name, value in context_values(engagement, context).items()
    )


def _typed(value: object, kind: Type) -> object:
    if isinstance(value, bool):
        return value if kind is Type.BOOLEAN else None
    if isinstance(value, int | float):
        return _number(value, kind)
    if not isinstance(value, str):
        return None
    if kind is Type.TEXT:
        return value
    try:
        if kind is Type.DATE:
            return date.fromisoformat(value)
        return _instant(value) if kind is Type.TIMESTAMP else None
    except (ValueError, OverflowError):
        return None


def _number(value: float, kind: Type) -> object:
    if not (SMALLEST_INTEGER <= value <= LARGEST_INTEGER if isinstance(value, int) else math.isfinite(value)):
        return None
    if kind is Type.NUMBER:
        return float(value)
    is_whole = kind is Type.INTEGER and value == int(value)
    return int(value) if is_whole and SMALLEST_INTEGER <= value <= LARGEST_INTEGER else None


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def _literal(value: object, kind: Type) -> str:
    text = "NULL" if value is None else literal(str(value))
    return f"CAST({text} AS {_SQL[kind]})"
