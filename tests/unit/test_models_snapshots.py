"""Snapshots lie at local midnights and leave room for complete labels."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tilltal.models.dataset.snapshots import plan_snapshots

STOCKHOLM = ZoneInfo("Europe/Stockholm")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=STOCKHOLM)


def test_the_latest_label_window_ends_with_the_data() -> None:
    plan = plan_snapshots(at("2026-06-30T00:00"), "30 days", "1 month", 3, STOCKHOLM)
    assert [snapshot.day for snapshot in plan] == [date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]
    assert plan[-1].label_end == at("2026-06-30T00:00")


def test_midnights_follow_the_clock_change() -> None:
    plan = plan_snapshots(at("2026-04-15T08:00"), "7 days", "14 days", 2, STOCKHOLM)
    assert [snapshot.at for snapshot in plan] == [
        datetime(2026, 3, 24, 23, tzinfo=UTC),
        datetime(2026, 4, 7, 22, tzinfo=UTC),
    ]


def test_a_horizon_in_hours_ends_so_many_hours_later() -> None:
    (snapshot,) = plan_snapshots(at("2026-06-30T12:00"), "36 hours", "1 day", 1, STOCKHOLM)
    assert snapshot.at == at("2026-06-29T00:00")
    assert snapshot.label_end == at("2026-06-30T12:00")
    assert snapshot.label_end_day == date(2026, 7, 1)


def test_snapshots_before_the_first_data_are_left_out() -> None:
    plan = plan_snapshots(
        at("2026-06-30T00:00"), "30 days", "1 month", 24, STOCKHOLM, earliest=at("2026-04-01T09:00")
    )
    assert [snapshot.day for snapshot in plan] == [date(2026, 4, 30), date(2026, 5, 31)]


def test_history_that_reaches_year_one_does_not_break() -> None:
    assert plan_snapshots(datetime(1, 3, 1, tzinfo=UTC), "12 months", "1 month", 5, ZoneInfo("UTC")) == ()


@given(
    as_of=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(STOCKHOLM)),
    horizon=st.sampled_from(["1 day", "30 days", "1 month", "6 months", "5 hours", "1 year"]),
    every=st.sampled_from(["1 day", "2 weeks", "1 month", "3 months"]),
)
def test_labels_are_complete_and_instants_ascend(as_of: datetime, horizon: str, every: str) -> None:
    plan = plan_snapshots(as_of, horizon, every, 6, STOCKHOLM)
    assert len(plan) == 6
    assert all(snapshot.label_end <= as_of for snapshot in plan)
    assert all(snapshot.at < snapshot.label_end for snapshot in plan)
    instants = [snapshot.at for snapshot in plan]
    assert instants == sorted(set(instants))
    assert all(moment.astimezone(STOCKHOLM).hour == 0 for moment in instants)
