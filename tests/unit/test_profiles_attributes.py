"""Fragments of several sources merge into one row of attributes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

import pyarrow as pa
import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.customers.profiles import RecordSource, attribute_types, attributes_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Attribute, Profile

START = datetime(2026, 1, 1)
CRM = RecordSource(name="crm", fields={"city": "text", "income": "money", "age": "integer"})
APP = RecordSource(name="app", fields={"city": "text", "age": "number"})
WEB = RecordSource(name="web", fields={"city": "text"})
Policy = Literal["latest", "precedence"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class Record(NamedTuple):
    profile: int
    source: str
    at: int
    received: int
    values: dict[str, object]


def engine_of(records: list[Record], sources: Sequence[RecordSource], profiles: int) -> DuckDBEngine:
    engine = DuckDBEngine(threads=1)
    engine.register("spine", pa.table({"profile": range(profiles), "is_known": [True] * profiles}))
    for source in sources:
        rows = [one for one in records if one.source == source.name]
        columns: dict[str, object] = {
            "profile": pa.array([one.profile for one in rows], pa.int64()),
            "event_id": pa.array([f"{place:04d}" for place in range(len(rows))], pa.string()),
            "at": pa.array([START + timedelta(hours=one.at) for one in rows], pa.timestamp("us")),
            "received": pa.array([START + timedelta(hours=one.received) for one in rows], pa.timestamp("us")),
        }
        types = {"text": pa.string(), "money": pa.int64(), "integer": pa.int64(), "number": pa.float64()}
        for name, kind in source.fields.items():
            columns[name] = pa.array([one.values.get(name) for one in rows], types[kind])
        engine.register(f"record.{source.name}", pa.table(columns))
    return engine


def rows_of(engine: DuckDBEngine, sql: str) -> list[dict[str, object]]:
    relation = engine.connection.sql(sql)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def merged(
    records: list[Record],
    attributes: dict[str, Attribute] | None = None,
    as_of: datetime | None = None,
    sources: Sequence[RecordSource] = (CRM, APP, WEB),
) -> dict[str, object]:
    """Return the attributes of profile 0."""
    sql = attributes_sql(sources, Profile(attributes=attributes or {}), "SEK", as_of=as_of)
    (row,) = rows_of(engine_of(records, sources, 1), sql)
    return row


def test_the_latest_record_decides_whatever_its_source() -> None:
    got = merged([Record(0, "crm", 1, 1, {"city": "Lund"}), Record(0, "app", 2, 2, {"city": "Kiruna"})])
    assert got["city"] == "Kiruna"


def test_a_later_record_overwrites_only_the_columns_its_source_has() -> None:
    got = merged(
        [Record(0, "crm", 1, 1, {"city": "Lund", "income": 1250, "age": 40}), Record(0, "web", 2, 2, {})]
    )
    assert got == {"profile": 0, "age": 40.0, "city": None, "income": 12.5}


def test_event_time_comes_before_arrival() -> None:
    got = merged([Record(0, "crm", 2, 2, {"city": "Lund"}), Record(0, "app", 1, 9, {"city": "Kiruna"})])
    assert got["city"] == "Lund"


def test_of_equal_event_times_the_later_arrival_decides() -> None:
    got = merged([Record(0, "app", 1, 1, {"city": "Kiruna"}), Record(0, "crm", 1, 2, {"city": "Lund"})])
    assert got["city"] == "Lund"


def test_an_explicit_null_clears_within_one_source() -> None:
    got = merged([Record(0, "web", 1, 1, {"city": "Lund"}), Record(0, "web", 2, 2, {"city": None})])
    assert got["city"] is None


PARTIAL = [RecordSource(name=one.name, fields=one.fields, is_partial=True) for one in (CRM, APP, WEB)]


def test_of_a_partial_source_a_record_clears_nothing_that_it_does_not_state() -> None:
    records = [
        Record(0, "crm", 1, 1, {"city": "Lund", "income": 1250}),
        Record(0, "crm", 2, 2, {"income": 50}),
        Record(0, "crm", 3, 3, {"age": 40}),
    ]
    expected = {"profile": 0, "age": 40.0, "city": "Lund", "income": 0.5}
    assert merged(records, sources=[PARTIAL[0], APP, WEB]) == expected


def test_a_partial_source_is_as_new_as_its_latest_statement_of_the_attribute() -> None:
    records = [
        Record(0, "crm", 1, 1, {"city": "Lund"}),
        Record(0, "app", 2, 2, {"city": "Kiruna"}),
        Record(0, "crm", 3, 3, {"age": 40}),
    ]
    assert merged(records, sources=[PARTIAL[0], APP, WEB])["city"] == "Kiruna"
    assert merged(records)["city"] is None
    assert merged([*records, Record(0, "web", 4, 4, {})], sources=PARTIAL)["city"] == "Kiruna"


def test_trust_in_a_partial_source_holds_until_it_states_something_else() -> None:
    policy = {"city": Attribute(policy="precedence", sources=("web", "crm"))}
    records = [
        Record(0, "web", 1, 1, {"city": "Lund"}),
        Record(0, "web", 2, 2, {}),
        Record(0, "crm", 5, 5, {"city": "Kiruna"}),
    ]
    assert merged(records, policy)["city"] == "Kiruna"
    assert merged(records, policy, sources=PARTIAL)["city"] == "Lund"


def test_as_of_an_instant_later_statements_of_a_partial_source_are_unknown() -> None:
    records = [Record(0, "crm", 1, 1, {"city": "Lund"}), Record(0, "crm", 2, 9, {"city": "Kiruna"})]
    at = START.replace(tzinfo=UTC)
    assert merged(records, as_of=at + timedelta(hours=5), sources=PARTIAL)["city"] == "Lund"
    assert merged(records, as_of=at + timedelta(hours=9), sources=PARTIAL)["city"] == "Kiruna"


def test_precedence_takes_the_first_source_with_a_value() -> None:
    policy = {"city": Attribute(policy="precedence", sources=("crm", "web"))}
    records = [Record(0, "web", 5, 5, {"city": "Kiruna"}), Record(0, "crm", 1, 1, {"city": "Lund"})]
    assert merged(records, policy)["city"] == "Lund"
    assert merged([*records, Record(0, "crm", 2, 2, {"city": None})], policy)["city"] == "Kiruna"


def test_sources_that_are_not_listed_do_not_count() -> None:
    policy = {"city": Attribute(policy="latest", sources=("crm",))}
    got = merged(
        [Record(0, "crm", 1, 1, {"city": "Lund"}), Record(0, "app", 2, 2, {"city": "Kiruna"})], policy
    )
    assert got["city"] == "Lund"


def test_as_of_an_instant_later_records_and_later_arrivals_are_unknown() -> None:
    records = [Record(0, "crm", 1, 1, {"city": "Lund"}), Record(0, "crm", 2, 9, {"city": "Kiruna"})]
    at = START.replace(tzinfo=UTC)
    assert merged(records, as_of=at + timedelta(hours=5))["city"] == "Lund"
    assert merged(records, as_of=at + timedelta(hours=9))["city"] == "Kiruna"
    assert merged(records, as_of=at)["city"] is None


def test_a_profile_without_records_has_a_row() -> None:
    assert merged([]) == {"profile": 0, "age": None, "city": None, "income": None}


def test_types_are_those_of_expressions() -> None:
    assert attribute_types([CRM, APP], Profile()) == {
        "age": Type.NUMBER,
        "city": Type.TEXT,
        "income": Type.NUMBER,
    }


def test_sources_that_disagree_on_a_type_are_named() -> None:
    other = RecordSource(name="web", fields={"city": "boolean"})
    with pytest.raises(WorkspaceError, match=r"P355 .*'city' \(crm: text, web: boolean\)"):
        attribute_types([CRM, other], Profile())


def test_a_policy_that_names_an_unknown_source_says_which_are_valid() -> None:
    with pytest.raises(WorkspaceError, match=r"P354 .*'crn'.*Valid: crm, app"):
        attribute_types([CRM, APP], Profile(attributes={"city": Attribute(sources=("crn",))}))


def test_a_policy_for_an_unknown_attribute_says_which_are_valid() -> None:
    with pytest.raises(WorkspaceError, match=r"P354 .*'citi'.*Valid: city"):
        attribute_types([CRM, APP], Profile(attributes={"citi": Attribute()}))


def _oracle(records: list[Record], profile: int, name: str, policy: str, *, is_partial: bool) -> object:
    """Read the policies plainly: the latest record of each source, then the policy over sources."""
    if is_partial:
        records = [one for one in records if one.values.get(name) is not None]
    latest = {}
    for record in sorted(records, key=lambda one: (one.at, one.received)):
        if record.profile == profile and name in {"crm": CRM, "app": APP, "web": WEB}[record.source].fields:
            latest[record.source] = record
    if policy == "precedence":
        trusted = [latest[one].values.get(name) for one in ("web", "crm", "app") if one in latest]
        return next((value for value in trusted if value is not None), None)
    newest = max(latest.values(), key=lambda one: (one.at, one.received), default=None)
    return None if newest is None else newest.values.get(name)


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_random_histories_merge_as_the_plain_reading_says(policy: Policy, is_partial: bool) -> None:
    chance = random.Random(5)
    times = chance.sample(range(10_000), 600)
    records = [
        Record(
            profile=chance.randrange(60),
            source=chance.choice(["crm", "app", "web"]),
            at=at // 3,
            received=at,
            values={"city": chance.choice([None, "Lund", "Kiruna", "Umeå"])},
        )
        for at in times
    ]
    trusted = ("web", "crm", "app")
    profile = Profile(attributes={"city": Attribute(policy=policy, sources=trusted)})
    sources = PARTIAL if is_partial else [CRM, APP, WEB]
    got = rows_of(engine_of(records, sources, 60), attributes_sql(sources, profile, "SEK"))
    assert {row["profile"]: row["city"] for row in got} == {
        one: _oracle(records, one, "city", policy, is_partial=is_partial) for one in range(60)
    }
