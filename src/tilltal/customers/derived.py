"""Columns computed from other columns of the profile: expression traits and audiences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tilltal.core.errors import WorkspaceError
from tilltal.core.names import quote
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import to_python
from tilltal.rules.sql import condition_sql, to_sql
from tilltal.workspace.graph import cycles


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the profile and its expression. A condition is never NULL: unknown is FALSE."""

    name: str
    expression: Expression
    is_condition: bool


def in_layers(columns: Iterable[Derived]) -> tuple[tuple[Derived, ...], ...]:
    """Return the columns in layers: each names only columns of the profile and of layers before its own.

    Raises:
        WorkspaceError: W140 with the path, if columns need each other.
    """
    waiting = {column.name: column for column in columns}
    needs = {name: tuple(sorted(waiting.keys() & set(one.expression.names))) for name, one in waiting.items()}
    if found := cycles(needs):
        raise WorkspaceError.of("W140", f"These definitions need each other: {' -> '.join(found[0])}.")
    layers: list[tuple[Derived, ...]] = []
    while waiting:
        layer = tuple(one for one in waiting.values() if not waiting.keys() & set(needs[one.name]))
        layers.append(layer)
        waiting = {name: one for name, one in waiting.items() if one not in layer}
    return tuple(layers)


def derived_sql(columns: Iterable[Derived], relation: str, clock: Clock) -> str:
    """Return a `SELECT` of all columns of `relation` (a table or a query in parentheses) and the derived.

    A layer is a query around the one before, so a column names others and never repeats their expression.
    """
    source = relation
    for layer in in_layers(columns):
        made = ", ".join(f"{_column_sql(one, clock)} AS {quote(one.name)}" for one in layer)
        source = f"(SELECT *, {made} FROM {source})"
    return source[1:-1] if source != relation else f"SELECT * FROM {relation}"


def _column_sql(column: Derived, clock: Clock) -> str:
    emit = condition_sql if column.is_condition else to_sql
    return emit(column.expression, quote, clock=clock)


class DerivedEvaluator:
    """Computes derived columns of one profile in Python."""

    def __init__(self, columns: Iterable[Derived]) -> None:
        self._made: Sequence[tuple[Derived, Callable[[Mapping[str, object], Clock], object]]] = [
            (column, to_python(column.expression)) for layer in in_layers(columns) for column in layer
        ]

    def extended(self, profile: Mapping[str, object], clock: Clock) -> dict[str, object]:
        """Return the profile with the derived columns added."""
        whole = dict(profile)
        for column, compute in self._made:
            value = compute(whole, clock)
            whole[column.name] = value is True if column.is_condition else value
        return whole
