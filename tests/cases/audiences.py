"""Audience cases: each check in SQL as of its instant, in Python, and live as a server has it.

Timelines are told in Python and live, and each change is confirmed by SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from tests.cases.audience_live import FIELDS, LiveForm
from tests.cases.audience_setup import IDENTIFY, Setup, setup_of, stored
from tests.cases.report import Document, Mismatch, case_id, unknown_keys

from tilltal.core.errors import WorkspaceError
from tilltal.core.names import quote
from tilltal.core.time import parse_instant, sql_timestamp, utc_naive
from tilltal.customers.audiences import Membership, audiences_sql
from tilltal.customers.profiles import RecordSource, attributes_sql
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.online import Evaluator, Event, known
from tilltal.customers.traits.timeline import changes, moments_of, reads_now
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Profile

_CASE = {
    "id",
    "title",
    "customers",
    "traits",
    "attributes",
    "audience",
    "checks",
    "timeline",
    "note",
    "needs",
}
_CHECK = {"at", "values", "members"}
_TRAIT = {"agg", "event", "of", "where", "window", "unit"}
_EVENT = {"at", "event", "id", "received", "props"}
_TIMELINE = {"after", "until", "changes"}
_TOLERANCE = 1e-6
_ARROW = {
    Type.TEXT: pa.string(),
    Type.ANY: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
}
_STAMP = {
    "profile": pa.int64(),
    "event_id": pa.string(),
    "at": pa.timestamp("us"),
    "received": pa.timestamp("us"),
}

State = dict[str, dict[str, object]]  # customer → trait, attribute or the audience → value


def run(document: Document) -> list[Mismatch]:
    """Run every case of a file."""
    zone = ZoneInfo(document.get("workspace_time_zone", "UTC"))
    return [found for case in document["cases"] for found in _run_case(case, zone)]


def _run_case(case: Mapping[str, Any], zone: ZoneInfo) -> list[Mismatch]:
    unknown = _unknown(case)
    if unknown:
        return unknown
    try:
        setup = setup_of(case, zone)
    except WorkspaceError as error:
        return [Mismatch(case=case_id(case), what="definitions", expected="accepted", got=str(error))]
    with DuckDBEngine() as engine:
        batch = _Batch(setup, zone, engine)
        online = _Online(setup, zone)
        live = LiveForm(setup, zone)
        found: list[Mismatch] = []
        for check in case.get("checks") or ():
            at = parse_instant(check["at"], zone)
            for how, form in (("SQL", batch), ("Python", online), ("live", live)):
                state = _named(form.state(at), setup)
                found += _differences(case_id(case), f"{how} at {check['at']}", check, state)
        if case.get("timeline"):
            found += _timeline(case, setup, zone, online, batch)
            found += _live_timeline(case, setup, zone, live)
    return found


def _unknown(case: Mapping[str, Any]) -> list[Mismatch]:
    name = case_id(case)
    found = unknown_keys(name, "case", case, _CASE)
    for trait, given in (case.get("traits") or {}).items():
        found += unknown_keys(name, f"trait {trait}", given, _TRAIT)
    for rows in (case.get("customers") or {}).values():
        for row in rows or ():
            found += unknown_keys(name, "event", row, _EVENT)
    for check in case.get("checks") or ():
        found += unknown_keys(name, "check", check, _CHECK)
    return found + unknown_keys(name, "timeline", case.get("timeline") or {}, _TIMELINE)


class _Online:
    """The case in Python."""

    def __init__(self, setup: Setup, zone: ZoneInfo) -> None:
        self._setup = setup
        self._zone = zone
        self._evaluator = Evaluator(setup.traits, setup.schemas)
        self._membership = Membership([setup.audience])

    def state(self, at: datetime) -> State:
        return {name: self.customer(number, at) for number, name in enumerate(self._setup.customers)}

    def customer(self, number: int, at: datetime) -> dict[str, object]:
        clock = Clock(at, self._zone)
        profile = self._attributes(self._setup.events[number], at) | self._evaluator.evaluate(
            self._setup.events[number], clock
        )
        return {**profile, self._setup.audience.name: bool(self._membership.of(profile, clock))}

    def _attributes(self, events: Iterable[Event], at: datetime) -> dict[str, object]:
        values: dict[str, object] = dict.fromkeys(self._setup.attributes)
        for event in known(events, at):
            if event.type == IDENTIFY:
                values |= {name: event.fields[name] for name in values if name in event.fields}
        kinds = self._setup.attributes
        return {
            name: _as_number(value) if kinds[name] is Type.NUMBER else value for name, value in values.items()
        }


def _as_number(value: object) -> object:
    return float(value) if isinstance(value, int) else value


class _Batch:
    """The case in SQL: all events in tables, views of what is known at an instant."""

    def __init__(self, setup: Setup, zone: ZoneInfo, engine: DuckDBEngine) -> None:
        self._setup = setup
        self._zone = zone
        self._engine = engine
        for name, schema in setup.schemas.items():
            rows = [
                (number, event)
                for number, events in enumerate(setup.events)
                for event in events
                if event.type == name
            ]
            engine.register(f"all.{name}", _table(rows, schema.fields))
        self._records = [
            RecordSource(name=name, fields={name: FIELDS[kind]}) for name, kind in setup.attributes.items()
        ]
        for (
            name,
            kind,
        ) in setup.attributes.items():  # each key is its own source: an event states what it holds
            engine.register(f"record.{name}", _table(self._stated(name), {name: kind}))
        numbers = pa.array(range(len(setup.customers)), pa.int64())
        engine.register("spine", pa.table({"profile": numbers}))

    def state(self, at: datetime) -> State:
        sql = self._profile_sql(Clock(at, self._zone))
        kinds = {trait.name: trait.type for trait in self._setup.traits} | self._setup.attributes
        kinds[self._setup.audience.name] = Type.BOOLEAN
        rows = self._engine.rows(f"SELECT {', '.join(map(quote, kinds))} FROM ({sql}) ORDER BY profile")
        return {
            customer: {name: _read(value, kinds[name]) for name, value in zip(kinds, row, strict=True)}
            for customer, row in zip(self._setup.customers, rows, strict=True)
        }

    def _stated(self, attribute: str) -> list[tuple[int, Event]]:
        return [
            (number, event)
            for number, events in enumerate(self._setup.events)
            for event in events
            if event.type == IDENTIFY and attribute in event.fields
        ]

    def _profile_sql(self, clock: Clock) -> str:
        now = sql_timestamp(clock.now)
        for name in self._setup.schemas:
            self._engine.run(
                f"CREATE OR REPLACE VIEW {quote('event.' + name)} AS SELECT * FROM {quote('all.' + name)} "
                f'WHERE received <= {now} AND "at" <= {now}'
            )
        plan = trait_plan(self._setup.traits, self._setup.schemas, clock)
        for step in plan.steps:
            self._engine.run(f"CREATE OR REPLACE TEMP TABLE {quote(step.name)} AS {step.sql}")
        profiles = plan.select
        if self._setup.attributes:
            stated = attributes_sql(self._records, Profile(), "EUR", as_of=clock.now)
            profiles = (
                f"SELECT * FROM ({plan.select}) AS traits JOIN ({stated}) AS attributes USING (profile)"
            )
        return audiences_sql([self._setup.audience], f"({profiles})", clock)


def _table(rows: Iterable[tuple[int, Event]], fields: Mapping[str, Type]) -> pa.Table:
    rows = list(rows)
    columns = {
        "profile": [number for number, _ in rows],
        "event_id": [event.event_id for _, event in rows],
        "at": [utc_naive(event.at) for _, event in rows],
        "received": [utc_naive(event.received) for _, event in rows],
    }
    arrays = {name: pa.array(values, _STAMP[name]) for name, values in columns.items()}
    for name, kind in fields.items():
        arrays[name] = pa.array([stored(event.fields.get(name), kind) for _, event in rows], _ARROW[kind])
    return pa.table(arrays)


def _read(value: object, kind: Type) -> object:
    return json.loads(value) if kind is Type.ANY and isinstance(value, str) else value


def _named(state: State, setup: Setup) -> State:
    """Return a state under the case's own names."""
    names = {column: name for name, column in setup.columns.items()}
    return {
        customer: {names.get(column, column): value for column, value in values.items()}
        for customer, values in state.items()
    }


def _differences(name: str, what: str, check: Mapping[str, Any], state: State) -> list[Mismatch]:
    found = []
    for customer, values in (check.get("values") or {}).items():
        got = {key: state.get(customer, {}).get(key, "no such value") for key in values or {}}
        if not all(_is_same(values[key], got[key]) for key in got):
            found.append(Mismatch(case=name, what=f"{what}: {customer}", expected=values, got=got))
    if "members" in check:
        expected = sorted(check["members"] or ())
        members = sorted(customer for customer, values in state.items() if values["audience.case"] is True)
        if members != expected:
            found.append(Mismatch(case=name, what=f"{what}: members", expected=expected, got=members))
    return found


def _is_same(expected: object, got: object) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return abs(expected - got) <= _TOLERANCE
    return expected == got


def _timeline(
    case: Mapping[str, Any], setup: Setup, zone: ZoneInfo, online: _Online, batch: _Batch
) -> list[Mismatch]:
    after, until, expected = _expected_timeline(case, zone)
    is_moving = reads_now(setup.traits, [setup.audience])
    found = []
    for number, customer in enumerate(setup.customers):

        def members(at: datetime, number: int = number) -> frozenset[str]:
            return frozenset({"case"} if online.customer(number, at)["audience.case"] else ())

        moments = moments_of(setup.traits, setup.events[number], after, until, zone)
        for change in changes(members, moments, after, until, is_moving=is_moving):
            found.append((change.at, customer, "enter" if change.is_entry else "leave"))
    mismatches = _timeline_differences(case_id(case), "timeline", expected, sorted(found))
    return mismatches + _confirmed(case_id(case), sorted(found), batch)


def _live_timeline(case: Mapping[str, Any], setup: Setup, zone: ZoneInfo, live: LiveForm) -> list[Mismatch]:
    after, until, expected = _expected_timeline(case, zone)
    found = [
        (at, customer, "enter" if is_entry else "leave")
        for number, customer in enumerate(setup.customers)
        for at, is_entry in live.moves(number, after, until)
    ]
    return _timeline_differences(case_id(case), "timeline (live)", expected, sorted(found))


def _expected_timeline(
    case: Mapping[str, Any], zone: ZoneInfo
) -> tuple[datetime, datetime, list[tuple[datetime, str, str]]]:
    given = case["timeline"]
    after, until = parse_instant(given["after"], zone), parse_instant(given["until"], zone)
    return (
        after,
        until,
        sorted(
            (parse_instant(each["at"], zone), each["customer"], each["change"])
            for each in given.get("changes") or ()
        ),
    )


def _timeline_differences(
    name: str, what: str, expected: list[tuple[datetime, str, str]], found: list[tuple[datetime, str, str]]
) -> list[Mismatch]:
    if found == expected:
        return []
    shown = [[[at.isoformat(), *rest] for at, *rest in each] for each in (expected, found)]
    return [Mismatch(case=name, what=what, expected=shown[0], got=shown[1])]


def _confirmed(name: str, found: list[tuple[datetime, str, str]], batch: _Batch) -> list[Mismatch]:
    """Compare each change with the states that SQL gives at its instant and a microsecond before."""
    mismatches = []
    for at, customer, change in found:
        states = [
            batch.state(moment)[customer]["audience.case"] for moment in (at - timedelta(microseconds=1), at)
        ]
        expected = [change == "leave", change == "enter"]
        if states != expected:
            what = f"SQL before and at the change of {customer} at {at.isoformat()}"
            mismatches.append(Mismatch(case=name, what=what, expected=expected, got=states))
    return mismatches
