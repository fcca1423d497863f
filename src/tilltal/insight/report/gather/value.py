"""The value grid: customers, average income and most common persona of every cell."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.core.names import quote
from tilltal.insight.report.data import Cell, ValueView
from tilltal.insight.report.gather.tables import Tables
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Value


class _Found(msgspec.Struct, frozen=True):
    customers: int = 0
    income: float | None = None
    persona: str | None = None
    with_persona: int = 0


def value_grid(
    tables: Tables, definition: Value | None, schema: Mapping[str, Type], clock: Clock
) -> ValueView | None:
    """Return the grid; None where the snapshot has none.

    Args:
        tables: reads `profiles`.
        definition: the grid; its income axis is evaluated again to average it.
        schema: the names that axis may use.
        clock: the snapshot's instant.
    """
    if definition is None or not tables.has("profiles", "value.segment", "value.income", "value.affinity"):
        return None
    found = _cells(tables, _income_sql(tables, definition, schema, clock))
    total = sum(each.customers for each in found.values())
    without = tables.count('SELECT count(*) FROM profiles WHERE is_known AND "value.segment" IS NULL')
    return ValueView(
        incomes=definition.income.classes,
        affinities=definition.affinity.classes,
        cells=tuple(
            _cell(cell.name, cell.income, cell.affinity, found.get(cell.name, _Found()), total)
            for cell in definition.cells
        ),
        without=without,
    )


def _cell(name: str, income: str, affinity: str, found: _Found, total: int) -> Cell:
    return Cell(
        name=name,
        income=income,
        affinity=affinity,
        customers=found.customers,
        share=found.customers / max(total, 1),
        average_income=found.income,
        persona=found.persona or "",
        persona_share=found.with_persona / max(found.customers, 1),
    )


def _income_sql(tables: Tables, definition: Value, schema: Mapping[str, Type], clock: Clock) -> str:
    """Return SQL for the income of a customer; NULL where the snapshot lacks what it is made of."""
    expression = parse(definition.income.value, schema, want=Type.NUMBER)
    if not tables.has("profiles", *expression.names):
        return "NULL"
    return to_sql(expression, quote, clock=clock)


def _cells(tables: Tables, income: str) -> dict[str, _Found]:
    persona = '"persona.name"' if tables.has("profiles", "persona.name") else "NULL"
    rows = tables.rows(
        "WITH known AS ("
        f'SELECT "value.segment" AS cell, CAST({income} AS DOUBLE) AS income, {persona} AS persona'
        ' FROM profiles WHERE is_known AND "value.segment" IS NOT NULL), '
        "sizes AS (SELECT cell, count(*) AS n, avg(income) FILTER (WHERE NOT isnan(income)) AS income"
        " FROM known GROUP BY cell), "
        "crossed AS (SELECT cell, persona, count(*) AS n FROM known WHERE persona IS NOT NULL GROUP BY ALL), "
        "tops AS (SELECT cell, persona, n FROM crossed"
        " QUALIFY row_number() OVER (PARTITION BY cell ORDER BY n DESC, persona) = 1) "
        "SELECT s.cell, s.n, s.income, t.persona, COALESCE(t.n, 0)"
        " FROM sizes AS s LEFT JOIN tops AS t ON t.cell = s.cell"
    )
    return {cell: _Found(*rest) for cell, *rest in rows}
