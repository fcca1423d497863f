"""Allocation against HiGHS: never over a limit, never above the best, and hardly below it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix, vstack

from tilltal.decisions.allocation.allocate import Allocation, allocate
from tilltal.decisions.allocation.problem import Floats, Households, Ints, Minimum, Problem, Resource

CLOSE = 1e-6


class Program(msgspec.Struct, frozen=True):
    """A problem as HiGHS takes it: minimise -values, matrix · x <= limits, 0 <= x <= 1."""

    values: Floats
    matrix: csr_matrix
    limits: Floats


def program(problem: Problem, at_least: Sequence[int]) -> Program:
    eligible = np.isfinite(problem.values)
    customer, option = np.nonzero(eligible)
    cells = np.arange(len(customer))
    rows = [_count(customer, cells, problem.values.shape[0])]
    limits = [np.ones(problem.values.shape[0])]
    if problem.households:
        home = homes(problem.households.ids)
        rows.append(_count(home[customer], cells, int(home.max()) + 1))
        limits.append(np.full(int(home.max()) + 1, problem.households.limit))
    for resource in problem.resources:
        use = resource.use[option] if resource.use.ndim == 1 else resource.use[customer, option]
        rows.append(csr_matrix(use.astype(float)[None, :]))
        limits.append(np.array([resource.limit]))
    for minimum, count in zip(problem.minimums, at_least, strict=True):
        rows.append(csr_matrix(-minimum.options[option].astype(float)[None, :]))
        limits.append(np.array([-count]))
    values = problem.values[eligible].astype(float)
    return Program(values, vstack(rows).tocsr(), np.concatenate(limits))


def _count(row: Ints, cell: Ints, rows: int) -> csr_matrix:
    return csr_matrix((np.ones(len(cell)), (row, cell)), shape=(rows, len(cell)))


def homes(ids: Ints) -> Ints:
    alone = np.where(ids < 0, ids.max() + 1 + np.arange(len(ids)), ids)
    return np.unique(alone, return_inverse=True)[1]


def best(problem: Problem, at_least: Sequence[int]) -> float | None:
    """The value of the best allocation, None if there is none."""
    given_ = program(problem, at_least)
    if not len(given_.values):
        return None if any(at_least) else 0.0
    answer = milp(
        -given_.values,
        constraints=LinearConstraint(given_.matrix, -np.inf, given_.limits),
        integrality=np.ones(len(given_.values)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-9},
    )
    return None if answer.x is None else -float(answer.fun)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small and hostile: ties, zeros, negative values, nobody eligible, limits of nothing and of plenty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    shape = draw(st.sampled_from(["equal", "few", "signed", "skewed", "nothing"]))
    values = {
        "equal": np.full((n, m), 3.0),
        "few": rng.integers(-2, 4, (n, m)).astype(float),
        "signed": rng.normal(2, 5, (n, m)),
        "skewed": 100 * rng.exponential(1, (n, m)),
        "nothing": np.zeros((n, m)),
    }[shape]
    values[rng.random((n, m)) < draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))] = np.nan
    resources = tuple(
        Resource(
            name=f"resource_{index}",
            limit=float(draw(st.sampled_from([0, 1, 3, 0.3 * n, 2 * n, 1e6]))),
            use=(
                rng.choice([0.0, 1.0, 1.0, 2.5], m)
                if draw(st.booleans())
                else rng.uniform(0, 2, (n, m)) * (rng.random(m) < 0.7)
            ),
        )
        for index in range(draw(st.integers(0, 3)))
    )
    minimums = tuple(
        Minimum(name=f"minimum_{index}", at_least=draw(st.integers(0, n + 2)), options=rng.random(m) < 0.4)
        for index in range(draw(st.integers(0, 2)))
    )
    kinds = draw(st.sampled_from([None, "everybody", "some"]))
    ids = np.zeros(n, dtype=np.int64) if kinds == "everybody" else rng.integers(-1, max(1, n // 2), n)
    return Problem(
        options=tuple(f"option_{index}" for index in range(m)),
        values=values,
        resources=resources,
        minimums=minimums,
        households=Households(ids=ids, limit=draw(st.integers(1, 3))) if kinds else None,
    )


def assert_within_limits(problem: Problem, made: Allocation) -> None:
    who = np.flatnonzero(made.choice >= 0)
    chosen = made.choice[who]
    assert np.isfinite(problem.values[who, chosen]).all()
    for resource, told in zip(problem.resources, made.usage, strict=True):
        use = resource.use[chosen] if resource.use.ndim == 1 else resource.use[who, chosen]
        assert use.sum() <= resource.limit + 1e-9 * max(1.0, resource.limit)
        assert told == pytest.approx(use.sum())
    for minimum, reached in zip(problem.minimums, made.reached, strict=True):
        assert minimum.options[chosen].sum() == reached
    if problem.households:
        contacts = np.bincount(homes(problem.households.ids)[who], minlength=1)
        assert contacts.max() <= problem.households.limit
    assert made.objective == pytest.approx(float(problem.values[who, chosen].sum()))


@given(problems())
@settings(max_examples=120, derandomize=True, deadline=None)
def test_limits_hold_and_the_bound_bounds(problem: Problem) -> None:
    made = allocate(problem)
    assert_within_limits(problem, made)
    short = {each.minimum: each.reached for each in made.shortfalls}
    for minimum, reached in zip(problem.minimums, made.reached.tolist(), strict=True):
        assert (minimum.name in short) == (reached < minimum.at_least)
    reachable = [
        min(each.at_least, reached)
        for each, reached in zip(problem.minimums, made.reached.tolist(), strict=True)
    ]
    optimum = best(problem, reachable)
    assert optimum is not None
    slip = CLOSE * max(1.0, abs(optimum))
    assert made.objective <= optimum + slip
    assert made.bound >= optimum - slip
    # a rounded linear program loses at most one contact per limit
    finite = problem.values[np.isfinite(problem.values)]
    span = float(np.abs(finite).max()) if finite.size else 0.0
    assert made.objective >= optimum - span * (len(problem.resources) + len(problem.minimums)) - slip


@given(problems())
@settings(max_examples=40, derandomize=True, deadline=None)
def test_the_same_problem_gives_the_same_answer(problem: Problem) -> None:
    assert allocate(problem).choice.tolist() == allocate(problem).choice.tolist()


def test_one_minimum_alone_is_met_as_far_as_customers_are_eligible() -> None:
    rng = np.random.default_rng(3)
    for at_least in (0, 5, 40, 200):
        values = rng.normal(-5, 1, (100, 2))
        values[40:, 0] = np.nan
        minimum = Minimum(name="first", at_least=at_least, options=np.array([True, False]))
        made = allocate(Problem(options=("a", "b"), values=values, minimums=(minimum,)))
        assert made.reached.tolist() == [min(at_least, 40)]
        worst_case = np.sort(values[:40, 0])[::-1][: min(at_least, 40)].sum()
        assert made.objective == pytest.approx(worst_case + np.maximum(values[40:, 1], 0).sum())


def bank(customers: int, *, households: bool = False, minimums: bool = False, hours: bool = False) -> Problem:
    """Twenty actions in three channels: propensity times worth, five capacities that bind in part."""
    rng = np.random.default_rng(11)
    actions = 20
    values = rng.beta(1.2, 20, (customers, actions)) * rng.uniform(50, 900, actions)
    values[rng.random((customers, actions)) < 0.4] = np.nan
    channel = np.arange(actions) % 3
    talk = np.where(channel == 0, rng.choice([0.2, 0.25, 0.4, 0.5], actions), 0.0)
    talks = talk * rng.uniform(0.5, 1.5, (customers, 1)) if hours else talk
    cost = np.choose(channel, [4.0, 0.5, 0.1]) * rng.uniform(0.8, 1.2, actions)
    shares = {"adviser": 0.02, "budget": 0.2, "call_hours": 0.02, "email": 0.25, "sms": 0.12}
    uses = {
        "adviser": np.where(np.arange(actions) < 4, 0.5, 0.0),
        "budget": cost,
        "call_hours": talks,
        "email": np.where(channel == 2, 1.0, 0.0),
        "sms": np.where(channel == 1, 1.0, 0.0),
    }
    return Problem(
        options=tuple(f"action_{index:02d}" for index in range(actions)),
        values=values.astype(np.float32),
        resources=tuple(
            Resource(name=name, limit=share * customers, use=uses[name]) for name, share in shares.items()
        ),
        minimums=tuple(
            Minimum(name=f"action_{index:02d}", at_least=customers // 50, options=np.arange(actions) == index)
            for index in ((2, 5, 11) if minimums else ())
        ),
        households=Households(ids=rng.integers(0, customers // 2, customers)) if households else None,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(bank(10_000), id="five capacities"),
        pytest.param(bank(10_000, minimums=True), id="and minimums"),
        pytest.param(bank(10_000, households=True, hours=True), id="and households, hours by customer"),
    ],
)
def test_ten_thousand_customers_within_a_twentieth_of_a_per_cent_of_highs(problem: Problem) -> None:
    made = allocate(problem)
    assert_within_limits(problem, made)
    assert not made.shortfalls
    given_ = program(problem, [minimum.at_least for minimum in problem.minimums])
    answer = linprog(
        -given_.values, A_ub=given_.matrix, b_ub=given_.limits, bounds=(0, 1), method="highs-ipm"
    )
    linear = -float(answer.fun)
    assert made.objective >= linear * (1 - 0.0005)
    assert made.bound == pytest.approx(linear, rel=2e-5)
    assert made.bound >= linear * (1 - 1e-6)
