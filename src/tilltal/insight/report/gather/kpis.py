"""Key figures per period, and the segments beside each other in the last complete period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.insight.kpi_tables import ALL, NONE
from tilltal.insight.report.data import Comparison, Kpi, KpiView, SegmentFigures, Unit
from tilltal.insight.report.gather.tables import Tables

_PERIODS = 24
_KNOWN: tuple[tuple[str, str, str, Unit], ...] = (
    ("customers_end", "Customers", "with a relation at the end of the period", "count"),
    ("active_rate", "Active customers", "share that did something in the period", "share"),
    ("gross_churn_rate", "Customers lost", "leavers / customers at the start", "share"),
    ("churn_rate", "Net churn", "(customers at the start − at the end) / at the start", "share"),
    ("retention_rate", "Retention", "(customers at the end − new) / at the start", "share"),
    ("income", "Income", "in the period", "money"),
    ("sales", "Sales", "in the period", "count"),
    ("customers_new", "New customers", "who joined in the period, returns included", "count"),
    ("duration", "Duration", "customers at the start / leavers", "periods"),
)
_COMPARED = ("customers_end", "active_rate", "gross_churn_rate", "customers_new", "sales", "income")

Order = Mapping[str, Sequence[str]]


def kpis(tables: Tables, kind: str, order: Order, today: date) -> KpiView | None:
    """Return the key figures; None where the snapshot has none.

    Args:
        tables: reads `kpis`.
        kind: the period: `month`, `quarter` or `year`.
        order: the segments of each dimension, in the order to show them; others follow by name.
        today: the local date of as-of.
    """
    periods = _periods(tables)
    if not periods:
        return None
    calendar = CALENDARS[kind]
    is_open = calendar.number(today + timedelta(days=1)) == calendar.number(today)
    complete = len(periods) - (2 if is_open else 1)
    series = _series(tables, periods)
    shown = tuple(each for each in _KNOWN if each[0] in series)
    compared = tuple((name, unit) for name, _, _, unit in shown if name in _COMPARED)
    return KpiView(
        period=kind,
        starts=tuple(start for start, _ in periods),
        ends=tuple(end for _, end in periods),
        is_open=is_open,
        complete=complete,
        kpis=tuple(
            Kpi(name=name, title=title, meaning=meaning, unit=unit, values=series[name])
            for name, title, meaning, unit in shown
        ),
        compared=compared,
        comparisons=_comparisons(tables, [name for name, _ in compared], order, periods[max(complete, 0)][0]),
    )


def title_of(name: str) -> str:
    """Return a key figure's name in words."""
    return next(title for known, title, _, _ in _KNOWN if known == name)


def in_order(segments: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return segments in the wanted order, others by name after them, those without one last.

    >>> in_order(["-", "b", "a", "z"], ["z"])
    ('z', 'a', 'b', '-')
    """
    place = {name: index for index, name in enumerate(wanted)}
    return tuple(sorted(segments, key=lambda name: (name == NONE, place.get(name, len(place)), name)))


def _periods(tables: Tables) -> list[tuple[date, date]]:
    """Return the last periods from the first with customers on, oldest first."""
    if not tables.has("kpis"):
        return []
    rows = tables.rows(
        f"SELECT period_start, period_end FROM kpis WHERE dimension = '{ALL}' AND kpi = 'customers_end'"
        " AND period_start >= (SELECT min(period_start) FROM kpis WHERE kpi = 'customers_end' AND value > 0)"
        f" ORDER BY period_start DESC LIMIT {_PERIODS}"
    )
    return [(start, end) for start, end in reversed(rows)]


def _series(tables: Tables, periods: Sequence[tuple[date, date]]) -> dict[str, tuple[float | None, ...]]:
    rows = tables.rows(f"SELECT kpi, period_start, value FROM kpis WHERE dimension = '{ALL}'")
    found = {(name, start): value for name, start, value in rows}
    names = {name for name, _, _ in rows}
    return {name: tuple(found.get((name, start)) for start, _ in periods) for name in names}


def _comparisons(tables: Tables, names: Sequence[str], order: Order, start: date) -> tuple[Comparison, ...]:
    rows = tables.rows(
        "SELECT dimension, segment, kpi, value FROM kpis"
        f" WHERE dimension <> '{ALL}' AND period_start = DATE '{start}'"
    )
    found = {(dimension, segment, name): value for dimension, segment, name, value in rows}
    segments: dict[str, set[str]] = {}
    for dimension, segment, _, _ in rows:
        segments.setdefault(dimension, set()).add(segment)
    wanted = [name for name in order if name in segments] + sorted(set(segments) - set(order))
    return tuple(
        Comparison(
            dimension=dimension,
            segments=tuple(
                SegmentFigures(
                    name=segment, values=tuple(found.get((dimension, segment, name)) for name in names)
                )
                for segment in in_order(sorted(segments[dimension]), order.get(dimension, ()))
            ),
        )
        for dimension in wanted
    )
