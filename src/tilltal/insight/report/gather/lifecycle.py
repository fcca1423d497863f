"""The lifecycle: sizes of the stages month by month, and who moved between them in the last month."""

from __future__ import annotations

from datetime import date, timedelta

from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.insight.report.data import Flow, LifecycleView, Stage
from tilltal.insight.report.gather.tables import Tables
from tilltal.workspace.definitions.segments import StageNames

_MONTHS = 24
_MONTH = CALENDARS["month"]


def stage_order(names: StageNames) -> tuple[str, ...]:
    """Return the stages in the order a customer may live through them."""
    return (names.new, names.loyal, names.retain, names.regain, names.comeback)


def lifecycle(tables: Tables, names: StageNames, today: date) -> LifecycleView | None:
    """Return stages, history and flows; None where the snapshot has none."""
    if not tables.has("profiles", "lifecycle.stage") or not tables.has("transitions"):
        return None
    sizes: dict[str, int] = dict(
        tables.rows(
            'SELECT "lifecycle.stage", count(*) FROM profiles WHERE is_known'
            ' AND "lifecycle.stage" IS NOT NULL GROUP BY ALL'
        )
    )
    months = _month_ends(tables, today)
    history = _history(tables, months)
    total = max(sum(sizes.values()), 1)
    start, end = last_month(today)
    return LifecycleView(
        stages=tuple(
            Stage(
                name=name,
                customers=sizes.get(name, 0),
                share=sizes.get(name, 0) / total,
                history=tuple(history.get((name, month), 0) for month in months),
            )
            for name in stage_order(names)
        ),
        months=months,
        start=start,
        end=end,
        flows=_flows(tables, start, end),
    )


def last_month(today: date) -> tuple[date, date]:
    """Return first and last day of the last complete month; the one of `today` if today ends it."""
    number = _MONTH.number(today + timedelta(days=1)) - 1
    return _MONTH.first_day(number), _MONTH.first_day(number + 1) - timedelta(days=1)


def _month_ends(tables: Tables, today: date) -> tuple[date, ...]:
    """Return the last ends of months with customers, oldest first, and today."""
    first = tables.rows("SELECT min(date) FROM transitions")[0][0]
    if first is None:
        return (today,)
    last = _MONTH.number(today)
    numbers = range(max(_MONTH.number(first), last - _MONTHS) + 1, last + 1)
    return (*(_MONTH.first_day(number) - timedelta(days=1) for number in numbers), today)


def _history(tables: Tables, months: tuple[date, ...]) -> dict[tuple[str, date], int]:
    listed = ", ".join(f"(DATE '{month}')" for month in months)
    rows = tables.rows(
        "WITH changes AS (SELECT stage, date, sum(n) AS n FROM ("
        "SELECT to_stage AS stage, date, 1 AS n FROM transitions UNION ALL "
        "SELECT from_stage, date, -1 FROM transitions WHERE from_stage IS NOT NULL) AS moved GROUP BY ALL) "
        f"SELECT stage, month, sum(n) FROM changes JOIN (VALUES {listed}) AS listed(month)"
        " ON date <= month GROUP BY ALL"
    )
    return {(stage, month): int(size) for stage, month, size in rows}


def _flows(tables: Tables, start: date, end: date) -> tuple[Flow, ...]:
    rows = tables.rows(
        "SELECT COALESCE(before, ''), \"after\", count(*) FROM ("
        f"SELECT arg_max(to_stage, date) FILTER (WHERE date < DATE '{start}') AS before,"
        f" arg_max(to_stage, date) FILTER (WHERE date <= DATE '{end}') AS \"after\""
        ' FROM transitions GROUP BY profile) AS stages WHERE "after" IS NOT NULL GROUP BY ALL ORDER BY ALL'
    )
    return tuple(Flow(before=before, after=after, customers=size) for before, after, size in rows)
