"""Allocation on problems small enough to see the answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilltal.decisions.allocation.allocate import Allocation, allocate
from tilltal.decisions.allocation.curve import value_curve
from tilltal.decisions.allocation.problem import Floats, Households, Minimum, Problem, Resource

NAN = float("nan")


def array(*rows: list[float]) -> Floats:
    return np.array(rows, dtype=np.float64)


def problem(
    values: Floats,
    *,
    resources: tuple[Resource, ...] = (),
    minimums: tuple[Minimum, ...] = (),
    households: Households | None = None,
    mandatory: list[bool] | None = None,
) -> Problem:
    return Problem(
        options=tuple("abcdefgh"[: values.shape[1]]),
        values=values,
        resources=resources,
        minimums=minimums,
        households=households,
        mandatory=None if mandatory is None else np.array(mandatory),
    )


def calls(limit: float, *use: float) -> Resource:
    return Resource(name="calls", limit=limit, use=np.array(use))


def chosen(made: Allocation) -> list[int]:
    return [int(option) for option in made.choice]


def test_without_limits_everybody_gets_the_best_or_nothing() -> None:
    made = allocate(problem(array([1, 2], [5, 4], [-1, NAN], [0, NAN], [NAN, NAN])))
    assert chosen(made) == [1, 0, -1, -1, -1]
    assert made.objective == made.bound == 7
    assert made.gap == 0


def test_a_capacity_goes_to_those_who_lose_most_without() -> None:
    # calls are better for all, but only the second and the third lose much with a letter
    values = array([10, 9], [10, 2], [10, 1], [10, 8])
    made = allocate(problem(values, resources=(calls(2, 1, 0),)))
    assert chosen(made) == [1, 0, 0, 1]
    assert made.objective == 37
    assert made.usage.tolist() == [2]
    assert 2 <= made.prices[0] <= 8  # the third call is worth 2, the second one was worth 8


def test_equal_customers_are_served_in_their_order() -> None:
    made = allocate(problem(np.full((5, 1), 3.0), resources=(calls(2, 1),)))
    assert chosen(made) == [0, 0, -1, -1, -1]


def test_equal_options_are_chosen_in_their_order() -> None:
    assert chosen(allocate(problem(np.full((2, 3), 3.0)))) == [0, 0]


@pytest.mark.parametrize("limit", [0.0, 0.9])
def test_a_capacity_below_one_contact_serves_nobody(limit: float) -> None:
    made = allocate(problem(np.full((3, 1), 3.0), resources=(calls(limit, 1),)))
    assert chosen(made) == [-1, -1, -1]
    assert made.bound == 0


def test_a_capacity_larger_than_needed_costs_nothing() -> None:
    made = allocate(problem(np.full((3, 1), 3.0), resources=(calls(100, 1),)))
    assert made.objective == 9
    assert made.prices.tolist() == [0]


def test_nobody_and_nothing_to_allocate() -> None:
    made = allocate(problem(np.zeros((0, 2)), resources=(calls(1, 1, 0),)))
    assert made.choice.shape == (0,)
    assert allocate(problem(np.zeros((3, 0)))).choice.tolist() == [-1, -1, -1]


def test_what_a_contact_takes_may_differ_by_customer() -> None:
    use = array([3], [1], [1], [1])
    hours = Resource(name="hours", limit=3, use=use)
    made = allocate(problem(array([4], [2], [2], [2]), resources=(hours,)))
    assert chosen(made) == [-1, 0, 0, 0]
    assert made.usage.tolist() == [3]


def test_a_household_gets_its_best_contacts() -> None:
    values = array([1, 2], [5, 4], [3, 3], [7, 1])
    at_home = Households(ids=np.array([0, 0, 0, -1]), limit=2)
    assert chosen(allocate(problem(values, households=at_home))) == [-1, 0, 0, 0]


def test_customers_without_household_are_alone() -> None:
    alone = Households(ids=np.array([-1, -1, -1]), limit=1)
    assert chosen(allocate(problem(np.ones((3, 1)), households=alone))) == [0, 0, 0]


def test_a_minimum_is_met_at_the_least_loss() -> None:
    values = array([10, 9], [10, 2], [10, 7], [10, -8])
    least = Minimum(name="b", at_least=2, options=np.array([False, True]))
    made = allocate(problem(values, minimums=(least,)))
    assert chosen(made) == [1, 0, 1, 0]
    assert made.reached.tolist() == [2]
    assert 3 <= made.minimum_prices[0] <= 8
    assert made.shortfalls == ()


def test_a_minimum_may_cost_more_than_it_brings() -> None:
    least = Minimum(name="a", at_least=1, options=np.array([True]))
    made = allocate(problem(array([-5], [-2], [-9]), minimums=(least,)))
    assert chosen(made) == [-1, 0, -1]
    assert made.objective == -2


SHORT = [
    pytest.param(array([1, 1], [NAN, 1]), (), None, 1, "Only 1 customers are eligible.", id="eligible"),
    pytest.param(
        np.ones((4, 2)), (calls(1, 1, 0),), None, 1, "calls is enough for 1 contacts at most.", id="capacity"
    ),
    pytest.param(
        np.ones((4, 2)),
        (),
        Households(ids=np.zeros(4, dtype=np.int64), limit=1),
        1,
        "The limit per household leaves 1 of 4 eligible customers.",
        id="household",
    ),
    pytest.param(
        np.ones((4, 2)),
        (calls(0, 1, 0),),
        None,
        0,
        "calls is enough for 0 contacts at most.",
        id="nothing of it",
    ),
]


@pytest.mark.parametrize(("values", "resources", "households", "reached", "reason"), SHORT)
def test_a_minimum_out_of_reach_is_met_as_far_as_it_goes(
    values: Floats,
    resources: tuple[Resource, ...],
    households: Households | None,
    reached: int,
    reason: str,
) -> None:
    least = Minimum(name="a", at_least=3, options=np.array([True, False]))
    made = allocate(problem(values, resources=resources, minimums=(least,), households=households))
    assert [(each.minimum, each.reached) for each in made.shortfalls] == [("a", reached)]
    assert made.shortfalls[0].reason == reason


def test_minimums_that_exclude_each_other_say_so() -> None:
    both = tuple(
        Minimum(name=name, at_least=2, options=np.array(flags))
        for name, flags in (("a", [True, False]), ("b", [False, True]))
    )
    made = allocate(problem(np.ones((3, 2)), minimums=both))
    assert sum(made.reached.tolist()) == 3
    assert "together" in made.shortfalls[0].reason


def test_mandatory_options_go_first_and_to_as_many_as_possible() -> None:
    # the notice is worth nothing, and the second customer's takes twice as much
    values = array([0, 9], [0, 9], [0, 9], [NAN, 9])
    paper = Resource(name="paper", limit=3, use=array([1, 1], [2, 1], [1, 1], [1, 1]))
    made = allocate(problem(values, resources=(paper,), mandatory=[True, False]))
    assert chosen(made) == [0, 1, 0, -1]
    assert made.mandatory_missed == 1
    assert made.objective == 9


def test_mandatory_options_count_for_minimums_and_households() -> None:
    values = array([-1, 9], [NAN, 9], [NAN, 9])
    least = Minimum(name="a", at_least=1, options=np.array([True, False]))
    at_home = Households(ids=np.array([0, 0, 1]), limit=1)
    made = allocate(problem(values, minimums=(least,), households=at_home, mandatory=[True, False]))
    assert chosen(made) == [0, -1, 1]
    assert made.shortfalls == ()


def test_a_price_is_what_one_more_unit_brings() -> None:
    rng = np.random.default_rng(5)
    values = rng.exponential(10, (5_000, 2))
    made, more = (
        allocate(problem(values, resources=(calls(limit, 1, 0), calls(800, 0, 1)))) for limit in (500, 520)
    )
    assert (more.objective - made.objective) / 20 == pytest.approx(made.prices[0], rel=0.05)


def test_the_curve_passes_the_present_value_and_bends_downwards() -> None:
    rng = np.random.default_rng(6)
    values = rng.exponential(10, (3_000, 2))
    values[:100, 1] = np.nan
    given = problem(
        values,
        resources=(calls(400, 1, 0.5),),
        minimums=(Minimum(name="b", at_least=50, options=np.array([False, True])),),
        mandatory=[False, False],
    )
    made = allocate(given)
    points = value_curve(given, made, 0, (0.5, 1.0, 1.5, 2.0))
    assert [point.limit for point in points] == [200, 400, 600, 800]
    assert points[1].value == pytest.approx(made.objective, rel=1e-3)
    steps = np.diff([point.value for point in points])
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()


def test_the_curve_leaves_out_limits_that_a_minimum_cannot_bear() -> None:
    least = Minimum(name="a", at_least=3, options=np.array([True]))
    given = problem(np.ones((8, 1)), resources=(calls(4, 1),), minimums=(least,))
    made = allocate(given)
    assert [point.limit for point in value_curve(given, made, 0, (0.5, 1.0, 2.0))] == [4, 8]


def test_many_customers_with_the_same_values_fill_a_capacity() -> None:
    values = np.full((60_000, 2), 5.0, dtype=np.float32)
    values[:, 1] = 4.0
    made = allocate(problem(values, resources=(calls(45_000, 1, 0), calls(10_000, 0, 1))))
    assert made.usage.tolist() == [45_000, 10_000]
    assert made.objective == pytest.approx(265_000)
    assert made.gap < 1e-6


def test_equal_customers_are_shared_out_between_limits_that_all_bind() -> None:
    # letters are cheap and few, calls dear and plenty: the best mix fills letters and texts, then calls
    count = 50_000
    given = problem(
        np.full((count, 3), 7.0, dtype=np.float32),
        resources=(
            Resource(name="budget", limit=0.2 * count, use=np.array([4.0, 0.5, 0.1])),
            Resource(name="letters", limit=0.3 * count, use=np.array([0.0, 0.0, 1.0])),
            Resource(name="texts", limit=0.12 * count, use=np.array([0.0, 1.0, 0.0])),
        ),
    )
    made = allocate(given)
    calls_paid = (0.2 - 0.12 * 0.5 - 0.3 * 0.1) / 4 * count
    best = 7 * (0.3 * count + 0.12 * count + calls_paid)
    assert made.bound == pytest.approx(best, rel=1e-6)
    assert made.objective >= best * (1 - 0.0005)


TWO = np.zeros((2, 2))
WRONG: list[tuple[Callable[[], Problem], str]] = [
    (lambda: Problem(options=("a",), values=TWO), "do not fit 1 options"),
    (lambda: problem(array([np.inf, 1])), "infinite"),
    (lambda: problem(TWO, resources=(calls(-1, 1, 1),)), "limit"),
    (lambda: problem(TWO, resources=(calls(1, -1, 1),)), "negative"),
    (lambda: problem(TWO, resources=(calls(1, 1),)), "does not fit"),
    (lambda: problem(TWO, households=Households(ids=np.zeros(9, dtype=np.int64))), "households"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Problem], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
