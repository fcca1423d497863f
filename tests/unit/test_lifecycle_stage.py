from __future__ import annotations

from datetime import date, timedelta

import pytest

from tilltal.customers.lifecycle.stage import (
    Entry,
    Relation,
    Stage,
    Standing,
    Terms,
    Timeline,
    What,
    is_decreased,
)
from tilltal.workspace.definitions.segments import Lifecycle, Moments, StageNames

DAY = date(2026, 1, 1)
OPEN, CLOSE, NOTICE, WITHDRAWN = What.OPEN, What.CLOSE, What.NOTICE, What.WITHDRAWN


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def timeline(*entries: tuple[int, What | float]) -> Timeline:
    """A timeline of (day, what) and, for readings, (day, value)."""
    history = [
        Entry(after(day), what) if isinstance(what, What) else Entry(after(day), What.READING, what)
        for day, what in entries
    ]
    return Timeline(history, Terms())


@pytest.mark.parametrize(
    ("entries", "day", "stage"),
    [
        pytest.param([], 0, None, id="nothing"),
        pytest.param([(0, CLOSE), (1, NOTICE), (2, 5.0)], 9, None, id="never opened"),
        pytest.param([(0, CLOSE), (1, OPEN)], 1, Stage.NEW, id="a closing of nothing is no closing"),
        pytest.param([(0, NOTICE), (1, OPEN)], 1, Stage.NEW, id="a notice from before does not count"),
        pytest.param([(0, OPEN), (50, OPEN)], 90, Stage.LOYAL, id="open already"),
        pytest.param([(0, OPEN), (5, NOTICE), (8, OPEN)], 8, Stage.NEW, id="opening takes the notice back"),
        pytest.param([(0, OPEN), (5, CLOSE), (8, NOTICE), (9, OPEN)], 9, Stage.COMEBACK, id="notice after"),
        pytest.param([(0, OPEN), (5, NOTICE), (6, CLOSE), (7, WITHDRAWN)], 7, Stage.REGAIN, id="too late"),
        pytest.param([(0, OPEN), (5, WITHDRAWN)], 5, Stage.NEW, id="nothing to withdraw"),
        pytest.param([(0, OPEN), (5, CLOSE), (6, CLOSE), (7, OPEN)], 7, Stage.COMEBACK, id="closed twice"),
        pytest.param([(0, OPEN), (0, CLOSE)], 0, Stage.REGAIN, id="the later entry of a date wins"),
        pytest.param([(0, OPEN), (9, CLOSE), (9, OPEN)], 9, Stage.COMEBACK, id="back on the same date"),
        pytest.param([(0, OPEN), (9, NOTICE), (9, WITHDRAWN)], 9, Stage.NEW, id="withdrawn on the same date"),
    ],
)
def test_odd_orders(entries: list[tuple[int, What]], day: int, stage: Stage | None) -> None:
    assert timeline(*entries).stage(after(day)) is stage


def test_entries_may_come_in_any_order_of_dates() -> None:
    assert timeline((30, CLOSE), (0, OPEN)).stage(after(30)) is Stage.REGAIN


def test_readings_of_a_former_relation_do_not_count() -> None:
    found = timeline((0, OPEN), (1, 100.0), (10, CLOSE), (20, OPEN), (120, 1.0))
    assert found.stage(after(120)) is Stage.LOYAL


def test_a_reading_on_the_opening_date_counts_wherever_it_stands() -> None:
    assert timeline((0, 100.0), (0, OPEN), (95, 1.0)).stage(after(95)) is Stage.RETAIN


def test_the_last_reading_of_a_date_wins_also_as_the_first_one() -> None:
    assert timeline((0, OPEN), (0, 100.0), (0, 10.0), (95, 50.0)).stage(after(95)) is Stage.LOYAL
    assert timeline((0, OPEN), (0, 10.0), (0, 100.0), (95, 50.0)).stage(after(95)) is Stage.RETAIN


def test_readings_that_are_no_numbers_are_no_readings() -> None:
    entries = [Entry(DAY, OPEN), Entry(DAY, What.READING, 9.0), Entry(after(95), What.READING, None)]
    entries.append(Entry(after(96), What.READING, float("nan")))
    assert Timeline(entries, Terms()).stage(after(100)) is Stage.LOYAL


@pytest.mark.parametrize("tolerance", [0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.7])
def test_a_fall_by_exactly_the_tolerance_is_none(tolerance: float) -> None:
    hundredths = round(tolerance * 100)
    for whole in range(1, 2_000):
        earlier, kept = whole / 10, whole * (100 - hundredths) / 1000
        assert not is_decreased(kept, earlier, 1 - tolerance), (earlier, kept)
        assert is_decreased(kept * (1 - 1e-9), earlier, 1 - tolerance), (earlier, kept)


def test_without_tolerance_equal_is_kept_and_less_is_not() -> None:
    assert not is_decreased(0.0, 0.0, 1.0)
    assert is_decreased(99.999, 100.0, 1.0)


def test_standing_counts_days_from_one() -> None:
    found = timeline((0, OPEN), (200, NOTICE))
    assert found.standing(after(-1)) is None
    assert found.standing(after(0)) == Standing(stage=Stage.NEW, since=DAY, days=1, opened=DAY)
    assert found.standing(after(89)) == Standing(stage=Stage.NEW, since=DAY, days=90, opened=DAY)
    assert found.standing(after(90)) == Standing(stage=Stage.LOYAL, since=after(90), days=1, opened=DAY)
    assert found.standing(after(204)) == Standing(stage=Stage.REGAIN, since=after(200), days=5, opened=DAY)


def test_a_comeback_within_a_comeback_is_one_stay_in_the_stage() -> None:
    found = timeline((0, OPEN), (10, CLOSE), (20, OPEN), (40, CLOSE), (40, OPEN))
    standing = found.standing(after(41))
    assert standing == Standing(stage=Stage.COMEBACK, since=after(20), days=22, opened=after(40))


def test_relations_close_on_the_first_day_without() -> None:
    found = timeline((0, OPEN), (5, NOTICE), (10, CLOSE), (20, OPEN))
    assert found.relations(after(9)) == (Relation(DAY, None),)
    assert found.relations(after(10)) == (Relation(DAY, after(10)),)
    assert found.relations(after(20)) == (Relation(DAY, after(10)), Relation(after(20), None))


@pytest.mark.parametrize("day", [date(1, 1, 1), date(9999, 12, 31)])
def test_the_ends_of_the_calendar_are_dates_like_others(day: date) -> None:
    found = Timeline([Entry(day, OPEN), Entry(day, What.READING, 1.0)], Terms())
    assert [one.after for one in found.transitions(day)] == [Stage.NEW]


def test_terms_and_names_come_from_the_workspace() -> None:
    names = StageNames(comeback="Återkommen")
    lifecycle = Lifecycle(opened=Moments(holding=("any",)), new_days=30, tolerance=0.2, names=names)
    assert Terms.of(lifecycle) == Terms(new_days=30, trend_days=90, tolerance=0.2)
    assert Stage.COMEBACK.called(lifecycle.names) == "Återkommen"
