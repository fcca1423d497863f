"""The lifecycle in SQL says of every customer what the lifecycle in Python says of one."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.lifecycle_stages import run_batch

from tilltal.customers.lifecycle.stage import Entry, Terms, Timeline, What
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.segments import Lifecycle, Moments, StageNames

START = date(2025, 1, 1)
SPAN = 400
KINDS = [What.OPEN, What.CLOSE, What.NOTICE, What.WITHDRAWN, *[What.READING] * 5]
VALUES = [0.0, 1.0, 2.7, 3.0, 9.0, 10.0, 63.0, 70.0, -10.0, None, float("inf")]
TERMS = [
    Terms(),
    Terms(new_days=30, trend_days=45, tolerance=0.1),
    Terms(new_days=1, trend_days=1, tolerance=0.3),
]
NAMES = StageNames()


def histories(seed: int, count: int) -> dict[int, list[Entry]]:
    """Random histories in order of time, with many entries on the same dates."""
    chance = random.Random(seed)
    made = {}
    for profile in range(count):
        span = chance.choice([3, 40, SPAN])
        entries = [
            Entry(START + timedelta(days=chance.randrange(span)), chance.choice(KINDS), chance.choice(VALUES))
            for _ in range(chance.randrange(1, 14))
        ]
        made[profile] = sorted(entries, key=lambda entry: entry.on)
    return made


def assert_forms_agree(made: dict[int, list[Entry]], terms: Terms, until: date) -> None:
    timelines = {profile: Timeline(entries, terms) for profile, entries in made.items()}
    transitions, standings = [], []
    relations: list[tuple[int, date, date | None]] = []
    for profile, timeline in timelines.items():
        for one in timeline.transitions(until):
            before = one.before.called(NAMES) if one.before else None
            transitions.append((profile, one.on, before, one.after.called(NAMES)))
        standing = timeline.standing(until)
        if standing:
            standings.append(
                (profile, standing.stage.called(NAMES), standing.since, standing.days, standing.opened)
            )
        relations.extend((profile, one.opened, one.closed) for one in timeline.relations(until))
    with DuckDBEngine() as engine:
        lifecycle = Lifecycle(
            opened=Moments(events=("opened",)),
            new_days=terms.new_days,
            trend_days=terms.trend_days,
            tolerance=terms.tolerance,
        )
        run_batch(engine, lifecycle, made, until)
        assert engine.rows("SELECT * FROM transitions ORDER BY profile, date") == transitions
        assert engine.rows("SELECT * FROM lifecycle ORDER BY profile") == standings
        in_order = "SELECT * FROM relations ORDER BY profile, opened, COALESCE(closed, DATE '9999-12-31')"
        assert engine.rows(in_order) == relations


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("until", [START + timedelta(days=90), START + timedelta(days=SPAN + 100)])
def test_sql_equals_python_on_random_histories(terms: Terms, until: date) -> None:
    assert_forms_agree(histories(20260704, 3_000), terms, until)


entries = st.builds(
    Entry,
    st.integers(0, SPAN).map(lambda days: START + timedelta(days=days)),
    st.sampled_from(KINDS),
    st.sampled_from(VALUES),
)
terms = st.builds(
    Terms,
    new_days=st.integers(1, 120),
    trend_days=st.integers(1, 120),
    tolerance=st.sampled_from([0.0, 0.05, 0.1, 0.35, 0.99999]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, max_size=12), terms, st.integers(0, SPAN + 130))
def test_sql_equals_python_on_any_history(found: list[Entry], chosen: Terms, days: int) -> None:
    ordered = sorted(found, key=lambda entry: entry.on)
    assert_forms_agree({1: ordered}, chosen, START + timedelta(days=days))


@settings(max_examples=300, deadline=None)
@given(st.lists(entries, max_size=12), terms)
def test_transitions_are_the_days_on_which_the_stage_differs(found: list[Entry], chosen: Terms) -> None:
    timeline = Timeline(found, chosen)
    days = [START + timedelta(days=number) for number in range(-1, SPAN + 130)]
    stages = [timeline.stage(day) for day in days]
    changes = [
        (day, before, after)
        for day, before, after in zip(days[1:], stages, stages[1:], strict=False)
        if before is not after
    ]
    assert [(one.on, one.before, one.after) for one in timeline.transitions(days[-1])] == changes


@settings(max_examples=200, deadline=None)
@given(st.lists(entries, max_size=12), terms, st.integers(0, SPAN))
def test_the_future_does_not_change_the_past(found: list[Entry], chosen: Terms, days: int) -> None:
    day = START + timedelta(days=days)
    known = [entry for entry in found if entry.on <= day]
    assert Timeline(found, chosen).transitions(day) == Timeline(known, chosen).transitions(day)
