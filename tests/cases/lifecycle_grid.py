"""Cases of kind `value_grid`: income and affinity of customers, or the postings behind the income."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
from tests.cases.lifecycle_stages import read_date
from tests.cases.report import Mismatch, case_id, unknown_keys

from tilltal.core.names import quote
from tilltal.core.time import day_start, parse_instant, sql_timestamp, utc_naive
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.online import Evaluator, Event
from tilltal.customers.traits.schema import EventType
from tilltal.customers.value import borders_of, standing_of, value_steps
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.segments import Axis, Cell, Cuts, Value

_CUSTOMER = {"customer", "net_income", "net_income_12_months", "brand_affinity", "cell", "note"}
_THRESHOLDS = {"income_high_from", "affinity_average_from", "affinity_high_from"}
_COLUMNS = ["net_income", "brand_affinity", "name"]
_MINOR = 1_000_000  # cases may state amounts to more decimals than a currency has
_SCHEMAS = {"posting": EventType(fields={"amount": Type.NUMBER}, money={"amount": _MINOR})}
_TRAITS = compile_traits(
    {
        "net_income_12mo": Trait(measure="sum", of="amount", from_=("posting",), window="12 months"),
    },
    _SCHEMAS,
)


class Customer(msgspec.Struct, frozen=True):
    """A customer of a case: postings, or the income they make, and what is expected."""

    number: int
    postings: tuple[Event, ...]
    income: float | None
    affinity: float | None


Answer = dict[int, tuple[float, str | None]]


def grid_mismatches(
    case: Mapping[str, Any], defaults: Mapping[str, Any], zone: ZoneInfo
) -> Iterator[Mismatch]:
    """Yield what differs, in both forms."""
    name, lines = case_id(case), case["customers"]
    yield from _unknown(name, case, defaults)
    thresholds = {**defaults.get("thresholds", {}), **(case.get("thresholds") or {})}
    value = grid_of(thresholds, _cells({**defaults, **case}))
    customers = [_customer(number, line, zone) for number, line in enumerate(lines)]
    clock = Clock(_evening(case["date"], zone) if "date" in case else datetime(2026, 1, 1, tzinfo=zone), zone)
    for form, ask in (("python", _in_python), ("sql", _in_sql)):
        answers = ask(value, customers, clock)
        for number, line in enumerate(lines):
            income, cell = answers[number]
            who = f"{line['customer']} ({form})"
            if "cell" in line and cell != line["cell"]:
                yield Mismatch(case=name, what=f"cell of {who}", expected=line["cell"], got=cell)
            expected = line.get("net_income_12_months")
            if expected is not None and abs(income - expected) > 1e-6:
                yield Mismatch(case=name, what=f"income of {who}", expected=expected, got=income)


def _unknown(name: str, case: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Mismatch]:
    yield from unknown_keys(name, "thresholds", case.get("thresholds") or {}, _THRESHOLDS)
    for line in case["customers"]:
        yield from unknown_keys(name, "customers", line, _CUSTOMER)
        for posting in line.get("net_income") or ():
            yield from unknown_keys(name, "net_income", posting, {"on", "amount", "note"})
    columns = {**defaults, **case}.get("grid_columns", _COLUMNS)
    if sorted(columns) != sorted(_COLUMNS):
        yield Mismatch(case=name, what="grid_columns", expected=_COLUMNS, got=columns)


def _cells(given: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the grid with their columns in the order of `_COLUMNS`."""
    places = [given.get("grid_columns", _COLUMNS).index(column) for column in _COLUMNS]
    return [[row[place] for place in places] for row in given["grid"]]


def grid_of(thresholds: Mapping[str, float], cells: Sequence[Sequence[str]]) -> Value:
    """Return the grid of 2 classes of income and 3 of affinity."""
    average, high = float(thresholds["affinity_average_from"]), float(thresholds["affinity_high_from"])
    return Value(
        income=Axis(
            value="net_income_12mo",
            cuts=Cuts(values=(float(thresholds["income_high_from"]),)),
            classes=("Low", "High"),
        ),
        affinity=Axis(
            value="brand_affinity", cuts=Cuts(values=(average, high)), classes=("Low", "Average", "High")
        ),
        cells=tuple(Cell(income=income, affinity=affinity, name=name) for income, affinity, name in cells),
    )


def _evening(text: str, zone: ZoneInfo) -> datetime:
    """The last instant of a local date."""
    return day_start(read_date(text, zone) + timedelta(days=1), zone) - timedelta(microseconds=1)


def _customer(number: int, line: Mapping[str, Any], zone: ZoneInfo) -> Customer:
    postings = tuple(
        Event(
            type="posting",
            at=(at := parse_instant(posting["on"], zone)),
            received=at,
            event_id=str(UUID(int=number << 32 | index)),
            fields={"amount": round(Decimal(str(posting["amount"])) * _MINOR)},
        )
        for index, posting in enumerate(line.get("net_income") or ())
    )
    stated = None if line.get("net_income") is not None else line.get("net_income_12_months")
    return Customer(number, postings, stated, line.get("brand_affinity"))


def _income(customer: Customer, clock: Clock) -> float | None:
    if not customer.postings:
        return customer.income
    found = Evaluator(_TRAITS, _SCHEMAS).evaluate(customer.postings, clock)["net_income_12mo"]
    return found if isinstance(found, float) else None


def _in_python(value: Value, customers: Sequence[Customer], clock: Clock) -> Answer:
    known = {customer.number: (_income(customer, clock), customer.affinity) for customer in customers}
    borders = borders_of(value, list(known.values()))
    return {
        number: (income or 0.0, standing_of(value, borders, income, affinity).segment)
        for number, (income, affinity) in known.items()
    }


def _in_sql(value: Value, customers: Sequence[Customer], clock: Clock) -> Answer:
    with DuckDBEngine(threads=1) as engine:
        _register(engine, customers, clock)
        plan = trait_plan(_TRAITS, _SCHEMAS, clock)
        for trait_step in plan.steps:
            engine.run(f"CREATE TABLE {quote(trait_step.name)} AS {trait_step.sql}")
        engine.run(f"""CREATE TABLE profiles AS SELECT profile, brand_affinity,
            COALESCE(net_income_12mo, stated) AS net_income_12mo
            FROM given JOIN ({plan.select}) USING (profile)""")
        schema = {"net_income_12mo": Type.NUMBER, "brand_affinity": Type.NUMBER}
        for step in value_steps(value, schema, clock, relation="profiles"):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows(
            'SELECT profile, income, "value.segment" FROM value JOIN value_axes USING (profile)'
        )
    return {profile: (income, cell) for profile, income, cell in rows}


def _register(engine: DuckDBEngine, customers: Sequence[Customer], clock: Clock) -> None:
    postings = [(customer.number, event) for customer in customers for event in customer.postings]
    instants = pa.array([utc_naive(event.at) for _, event in postings], pa.timestamp("us"))
    events = {
        "profile": pa.array([number for number, _ in postings], pa.int64()),
        "event_id": pa.array([event.event_id for _, event in postings], pa.string()),
        "at": instants,
        "received": instants,
        "amount": pa.array([event.fields["amount"] for _, event in postings], pa.int64()),
    }
    engine.register("postings", pa.table(events))
    known = f'SELECT * FROM postings WHERE "at" <= {sql_timestamp(clock.now)}'
    engine.run(f'CREATE VIEW "event.posting" AS {known}')
    given = {
        "profile": pa.array([customer.number for customer in customers], pa.int64()),
        "stated": pa.array([customer.income for customer in customers], pa.float64()),
        "brand_affinity": pa.array([customer.affinity for customer in customers], pa.float64()),
    }
    engine.register("given", pa.table(given))
    engine.run("CREATE VIEW spine AS SELECT profile, TRUE AS is_known FROM given")
