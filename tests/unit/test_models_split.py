"""Slices follow time, and no label window reaches into a later slice's features."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilltal.core.time import parse_window
from tilltal.models.dataset.snapshots import label_end_day
from tilltal.models.dataset.split import Split, final_split, held_out_customers, split_by_time

MONTHS = [date(2025, month, 1) for month in range(1, 10)]


def test_with_a_horizon_of_one_step_nothing_is_left_out() -> None:
    split = split_by_time(MONTHS, parse_window("1 month"))
    assert split == Split(train=tuple(MONTHS[:7]), calibrate=(MONTHS[7],), test=(MONTHS[8],))


def test_a_longer_horizon_leaves_out_what_overlaps() -> None:
    split = split_by_time(MONTHS, parse_window("3 months"))
    assert (split.train, split.calibrate, split.test) == (tuple(MONTHS[:3]), (MONTHS[5],), (MONTHS[8],))
    assert split.left_out == (MONTHS[3], MONTHS[4], MONTHS[6], MONTHS[7])


def test_two_snapshots_calibrate_by_customers() -> None:
    split = split_by_time(MONTHS[:2], parse_window("1 month"))
    assert split.by_customer
    assert (split.train, split.calibrate, split.test) == ((MONTHS[0],), (MONTHS[0],), (MONTHS[1],))


def test_a_horizon_longer_than_the_history_allows_no_test() -> None:
    assert split_by_time(MONTHS, parse_window("1 year")).test == ()
    assert final_split(MONTHS, parse_window("1 year")).train == ()
    assert split_by_time([], parse_window("1 month")) == Split()


def test_the_model_in_use_learns_from_what_calibrated_and_is_calibrated_on_what_tested() -> None:
    split = final_split(MONTHS, parse_window("3 months"))
    assert split.train == tuple(MONTHS[:6])
    assert split.calibrate == (MONTHS[8],)


def test_a_customer_is_held_out_in_all_rows_or_none() -> None:
    ids = np.random.default_rng(1).integers(0, 2**62, 40_000)
    held = held_out_customers(ids, seed=1)
    assert np.array_equal(held, held_out_customers(ids, seed=1))
    assert not np.array_equal(held, held_out_customers(ids, seed=2))
    # binomial: 5 standard deviations of sqrt(.25 * .75 / 40,000)
    assert abs(held.mean() - 0.25) < 0.011


@given(
    days=st.lists(st.dates(date(2020, 1, 1), date(2026, 1, 1)), max_size=30),
    horizon=st.sampled_from(["1 day", "30 days", "3 months", "1 year", "5 hours"]),
)
def test_no_label_window_reaches_into_a_later_slice(days: list[date], horizon: str) -> None:
    window = parse_window(horizon)
    for split in (split_by_time(days, window), final_split(days, window)):
        later = [(split.train, split.test), (split.calibrate, split.test)]
        if not split.by_customer:
            later.append((split.train, split.calibrate))
        for before, after in later:
            assert all(label_end_day(one, window) <= other for one in before for other in after)
        named = {*split.train, *split.calibrate, *split.test, *split.left_out}
        assert named in (set(days), set()) or split.left_out == tuple(sorted(set(days)))
