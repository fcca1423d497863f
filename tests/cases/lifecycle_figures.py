"""Cases of kind `kpi`: key figures from counts, or from the relations of customers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
from tests.cases.lifecycle_stages import read_date
from tests.cases.report import Mismatch, case_id, unknown_keys

from tilltal.core.names import quote
from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.customers.lifecycle.stage import Relation
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.insight.kpi_tables import kpi_steps
from tilltal.insight.kpis import RATIOS, Counts, counts_of
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Kpis

_COUNTS = ("start", "new", "left", "end")
_RATES = ("duration", "churn_rate", "retention_rate")
_KINDS = ("month", "quarter", "year")
_ROUNDED_FROM = 3  # decimals from which a stated figure is taken as rounded

Figures = dict[str, float | None]


def figure_mismatches(case: Mapping[str, Any], zone: ZoneInfo) -> Iterator[Mismatch]:
    """Yield what differs, in both forms."""
    name = case_id(case)
    if "periods" in case:
        for number, stated in enumerate(case["periods"], 1):
            yield from unknown_keys(name, f"period {number}", stated, {*_COUNTS, *_RATES, "note"})
            counts = Counts(**{key: stated.get(key) or 0 for key in _COUNTS})
            yield from _compare(name, f"period {number} (python)", stated, _figures(counts))
            yield from _compare(name, f"period {number} (sql)", stated, _figures_in_sql(counts))
        return
    yield from unknown_keys(name, "expect", case["expect"], {*_COUNTS, *_RATES})
    first, last = (read_date(case["period"][key], zone) for key in ("first_day", "last_day"))
    relations = {
        customer: [_relation(line, zone) for line in lines or ()]
        for customer, lines in (case.get("relations") or {}).items()
    }
    everything = [relation for own in relations.values() for relation in own]
    yield from _compare(name, "python", case["expect"], _figures(counts_of(everything, first, last)))
    kind = next((kind for kind in _KINDS if _is_one(kind, first, last)), None)
    if kind:
        found = _from_relations(kind, first, last, list(relations.values()))
        yield from _compare(name, "sql", case["expect"], found)


def _is_one(kind: str, first: date, last: date) -> bool:
    """True if the days are exactly one calendar period; others than these a refresh does not report."""
    calendar = CALENDARS[kind]
    number = calendar.number(first)
    bounds = calendar.first_day(number), calendar.first_day(number + 1) - timedelta(days=1)
    return bounds == (first, last)


def _relation(line: Mapping[str, str | None], zone: ZoneInfo) -> Relation:
    opened, closed = line["opened"], line.get("closed")
    assert opened is not None, "a relation has an opening"
    return Relation(read_date(opened, zone), read_date(closed, zone) if closed else None)


def _figures(counts: Counts) -> Figures:
    plain = {"start": counts.start, "new": counts.new, "left": counts.left, "end": counts.end}
    return {**plain, **{name: ratio(counts).value for name, ratio in RATIOS.items()}}


def _compare(case: str, place: str, stated: Mapping[str, Any], found: Figures) -> Iterator[Mismatch]:
    for key in (*_COUNTS, *_RATES):
        if key in stated and not _is_same(stated[key], found[key]):
            yield Mismatch(case=case, what=f"{key}, {place}", expected=stated[key], got=found[key])


def _is_same(stated: float | None, found: float | None) -> bool:
    if stated is None or found is None:
        return stated is found
    decimals = len(repr(float(stated)).partition(".")[2])
    tolerance = 0.5 * 10**-decimals + 1e-9 if decimals >= _ROUNDED_FROM else 1e-9
    return abs(stated - found) <= tolerance


def _clock(today: date) -> Clock:
    return Clock(datetime.combine(today, time(12), UTC), ZoneInfo("UTC"))


def _figures_in_sql(counts: Counts) -> Figures:
    """Run the last step alone, over the counts of one period."""
    kpis, clock = Kpis(by=(), periods=1), _clock(date(2026, 1, 31))
    steps = {step.name: step.sql for step in kpi_steps(kpis, {}, clock, frozenset())}
    number = CALENDARS[kpis.period].number(clock.today)
    with DuckDBEngine(threads=1) as engine:
        engine.run(f"CREATE TABLE kpi_periods AS {steps['kpi_periods']}")
        engine.run(f"""CREATE TABLE kpi_figures AS
            SELECT {number} AS number, 'all' AS dimension, 'all' AS segment, {counts.start} AS start_count,
            {counts.new} AS new_count, {counts.left} AS left_count, {counts.end} AS end_count,
            0 AS active, 0 AS sales, 0 AS income""")
        return _read(engine, steps["kpis"])


def _from_relations(kind: str, first: date, last: date, customers: Sequence[Sequence[Relation]]) -> Figures:
    """Run all steps as of the last date of the case, and read the period asked for."""
    rows = [(profile, one) for profile, own in enumerate(customers) for one in own]
    today = max([last, *(day for _, one in rows for day in (one.opened, one.closed) if day)])
    periods = CALENDARS[kind].number(today) - CALENDARS[kind].number(first) + 1
    kpis = msgspec.convert({"period": kind, "by": [], "periods": periods}, Kpis)
    with DuckDBEngine(threads=1) as engine:
        columns = {
            "profile": pa.array([profile for profile, _ in rows], pa.int64()),
            "opened": pa.array([one.opened for _, one in rows], pa.date32()),
            "closed": pa.array([one.closed for _, one in rows], pa.date32()),
        }
        engine.register("relations", pa.table(columns))
        engine.run("CREATE VIEW profiles AS SELECT DISTINCT profile FROM relations")
        for step in kpi_steps(kpis, {}, _clock(today), frozenset()):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        return _read(engine, f"SELECT * FROM kpis WHERE period_start = DATE '{first}'")


def _read(engine: DuckDBEngine, select: str) -> Figures:
    found: Figures = dict(engine.rows(f"SELECT kpi, value FROM ({select}) WHERE dimension = 'all'"))
    names = {f"customers_{key}": key for key in _COUNTS}
    figures = {names.get(name, name): value for name, value in found.items()}
    return {**dict.fromkeys(_COUNTS, 0.0), **dict.fromkeys(_RATES), **figures}
