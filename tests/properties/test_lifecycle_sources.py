"""What the SQL reads out of events and holdings is what plain loops over one customer's days find."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.customers.lifecycle.plan import lifecycle_steps
from tilltal.customers.lifecycle.stage import Entry, Relation, Terms, Timeline, What
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments

ZONE = ZoneInfo("Europe/Stockholm")
FIRST = datetime(2024, 9, 20, tzinfo=UTC)
NOW = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
TODAY = NOW.astimezone(ZONE).date()
KINDS = ("buy", "login", "leave", "stay", "score")
FIELDS = {"amount": Type.NUMBER, "points": Type.NUMBER, "shop": Type.TEXT}
SCHEMAS = {kind: EventType(fields=FIELDS, money={"amount": 100}) for kind in KINDS}


class Event(msgspec.Struct, frozen=True):
    kind: str
    at: datetime
    received: datetime
    id: str
    amount: int | None
    points: float | None
    shop: str | None

    @property
    def day(self) -> date:
        return self.at.astimezone(ZONE).date()


class Holding(msgspec.Struct, frozen=True):
    product: str
    opened: date
    closed: date | None
    received: datetime


class Customer(msgspec.Struct, frozen=True):
    events: tuple[Event, ...]
    holdings: tuple[Holding, ...]


def customers(seed: int, count: int) -> list[Customer]:
    chance = random.Random(seed)
    made = []
    for number in range(count):
        span = chance.choice([3, 60, 490])
        events: list[Event] = []
        for index in range(chance.randrange(14)):
            seconds = chance.randrange(span * 24) * 3600 + chance.choice([0, 0, 1799])
            at = FIRST + timedelta(seconds=seconds)
            if events and chance.random() < 0.2:
                at = events[-1].at
            events.append(
                Event(
                    kind=chance.choice([*KINDS, "buy", "buy", "score"]),
                    at=at,
                    received=at + timedelta(hours=chance.choice([0, 0, 5])),
                    id=str(UUID(int=number << 16 | index)),
                    amount=chance.choice([None, 0, 100, 250, 1000]),
                    points=chance.choice([None, float("nan"), 1.0, 2.0, 7.5]),
                    shop=chance.choice([None, "a", "b", "c"]),
                )
            )
        holdings = []
        for _ in range(chance.randrange(4)):
            opened, product = (
                FIRST.date() + timedelta(days=chance.randrange(490)),
                chance.choice(["card", "loan"]),
            )
            for _ in range(chance.choice([1, 1, 2, 3])):
                closed = chance.choice(
                    [None, opened + timedelta(days=chance.choice([-1, 0, 1, 30, 30, 200]))]
                )
                received = FIRST + timedelta(days=chance.randrange(3))
                holdings.append(Holding(product, opened, closed, received))
        chance.shuffle(holdings)
        events.sort(key=lambda one: (one.at, one.received, one.id))
        made.append(Customer(tuple(events), tuple(holdings)))
    return made


# --- the same in loops ---------------------------------------------------------------------------------

Moment = tuple[date, datetime, int, What]
DAY_START = datetime.min.replace(tzinfo=UTC)
ORDER = {What.OPEN: 1, What.CLOSE: 2, What.NOTICE: 3, What.WITHDRAWN: 4}


def matching(customer: Customer, kinds: tuple[str, ...], where: str | None) -> list[Event]:
    assert where in (None, "amount > 2"), "the loops know this one condition"
    found = [event for event in customer.events if event.kind in kinds]
    return [event for event in found if where is None or (event.amount or 0) > 200]


def moment(what: What, day: date, at: datetime = DAY_START) -> Moment:
    return day, at, ORDER[what], what


def each(what: What, events: list[Event]) -> list[Moment]:
    return [moment(what, event.day, event.at) for event in events]


def is_held(customer: Customer, products: tuple[str, ...], day: date) -> bool:
    return any(
        holding.opened <= day and (holding.closed is None or day < holding.closed)
        for holding in customer.holdings
        if "any" in products or holding.product in products
        if not any(is_news(other, holding) for other in customer.holdings)
    )


def is_news(other: Holding, holding: Holding) -> bool:
    """Say whether what one statement says is replaced by another."""
    is_same = (other.product, other.opened) == (holding.product, holding.opened)
    return is_same and other.received > holding.received


def held_changes(customer: Customer, products: tuple[str, ...], what: What, *, begins: bool) -> list[Moment]:
    days = [FIRST.date() + timedelta(days=number) for number in range(-1, 500)]
    return [
        moment(what, day)
        for before, day in pairwise(days)
        if is_held(customer, products, day) is begins and is_held(customer, products, before) is not begins
    ]


def silences(what: What, days: list[date], length: int) -> list[Moment]:
    found = []
    for day, following in pairwise([*sorted(days), date.max]):
        if (following - day).days > length:
            found.append(moment(what, day + timedelta(days=length + 1)))
    return found


def endings(what: What, given: Moments | None, customer: Customer, opened: list[date]) -> list[Moment]:
    if given is None:
        return []
    if given.silence:
        watched = [event.day for event in matching(customer, given.silence, given.where)]
        return silences(what, watched + opened, given.days)
    if given.holding:
        return held_changes(customer, given.holding, what, begins=False)
    return each(what, matching(customer, given.events, given.where))


def beginnings(what: What, given: Moments, customer: Customer, closings: list[Moment]) -> list[Moment]:
    if given.holding:
        return held_changes(customer, given.holding, what, begins=True)
    events = each(what, matching(customer, given.events or given.first_event, given.where))
    if given.events or what is What.WITHDRAWN:
        return events
    firsts = events[:1]
    for day, at, *_ in closings:
        firsts += [event for event in events if event[:2] > (day, at)][:1]
    return firsts


def moments_of(lifecycle: Lifecycle, customer: Customer) -> list[Moment]:
    if lifecycle.opened.first_event:
        closings = endings(What.CLOSE, lifecycle.closed, customer, [])
        openings = beginnings(What.OPEN, lifecycle.opened, customer, closings)
    else:
        openings = beginnings(What.OPEN, lifecycle.opened, customer, [])
        closings = endings(What.CLOSE, lifecycle.closed, customer, [day for day, *_ in openings])
    found = openings + closings
    found += endings(What.NOTICE, lifecycle.notice, customer, [day for day, *_ in openings])
    if lifecycle.notice_withdrawn:
        found += beginnings(What.WITHDRAWN, lifecycle.notice_withdrawn, customer, [])
    return sorted(one for one in found if one[0] <= TODAY)


def is_first_day(day: date, every: str) -> bool:
    if every == "week":
        return day.isoweekday() == 1
    return day.day == 1 and (every == "month" or day.month in (1, 4, 7, 10))


def reading(given: Engagement, events: list[Event]) -> float:
    if given.measure == "exists":
        return float(bool(events))
    if given.measure == "count":
        return float(len([event for event in events if given.of is None or event.shop is not None]))
    if given.measure == "distinct":
        return float(len({event.shop for event in events} - {None}))
    values = finite(given, events)
    if not values:
        return 0.0
    match given.measure:
        case "sum":
            return sum(values)
        case "avg":
            return sum(values) / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "first":
            return values[0]
        case _:
            return values[-1]


def finite(given: Engagement, events: list[Event]) -> list[float]:
    found = [event.amount if given.of == "amount" else event.points for event in events]
    return [float(value) for value in found if value is not None and value == value]


def readings_of(given: Engagement | None, customer: Customer, relations: tuple[Relation, ...]) -> list[Entry]:
    if given is None:
        return []
    events = matching(customer, given.from_, given.where)
    if given.measure is None:
        return [Entry(event.day, What.READING, value) for event in events for value in finite(given, [event])]
    day, starts = date(2023, 9, 1), []
    while day <= TODAY:
        starts += [day] if is_first_day(day, given.every) else []
        day += timedelta(days=1)
    found = []
    for begin, end in zip(starts, starts[given.over :], strict=False):
        if any(one.opened < end and (one.closed is None or end < one.closed) for one in relations):
            within = [event for event in events if begin <= event.day < end]
            found.append(Entry(end, What.READING, reading(given, within)))
    return found


def timeline_of(lifecycle: Lifecycle, customer: Customer) -> Timeline:
    history = [Entry(day, what) for day, _, _, what in moments_of(lifecycle, customer)]
    relations = Timeline(history, Terms.of(lifecycle)).relations(TODAY)
    return Timeline(history + readings_of(lifecycle.engagement, customer, relations), Terms.of(lifecycle))


# --- and in SQL ----------------------------------------------------------------------------------------


def register(engine: DuckDBEngine, made: list[Customer]) -> None:
    events = [(profile, event) for profile, customer in enumerate(made) for event in customer.events]
    columns: dict[str, Any] = {
        "profile": pa.array([profile for profile, _ in events], pa.int64()),
        "kind": [event.kind for _, event in events],
        "event_id": [event.id for _, event in events],
        "at": pa.array([event.at.replace(tzinfo=None) for _, event in events], pa.timestamp("us")),
        "received": pa.array(
            [event.received.replace(tzinfo=None) for _, event in events], pa.timestamp("us")
        ),
        "amount": pa.array([event.amount for _, event in events], pa.int64()),
        "points": pa.array([event.points for _, event in events], pa.float64(), from_pandas=False),
        "shop": pa.array([event.shop for _, event in events], pa.string()),
    }
    engine.register("everything", pa.table(columns))
    for kind in KINDS:
        engine.run(f"CREATE TABLE \"event.{kind}\" AS SELECT * FROM everything WHERE kind = '{kind}'")
    holdings = [(profile, holding) for profile, customer in enumerate(made) for holding in customer.holdings]
    table = {
        "profile": pa.array([profile for profile, _ in holdings], pa.int64()),
        "product": [holding.product for _, holding in holdings],
        "opened": pa.array([holding.opened for _, holding in holdings], pa.date32()),
        "closed": pa.array([holding.closed for _, holding in holdings], pa.date32()),
        "received": pa.array([one.received.replace(tzinfo=None) for _, one in holdings], pa.timestamp("us")),
    }
    engine.register("holdings", pa.table(table))


BUYS = Moments(first_event=("buy",))
RETAILER = Lifecycle(
    opened=BUYS,
    closed=Moments(silence=("buy",), days=60),
    engagement=Engagement(from_=("buy",), measure="count", every="month", over=3),
)
HELD = Lifecycle(opened=Moments(holding=("any",)), closed=Moments(holding=("any",)))


def engaged(**parts: Any) -> Lifecycle:
    return msgspec.structs.replace(
        HELD, new_days=20, trend_days=40, engagement=Engagement(**{"from_": ("buy", "score"), **parts})
    )


LIFECYCLES = {
    "retailer": RETAILER,
    "narrow retailer": Lifecycle(
        opened=Moments(first_event=("buy",), where="amount > 2"),
        closed=Moments(silence=("buy",), where="amount > 2", days=1),
        engagement=Engagement(from_=("buy",), measure="sum", of="amount", every="week", over=1),
    ),
    "silent to purchases and logins": Lifecycle(
        opened=BUYS,
        closed=Moments(silence=("buy", "login"), days=45),
        notice=Moments(silence=("buy",), days=20),
    ),
    "leaves by event, returns by purchase": Lifecycle(opened=BUYS, closed=Moments(events=("leave",))),
    "never leaves": Lifecycle(opened=BUYS),
    "all by events": Lifecycle(
        opened=Moments(events=("login",)),
        closed=Moments(events=("leave",)),
        notice=Moments(events=("stay",)),
        notice_withdrawn=Moments(first_event=("score",)),
        engagement=Engagement(from_=("score", "buy"), of="points"),
    ),
    "silence after opening": Lifecycle(
        opened=Moments(holding=("card",)),
        closed=Moments(silence=("buy",), days=30),
        notice=Moments(silence=("login",), days=10),
        notice_withdrawn=Moments(events=("login", "buy")),
    ),
    "products": HELD,
    "one product, notice by another": Lifecycle(
        opened=Moments(holding=("card",)),
        closed=Moments(holding=("card",)),
        notice=Moments(holding=("loan",)),
        notice_withdrawn=Moments(holding=("loan",)),
    ),
    "reads money": engaged(of="amount"),
    "counts a field by quarter": engaged(measure="count", of="shop", every="quarter", over=1),
    "distinct": engaged(measure="distinct", of="shop", every="month", over=2),
    "exists by week": engaged(measure="exists", every="week", over=2),
    "sum": engaged(measure="sum", of="amount", where="amount > 2"),
    "avg": engaged(measure="avg", of="points", every="week", over=4),
    "min": engaged(measure="min", of="points"),
    "max": engaged(measure="max", of="points"),
    "first": engaged(measure="first", of="points"),
    "last": engaged(measure="last", of="amount", every="week", over=3),
}


@pytest.mark.parametrize(
    ("name", "since"),
    [
        *((name, None) for name in LIFECYCLES),
        *(
            (name, FIRST.date())
            for name in ("retailer", "exists by week", "sum", "counts a field by quarter")
        ),
    ],
)
def test_sql_finds_what_loops_find(name: str, since: date | None) -> None:
    lifecycle, made = LIFECYCLES[name], customers(20260101, 400)
    transitions: list[tuple[int, date, str | None, str]] = []
    relations: list[tuple[int, date, date | None]] = []
    for profile, customer in enumerate(made):
        timeline = timeline_of(lifecycle, customer)
        relations += [(profile, one.opened, one.closed) for one in timeline.relations(TODAY)]
        for one in timeline.transitions(TODAY):
            before = one.before.called(lifecycle.names) if one.before else None
            transitions.append((profile, one.on, before, one.after.called(lifecycle.names)))
    with DuckDBEngine() as engine:
        register(engine, made)
        for step in lifecycle_steps(lifecycle, SCHEMAS, Clock(NOW, ZONE), since=since):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        ordered = "SELECT * FROM relations ORDER BY profile, opened, COALESCE(closed, DATE '9999-12-31')"
        assert engine.rows(ordered) == relations
        assert engine.rows("SELECT * FROM transitions ORDER BY profile, date") == transitions
    assert len({stage for *_, stage in transitions}) > 1, "the histories must have something to tell"
