"""The value grid (CVS): a class of income crossed with a class of brand affinity makes a named cell.

Borders are values, or quantiles of the customers; a value at a border belongs to the class above. Without an
affinity there is no cell; no income counts as 0. The rules in words: docs/explanation/value.md.

A quantile q of n customers is the value that floor(q x n) of them come before in order of size: an observed
value, the same on every engine. Equal values are never parted: all of them fall in the class above.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from tilltal.core.errors import Place
from tilltal.core.names import literal, quote
from tilltal.customers.step import Step
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Axis, Cuts, Value


class Standing(msgspec.Struct, frozen=True):
    """Where a customer stands in the grid: the cell's name and the classes of both axes."""

    segment: str | None
    income: str
    affinity: str | None


class Borders(msgspec.Struct, frozen=True):
    """The values at which the classes above the lowest begin, ascending, for both axes."""

    income: tuple[float, ...]
    affinity: tuple[float, ...]


def borders_of(value: Value, customers: Sequence[tuple[float | None, float | None]]) -> Borders:
    """Return the borders, given income and affinity of each customer; only those with an affinity count."""
    counted = [(income, affinity) for income, affinity in customers if _is_number(affinity)]
    incomes = [income if income is not None and _is_number(income) else 0.0 for income, _ in counted]
    affinities = [affinity for _, affinity in counted if affinity is not None]
    return Borders(_borders(value.income.cuts, incomes), _borders(value.affinity.cuts, affinities))


def standing_of(value: Value, borders: Borders, income: float | None, affinity: float | None) -> Standing:
    """Return where a customer stands; an income of `None` or NaN counts as 0."""
    earned = income if income is not None and _is_number(income) else 0.0
    income_class = value.income.classes[bisect_right(borders.income, earned)]
    if affinity is None or not _is_number(affinity):
        return Standing(None, income_class, None)
    affinity_class = value.affinity.classes[bisect_right(borders.affinity, affinity)]
    return Standing(_cells(value).get((income_class, affinity_class)), income_class, affinity_class)


def value_steps(
    value: Value, schema: Mapping[str, Type], clock: Clock, *, relation: str, customers: str = "TRUE"
) -> tuple[Step, ...]:
    """Return the steps that make `value`: profile and the three names an expression may use.

    Args:
        value: the grid.
        schema: the names the axes may read, and their types.
        clock: what NOW() and TODAY() mean.
        relation: the table that has `profile` and those names as columns, already quoted.
        customers: SQL condition over the table: whose values make the quantiles.

    Raises:
        WorkspaceError: if the value of an axis is no expression or no number.
    """
    income, affinity = (_axis_sql(axis, schema, clock) for axis in (value.income, value.affinity))
    axes = f"""
SELECT profile, COALESCE(CASE WHEN NOT ISNAN(income) THEN income END, 0) AS income,
  CASE WHEN NOT ISNAN(affinity) THEN affinity END AS affinity, is_customer
FROM (
  SELECT profile, {income} AS income, {affinity} AS affinity, COALESCE({customers}, FALSE) AS is_customer
  FROM {relation}) AS given"""
    return (
        Step("value_axes", axes),
        Step("value_borders", _borders_sql(value)),
        Step("value", _grid_sql(value)),
    )


def _axis_sql(axis: Axis, schema: Mapping[str, Type], clock: Clock) -> str:
    expression = parse(axis.value, schema, place=Place(file="value.yaml"), want=Type.NUMBER)
    return f"CAST({to_sql(expression, quote, clock=clock)} AS DOUBLE)"


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _cells(value: Value) -> Mapping[tuple[str, str], str]:
    return {(cell.income, cell.affinity): cell.name for cell in value.cells}


def _share(quantile: float) -> Fraction:
    """Return the quantile as it is written: 0.29 is 29/100, whatever its binary form."""
    return Fraction(repr(quantile))


def _borders(cuts: Cuts, values: Sequence[float]) -> tuple[float, ...]:
    if not cuts.quantiles:
        return cuts.values
    ordered = sorted(values)
    if not ordered:
        return tuple(math.inf for _ in cuts.quantiles)
    return tuple(ordered[math.floor(_share(quantile) * len(ordered))] for quantile in cuts.quantiles)


def _number(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


def _column(axis: str, index: int) -> str:
    return f"{axis}_{index}"


def _borders_sql(value: Value) -> str:
    """Return one row with a column per border: `income_1`, `affinity_1`, `affinity_2`, ..."""
    axes = {key: axis.cuts for key, axis in (("income", value.income), ("affinity", value.affinity))}
    columns = [
        f"{_border_sql(axis, cuts, index)} AS {_column(axis, index + 1)}"
        for axis, cuts in axes.items()
        for index in range(len(cuts.quantiles or cuts.values))
    ]
    ranked = "\nUNION ALL\n".join(_ranked_sql(axis) for axis, cuts in axes.items() if cuts.quantiles)
    if not ranked:
        return f"SELECT {', '.join(columns) or 'NULL AS no_border'}"
    return f"SELECT {', '.join(columns)} FROM ({ranked}) AS ranked"


def _ranked_sql(axis: str) -> str:
    """Return the different values of an axis with how many customers have at most that, and all customers."""
    return f"""
SELECT {literal(axis)} AS axis, {axis} AS border,
  SUM(COUNT(*)) OVER (ORDER BY {axis}) AS upto, SUM(COUNT(*)) OVER () AS customers
FROM value_axes WHERE is_customer AND affinity IS NOT NULL GROUP BY {axis}"""


def _border_sql(axis: str, cuts: Cuts, index: int) -> str:
    if not cuts.quantiles:
        return _number(cuts.values[index])
    share = _share(cuts.quantiles[index])
    # the smallest value with more than floor(q x n) customers at or below it
    within = f"upto > (customers * {share.numerator}) // {share.denominator}"
    return (
        f"COALESCE(MIN(CASE WHEN axis = {literal(axis)} AND {within} THEN border END), {_number(math.inf)})"
    )


def _class_sql(axis: str, definition: Axis) -> str:
    """Return SQL for the class: the first from above whose border the value reaches."""
    classes = [
        f" WHEN {axis} >= {_column(axis, index)} THEN {literal(definition.classes[index])}"
        for index in range(len(definition.classes) - 1, 0, -1)
    ]
    lowest = literal(definition.classes[0])
    return f"CASE WHEN {axis} IS NULL THEN NULL{''.join(classes)} ELSE {lowest} END"


def _grid_sql(value: Value) -> str:
    cells = "".join(
        f" WHEN income_class = {literal(income)} AND affinity_class = {literal(affinity)}"
        f" THEN {literal(name)}"
        for (income, affinity), name in _cells(value).items()
    )
    return f"""
SELECT profile, CASE{cells} END AS {quote("value.segment")}, income_class AS {quote("value.income")},
  affinity_class AS {quote("value.affinity")}
FROM (
  SELECT profile, {_class_sql("income", value.income)} AS income_class,
    {_class_sql("affinity", value.affinity)} AS affinity_class
  FROM value_axes CROSS JOIN value_borders) AS classed"""
