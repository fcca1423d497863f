from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.customers.lifecycle.stage import Relation
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.insight.kpi_tables import kpi_steps
from tilltal.insight.kpis import Counts, churn_rate, counts_of, duration, gross_churn_rate, retention_rate
from tilltal.insight.penetration import penetration_steps
from tilltal.insight.periods import periods_until
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.policies import Kpis

TODAY = date(2026, 5, 19)
CLOCK = Clock(datetime.combine(TODAY, time(15), UTC), ZoneInfo("Europe/Stockholm"))
ALL = "all"


class Person(msgspec.Struct, frozen=True):
    relations: tuple[Relation, ...]
    holdings: tuple[tuple[str, date, date | None], ...]
    persona: str | None


def people(count: int) -> list[Person]:
    chance = random.Random(7)

    def day(earliest: date) -> date:
        return earliest + timedelta(days=chance.choice([0, 1, chance.randrange(200), chance.randrange(900)]))

    made = []
    for _ in range(count):
        relations: list[Relation] = []
        opened = day(date(2023, 11, 1))
        while opened <= TODAY and len(relations) < 4:
            closed = day(opened)
            relations.append(Relation(opened, closed if closed <= TODAY else None))
            opened = day(closed) if closed <= TODAY else date.max
        holdings = []
        for _ in range(chance.randrange(4)):
            begin = day(date(2023, 11, 1))
            end = day(begin)
            holdings.append((chance.choice(["card", "loan"]), begin, chance.choice([None, end])))
        made.append(Person(tuple(relations), tuple(holdings), chance.choice([None, "saver", "spender"])))
    return made


def loaded(everybody: list[Person]) -> DuckDBEngine:
    engine = DuckDBEngine()
    relations = [(number, one) for number, person in enumerate(everybody) for one in person.relations]
    table = {
        "profile": pa.array([number for number, _ in relations], pa.int64()),
        "opened": pa.array([one.opened for _, one in relations], pa.date32()),
        "closed": pa.array([one.closed for _, one in relations], pa.date32()),
    }
    engine.register("relations", pa.table(table))
    holdings = [(number, *one) for number, person in enumerate(everybody) for one in person.holdings]
    held = {
        "profile": pa.array([number for number, *_ in holdings], pa.int64()),
        "product": pa.array([product for _, product, *_ in holdings], pa.string()),
        "received": pa.array([datetime(2020, 1, 1)] * len(holdings), pa.timestamp("us")),
        "opened": pa.array([opened for *_, opened, _ in holdings], pa.date32()),
        "closed": pa.array([closed for *_, closed in holdings], pa.date32()),
    }
    engine.register("holdings", pa.table(held))
    profiles = {
        "profile": pa.array(range(len(everybody)), pa.int64()),
        "persona.name": pa.array([person.persona for person in everybody], pa.string()),
    }
    engine.register("profiles", pa.table(profiles))
    return engine


def test_the_four_ratios() -> None:
    counts = Counts(start=200, new=30, left=50, end=180)
    assert duration(counts).value == 4
    assert churn_rate(counts).value == 0.1
    assert retention_rate(counts).value == 0.75
    assert gross_churn_rate(counts).value == 0.25


def test_without_a_denominator_there_is_no_figure() -> None:
    counts = Counts(start=0, new=3, left=0, end=3)
    ratios = duration, churn_rate, retention_rate, gross_churn_rate
    assert [ratio(counts).value for ratio in ratios] == [None] * 4


def test_start_and_end_differ_by_who_joined_and_who_left() -> None:
    relations = [one for person in people(500) for one in person.relations]
    for month in range(1, 13):
        first = date(2025, month, 1)
        counts = counts_of(relations, first, first + timedelta(days=27))
        assert counts.end == counts.start + counts.new - counts.left
        assert counts.left > 0


@pytest.mark.parametrize("kind", ["month", "quarter", "year"])
def test_the_last_period_ends_today(kind: str) -> None:
    periods = periods_until(kind, TODAY, 6)
    bounds = [periods.bounds(number) for number in range(periods.first, periods.last + 1)]
    assert len(bounds) == 6
    assert bounds[-1][1] == TODAY
    assert all(end + timedelta(days=1) == start for (_, end), (start, _) in pairwise(bounds))


@pytest.mark.parametrize(("kind", "count"), [("month", 120), ("month", 3), ("quarter", 9), ("year", 2)])
def test_tables_say_what_counting_says(kind: str, count: int) -> None:
    everybody = people(400)
    kpis = msgspec.convert({"period": kind, "periods": count, "by": ["persona.name", "value.segment"]}, Kpis)
    periods = periods_until(kind, TODAY, count)
    with loaded(everybody) as engine:
        for step in kpi_steps(kpis, {}, CLOCK, frozenset({"profile", "persona.name"})):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows("SELECT period_start, period_end, kpi, dimension, segment, value FROM kpis")
    found = {tuple(row[:5]): row[5] for row in rows}
    assert {row[3] for row in found} == {ALL, "persona.name"}
    segments: dict[tuple[str, str], list[Relation]] = {}
    for person in everybody:
        for key in ((ALL, ALL), ("persona.name", person.persona or "-")):
            segments.setdefault(key, []).extend(person.relations)
    checked = 0
    for number in range(periods.first, periods.last + 1):
        first, last = periods.bounds(number)
        for key, relations in segments.items():
            counts = counts_of(relations, first, last)
            if (first, last, "customers_start", *key) not in found:
                assert counts == Counts(start=0, new=0, left=0, end=0)
                continue
            for name, ratio in (("duration", duration), ("churn_rate", churn_rate)):
                assert found[first, last, name, *key] == ratio(counts).value
            assert found[first, last, "retention_rate", *key] == retention_rate(counts).value
            assert found[first, last, "gross_churn_rate", *key] == gross_churn_rate(counts).value
            assert found[first, last, "customers_new", *key] == counts.new
            assert found[first, last, "customers_left", *key] == counts.left
            checked += 1
    assert checked >= 2 * len(segments)


def test_penetration_counts_customers_who_hold_the_product() -> None:
    everybody = people(400)
    kpis = Kpis(period="quarter", periods=8, by=("persona.name",))
    periods = periods_until("quarter", TODAY, 8)
    with loaded(everybody) as engine:
        for step in penetration_steps(kpis, CLOCK, frozenset({"persona.name"})):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows(
            "SELECT period_end, product, dimension, segment, holders, customers, value FROM penetration"
        )
    found = {tuple(row[:4]): tuple(row[4:]) for row in rows}
    assert len(found) == len(rows)

    def at(day: date, opened: date, closed: date | None) -> bool:
        return opened <= day and (closed is None or closed > day)

    def counted(day: date, key: tuple[str, str]) -> dict[str, tuple[int, int, float]]:
        members = [
            person
            for person in everybody
            if key == (ALL, ALL) or key[1] == (person.persona or "-")
            if any(at(day, one.opened, one.closed) for one in person.relations)
        ]
        products: Counter[str] = Counter()
        for person in members:
            products.update({name for name, opened, closed in person.holdings if at(day, opened, closed)})
        return {name: (n, len(members), n / len(members)) for name, n in products.items()}

    expected = {}
    for number in range(periods.first, periods.last + 1):
        _, end = periods.bounds(number)
        for product, figures in counted(end, (ALL, ALL)).items():
            expected[end, product, ALL, ALL] = figures
    for segment in ("-", "saver", "spender"):
        for product, figures in counted(TODAY, ("persona.name", segment)).items():
            expected[TODAY, product, "persona.name", segment] = figures
    assert found == expected
    assert len(expected) == 2 * (8 + 3)


def test_activity_follows_the_local_calendar_and_money_its_currency() -> None:
    schemas = {
        "payment": EventType(fields={"fee": Type.NUMBER}, money={"fee": 1000}),
        "login": EventType(fields={}),
    }
    kpis = Kpis(active=("login", "payment"), sales=("payment",), income=("payment", "fee"), by=(), periods=2)
    with DuckDBEngine() as engine:
        engine.run("CREATE TABLE profiles AS SELECT UNNEST([1, 2, 3]) AS profile")
        engine.run("""CREATE TABLE relations AS SELECT profile, DATE '2020-01-01' AS opened,
            CAST(NULL AS DATE) AS closed FROM profiles WHERE profile < 3""")
        engine.run("""CREATE TABLE "event.payment" AS SELECT * FROM (VALUES
            (1, TIMESTAMP '2026-04-30 21:59:59', 1500), (1, TIMESTAMP '2026-04-30 22:00:00', 2500),
            (3, TIMESTAMP '2026-05-02 12:00:00', 7000), (1, TIMESTAMP '2019-05-02 12:00:00', 9000)
            ) AS t(profile, "at", fee)""")
        engine.run("""CREATE TABLE "event.login" AS SELECT * FROM (VALUES
            (1, TIMESTAMP '2026-05-03 12:00:00'), (2, TIMESTAMP '2026-05-03 12:00:00')
            ) AS t(profile, "at")""")
        for step in kpi_steps(kpis, schemas, CLOCK, frozenset()):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows("SELECT MONTH(period_start), kpi, value FROM kpis")
    found = {(month, kpi): value for month, kpi, value in rows}
    names = ("active_customers", "active_rate", "sales", "income")
    assert [found[4, name] for name in names] == [1, 0.5, 1, 1.5]
    assert [found[5, name] for name in names] == [2, 1, 2, 9.5], "who is no customer is not an active one"


def test_a_relation_within_the_first_of_few_periods_is_not_lost() -> None:
    kpis = Kpis(periods=1, by=())
    with DuckDBEngine() as engine:
        engine.run("CREATE TABLE profiles AS SELECT 1 AS profile")
        engine.run(
            "CREATE TABLE relations AS SELECT 1 AS profile, DATE '2026-05-01' AS opened, NULL::DATE AS closed"
        )
        for step in kpi_steps(kpis, {}, CLOCK, frozenset()):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows("SELECT kpi, value FROM kpis")
    found: dict[str, float | None] = dict(rows)
    counts = [found[f"customers_{name}"] for name in ("start", "new", "left", "end")]
    assert counts == [0, 1, 0, 1]


def test_a_closing_told_later_ends_a_holding() -> None:
    rows = [(datetime(2026, 1, 5), None), (datetime(2026, 3, 2), date(2026, 3, 1))]
    told = pa.table(
        {
            "profile": pa.array([1, 1], pa.int64()),
            "product": ["card", "card"],
            "received": pa.array([received for received, _ in rows], pa.timestamp("us")),
            "opened": pa.array([date(2026, 1, 5)] * 2, pa.date32()),
            "closed": pa.array([closed for _, closed in rows], pa.date32()),
        }
    )
    relations = pa.table(
        {
            "profile": pa.array([1], pa.int64()),
            "opened": pa.array([date(2026, 1, 1)], pa.date32()),
            "closed": pa.array([None], pa.date32()),
        }
    )
    with DuckDBEngine(threads=1) as engine:
        engine.register("holdings", told)
        engine.register("relations", relations)
        clock = Clock(datetime(2026, 6, 30, 12, tzinfo=UTC), ZoneInfo("UTC"))
        held = penetration_steps(Kpis(), clock, frozenset())[1]
        rows = engine.rows(f"SELECT opened, closed FROM ({held.sql})")
        assert rows == [(date(2026, 1, 5), date(2026, 3, 1))]
