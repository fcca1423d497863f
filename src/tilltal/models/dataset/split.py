"""Time-ordered slices: learn from the past, calibrate later, accept on the latest.

    time ─►   train ... train │ (left out) │ calibrate │ (left out) │ test
              label windows end before ────┘           └── likewise

A label window must have ended before the next slice's features are taken; snapshots in between are left out
("purged": López de Prado 2018, Advances in Financial Machine Learning, ch. 7). The same customer may stand in
several slices at different instants: that is what the model will meet in use, where most of those it scores
were in its training. It is no leak, because the label of the later row lies after every label of the earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.core.time import Window
from tilltal.models.dataset.snapshots import label_end_day

_HELD_OUT = 4  # where there are too few snapshots, every fourth customer calibrates


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Days of the snapshots in each slice.

    Where `by_customer` is true there were too few snapshots for a slice of their own, and a quarter of the
    customers of `train` calibrates. An empty `test` means that no honest test was possible.
    """

    train: tuple[date, ...] = ()
    calibrate: tuple[date, ...] = ()
    test: tuple[date, ...] = ()
    left_out: tuple[date, ...] = ()
    by_customer: bool = False


def split_by_time(days: Sequence[date], horizon: Window) -> Split:
    """Assign snapshot days to slices: the last tests, the latest that ended before it calibrates, and so on.

    >>> from tilltal.core.time import parse_window
    >>> split = split_by_time([date(2026, month, 1) for month in range(1, 7)], parse_window("2 months"))
    >>> [day.month for day in split.train], [day.month for day in split.calibrate], split.test[0].month
    ([1, 2], [4], 6)
    """
    ordered = sorted(set(days))
    if not ordered:
        return Split()
    test = ordered[-1]
    before_test = [day for day in ordered if label_end_day(day, horizon) <= test]
    if not before_test:
        return Split(left_out=tuple(ordered))
    calibrate = before_test[-1]
    train = [day for day in ordered if label_end_day(day, horizon) <= calibrate]
    if not train:
        return _by_customer(ordered, before_test, test)
    return Split(
        train=tuple(train),
        calibrate=(calibrate,),
        test=(test,),
        left_out=tuple(day for day in ordered if day not in (*train, calibrate, test)),
    )


def final_split(days: Sequence[date], horizon: Window) -> Split:
    """Return the same procedure moved one slice on, for the model that goes into use.

    The slice that tested now calibrates, and everything that ended before it trains.
    """
    tested = split_by_time(days, horizon)
    used = (*tested.train, *tested.calibrate, *tested.left_out)
    train = tuple(
        sorted(day for day in used if tested.test and label_end_day(day, horizon) <= tested.test[0])
    )
    left_out = tuple(sorted(day for day in used if day not in train))
    return Split(train=train, calibrate=tested.test, left_out=left_out)


def held_out_customers(profiles: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return true for about a quarter of the customers, the same in all their rows.

    Profile ids are keyed hashes already; one multiplication (Knuth's) makes the choice depend on the seed.
    """
    mixed = (profiles.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    held: NDArray[np.bool_] = (mixed >> np.uint64(32)) % np.uint64(_HELD_OUT) == 0
    return held


def _by_customer(ordered: Sequence[date], before_test: Sequence[date], test: date) -> Split:
    left_out = tuple(day for day in ordered if day not in before_test and day != test)
    return Split(
        train=tuple(before_test),
        calibrate=tuple(before_test),
        test=(test,),
        left_out=left_out,
        by_customer=True,
    )
