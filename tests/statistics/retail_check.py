"""Lifecycle, value grid and key figures of a shop, worked out a second time in pandas, customer by customer.

Nothing here uses the product but its answers. Everything follows the words of docs/explanation: days are
looked at one after another, relations are found by walking over a customer's purchases, key figures by
comparing dates.
"""

from __future__ import annotations

import math
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pandas as pd
import pyarrow as pa

from tilltal.core.names import quote
from tilltal.customers.lifecycle.plan import lifecycle_steps
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.schema import EventType
from tilltal.customers.value import value_steps
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.insight.kpi_tables import kpi_steps
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.policies import Kpis
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.segments import (
    Axis,
    Cell,
    Cuts,
    Engagement,
    Lifecycle,
    Moments,
    StageNames,
    Value,
)

DATA = Path(os.environ.get("TILLTAL_SHARED", Path(__file__).resolve().parents[2].parent / "shared")) / "data"
_NAMES = StageNames()
NEW, LOYAL, RETAIN = _NAMES.new, _NAMES.loyal, _NAMES.retain
REGAIN, COMEBACK = _NAMES.regain, _NAMES.comeback
SCHEMAS = {"purchase": EventType(fields={"amount": Type.NUMBER, "month": Type.TEXT}, money={"amount": 100})}
CELLS = (
    ("Low", "Low", "Prisjägare"),
    ("Low", "Average", "Lågmarginalare"),
    ("Low", "High", "Aspiranter"),
    ("High", "Low", "Engångsköpare"),
    ("High", "Average", "Lojala"),
    ("High", "High", "Kungliga"),
)
TRAITS = {
    "income_12mo": Trait(measure="sum", of="amount", from_=("purchase",), window="12 months"),
    "months": Trait(measure="distinct", of="month", from_=("purchase",)),
}


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """Purchases (customer, at as naive UTC, amount in minor units) and how they are read."""

    purchases: Any
    zone: str
    now: datetime
    silent_days: int
    engagement: Engagement
    kpis: Kpis
    income_cut: float
    affinity_cuts: tuple[float, float]

    @property
    def value(self) -> Value:
        """The grid: quantiles of the income of 12 months, and of the number of months with a purchase."""
        income, affinity = Cuts(quantiles=(self.income_cut,)), Cuts(quantiles=self.affinity_cuts)
        return Value(
            income=Axis(value="income_12mo", cuts=income, classes=("Low", "High")),
            affinity=Axis(value="months", cuts=affinity, classes=("Low", "Average", "High")),
            cells=tuple(Cell(income=row, affinity=column, name=name) for row, column, name in CELLS),
        )

    @property
    def local(self) -> Any:
        """The purchases with `day`, a local date."""
        frame = self.purchases.copy()
        frame["day"] = frame["at"].dt.tz_localize("UTC").dt.tz_convert(self.zone).dt.date
        return frame

    @property
    def today(self) -> date:
        return self.now.astimezone(ZoneInfo(self.zone)).date()


def run_product(shop: Shop) -> DuckDBEngine:
    """Run the product's batch over the shop; its tables are in the engine."""
    engine = DuckDBEngine(memory_limit="2GB")
    clock = Clock(shop.now, ZoneInfo(shop.zone))
    frame = shop.local.sort_values(["customer", "at"]).reset_index(drop=True)
    columns = {
        "profile": pa.array(frame["customer"], pa.int64()),
        "event_id": pa.array([f"{number:09}" for number in frame.index]),
        "at": pa.array(frame["at"], pa.timestamp("us")),
        "received": pa.array(frame["at"], pa.timestamp("us")),
        "amount": pa.array(frame["amount"], pa.int64()),
        "month": pa.array([f"{day:%Y-%m}" for day in frame["day"]]),
    }
    engine.register("purchases", pa.table(columns))
    engine.run('CREATE TABLE "event.purchase" AS SELECT * FROM purchases')
    engine.run("CREATE TABLE spine AS SELECT DISTINCT profile, TRUE AS is_known FROM purchases")
    lifecycle = Lifecycle(
        opened=Moments(first_event=("purchase",)),
        closed=Moments(silence=("purchase",), days=shop.silent_days),
        engagement=shop.engagement,
    )
    _make(engine, lifecycle_steps(lifecycle, SCHEMAS, clock, since=min(frame["day"])))
    plan = trait_plan(compile_traits(TRAITS, SCHEMAS), SCHEMAS, clock)
    _make(engine, plan.steps)
    engine.run(f"CREATE TABLE traits AS {plan.select}")
    numbers = {"income_12mo": Type.NUMBER, "months": Type.INTEGER}
    _make(engine, value_steps(shop.value, numbers, clock, relation="traits"))
    engine.run(
        "CREATE TABLE profiles AS SELECT * FROM spine"
        " LEFT JOIN lifecycle USING (profile) JOIN value USING (profile)"
    )
    _make(engine, kpi_steps(shop.kpis, SCHEMAS, clock, frozenset({"lifecycle.stage", "value.segment"})))
    return engine


def _make(engine: DuckDBEngine, steps: Any) -> None:
    for step in steps:
        engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")


# --- relations and stages, by walking ------------------------------------------------------------------


def relations_of(days: list[date], shop: Shop) -> list[tuple[date, date | None]]:
    """Walk over a customer's purchase days, in order; a silence ends what the last purchase kept alive."""
    patience = timedelta(days=shop.silent_days)
    found, opened, latest = [], days[0], days[0]
    for day in days[1:]:
        if day - latest > patience:
            found.append((opened, latest + patience + timedelta(days=1)))
            opened = day
        latest = day
    closed = latest + patience + timedelta(days=1)
    return [*found, (opened, closed if closed <= shop.today else None)]


def reading_days(shop: Shop, first: date) -> list[tuple[date, date]]:
    """Return every reading day from `first` on, with the first day of what it covers."""
    frequency = {"week": "W-MON", "month": "MS"}[shop.engagement.every]
    starts = pd.date_range(first - timedelta(days=400), shop.today, freq=frequency).date
    over = shop.engagement.over
    return [(end, begin) for begin, end in zip(starts, starts[over:], strict=False) if end > first]


class Walker:
    """One customer's stages, judged day by day."""

    def __init__(self, days: list[date], shop: Shop) -> None:
        self.shop, self.days = shop, days
        self.relations = relations_of(sorted(set(days)), shop)
        self.readings = [
            (end, sum(begin <= day < end for day in days)) for end, begin in reading_days(shop, days[0])
        ]

    def stage(self, day: date) -> str | None:
        """Return the stage on a day."""
        number, current = -1, None
        for number, relation in enumerate(self.relations):
            if relation[0] > day:
                number -= 1
                break
            current = relation
        if current is None:
            return None
        opened, closed = current
        if closed is not None and day >= closed:
            return REGAIN
        if (day - opened).days < 90:
            return NEW if number == 0 else COMEBACK
        own = [(end, count) for end, count in self.readings if opened < end <= day]
        if not own:
            return LOYAL
        old = [count for end, count in own if (day - end).days >= 90]
        return RETAIN if own[-1][1] < (old[-1] if old else own[0][1]) else LOYAL

    def transitions(self) -> list[tuple[date, str | None, str]]:
        """Return every change, looking at every day."""
        found: list[tuple[date, str | None, str]] = []
        before: str | None = None
        day = self.days[0]
        while day <= self.shop.today:
            after = self.stage(day)
            if after != before and after is not None:
                found.append((day, before, after))
                before = after
            day += timedelta(days=1)
        return found


def walkers(shop: Shop) -> dict[int, Walker]:
    """Return all customers."""
    frame = shop.local.sort_values(["customer", "at"])
    return {int(customer): Walker(list(days), shop) for customer, days in frame.groupby("customer")["day"]}


# --- value ---------------------------------------------------------------------------------------------


def segments_of(shop: Shop) -> dict[int, tuple[str, str, str]]:
    """Return cell, class of income and class of affinity of every customer."""
    frame = shop.local
    year_ago = (pd.Timestamp(shop.today) - pd.DateOffset(years=1)).date()
    recent = frame[(frame["day"] > year_ago) & (frame["day"] <= shop.today)]
    everybody = sorted(frame["customer"].unique())
    income = recent.groupby("customer")["amount"].sum().reindex(everybody, fill_value=0) / 100
    months = frame.assign(month=[day.strftime("%Y%m") for day in frame["day"]])
    affinity = months.groupby("customer")["month"].nunique().reindex(everybody)
    high = _border(income, shop.income_cut)
    average, loyal = (_border(affinity, cut) for cut in shop.affinity_cuts)
    names = {(row, column): name for row, column, name in CELLS}
    found = {}
    for customer in everybody:
        row = "High" if income[customer] >= high else "Low"
        column = (
            "Low" if affinity[customer] < average else "Average" if affinity[customer] < loyal else "High"
        )
        found[int(customer)] = (names[row, column], row, column)
    return found


def _border(values: Any, share: float) -> float:
    return float(values.sort_values().iloc[len(values) * round(share * 100) // 100])


# --- key figures ---------------------------------------------------------------------------------------

Row = tuple[date, str, str, str]


def figures_of(
    shop: Shop, everybody: dict[int, Walker], cells: dict[int, tuple[str, str, str]]
) -> dict[Row, float | None]:
    """Return value by first day of the period, figure, dimension and segment."""
    frame = shop.local
    frequency = {"month": "MS", "quarter": "QS", "year": "YS"}[shop.kpis.period]
    starts = [
        day.date()
        for day in pd.date_range(frame["day"].min() - timedelta(days=400), shop.today, freq=frequency)
    ]
    found: dict[Row, float | None] = {}
    for first, following in zip(starts, [*starts[1:], shop.today + timedelta(days=1)], strict=True):
        last = following - timedelta(days=1)
        within = frame[(frame["day"] >= first) & (frame["day"] <= last)]
        members = _members(everybody, cells, first, last)
        activity = _activity(within, everybody, cells, first, last)
        for dimension, segment in sorted(set(members) | set(activity)):
            figures = _figures(members.get((dimension, segment), (0, 0, 0)))
            figures |= activity.get((dimension, segment), {"active_customers": 0, "sales": 0, "income": 0})
            met = figures["customers_start"] + figures["customers_new"]  # type: ignore[operator]
            figures["active_rate"] = _ratio(figures["active_customers"], met)
            for name, value in figures.items():
                found[first, name, dimension, segment] = value
    return found


def _ratio(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if bottom and top is not None else None


def _figures(counts: tuple[int, int, int]) -> dict[str, float | None]:
    start, new, left = counts
    end = start + new - left
    return {
        "customers_start": start,
        "customers_new": new,
        "customers_left": left,
        "customers_end": end,
        "duration": _ratio(start, left),
        "churn_rate": _ratio(start - end, start),
        "retention_rate": _ratio(end - new, start),
        "gross_churn_rate": _ratio(left, start),
    }


def _stage_in(walker: Walker, first: date) -> str | None:
    """The stage at the start of a period, or the first one ever."""
    return walker.stage(first - timedelta(days=1)) or walker.stage(walker.relations[0][0])


def _members(
    everybody: dict[int, Walker], cells: dict[int, tuple[str, str, str]], first: date, last: date
) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Count per segment who was a customer at the start, who joined, and who of both left."""
    rows = []
    for customer, walker in everybody.items():
        for opened, closed in walker.relations:
            if opened > last or (closed is not None and closed < first):
                continue
            has_left = closed is not None and closed <= last
            was_there = opened < first
            stage = walker.stage(first - timedelta(days=1) if was_there else opened)
            for key in (("all", "all"), ("value.segment", cells[customer][0]), ("lifecycle.stage", stage)):
                rows.append((*key, was_there, not was_there, has_left))
    if not rows:
        return {}
    frame = pd.DataFrame(rows, columns=["dimension", "segment", "start", "new", "left"])
    counted: Any = frame.groupby(["dimension", "segment"])[["start", "new", "left"]].sum()
    return {key: (int(row.start), int(row.new), int(row.left)) for key, row in counted.iterrows()}


def _activity(
    within: Any, everybody: dict[int, Walker], cells: dict[int, tuple[str, str, str]], first: date, last: date
) -> dict[tuple[str, str], dict[str, float | None]]:
    rows = []
    for customer, bought in within.groupby("customer")["amount"]:
        walker = everybody[int(customer)]
        assert any(
            opened <= last and (closed is None or closed >= first) for opened, closed in walker.relations
        )
        keys = [("all", "all"), ("value.segment", cells[int(customer)][0])]
        for key in [*keys, ("lifecycle.stage", _stage_in(walker, first))]:
            rows.append((*key, 1, len(bought), bought.sum() / 100))
    frame = pd.DataFrame(rows, columns=["dimension", "segment", "active_customers", "sales", "income"])
    counted: Any = frame.groupby(["dimension", "segment"]).sum()
    return {key: dict(row) for key, row in counted.iterrows()}


def differences(found: dict[Row, float | None], expected: dict[Row, float | None]) -> list[str]:
    """Return the rows that differ; figures may differ in the last bits of a binary number."""
    lines = []
    for row in sorted(set(found) | set(expected)):
        one, other = found.get(row, math.inf), expected.get(row, math.inf)
        same = (
            one is other
            if one is None or other is None
            else math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)
        )
        if not same:
            lines.append(f"{row}: product {one}, pandas {other}")
    return lines
