"""The world that strategies are compared in: known probabilities, fading fatigue, the same luck for all."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import ACTION, CHANNELS, PRODUCT
from tilltal.demo.shapes import Bools, Floats, Ints
from tilltal.demo.worth.batch import mass_mailing, mondays
from tilltal.demo.worth.lives import Lives
from tilltal.demo.worth.oracle import oracle
from tilltal.demo.worth.tally import difference, ratio
from tilltal.demo.worth.timeline import Happening, timeline
from tilltal.demo.worth.truth import (
    FADING_DAYS,
    attention,
    complaint_probability,
    faded,
    opt_out_probability,
    response_probability,
)
from tilltal.demo.worth.world import World, future, present, world_of

EMAIL = CHANNELS.index("email")
FUND = ACTION["monthly_fund"]


@cache
def scene() -> tuple[World, list[Happening]]:
    bank = future(seed=3, customers=400, months=14, ahead=2)
    world = world_of(bank, present(bank)[:150], seed=3)
    return world, timeline(world, 3)


def of(value: float) -> Floats:
    return np.array([value])


def yes(**changed: float) -> float:
    state = {
        "need": 0.0,
        "liking": 1.0,
        "satisfaction": 0.0,
        "tired": 0.0,
        "same": 0.0,
        "mind": 0.0,
    } | changed
    there = np.array([bool(state.pop("there", 0.0))])
    named = {name: of(value) for name, value in state.items()}
    return float(response_probability(np.array([FUND]), np.array([EMAIL]), is_there=there, **named)[0])


def sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def test_the_documented_formula_of_a_response() -> None:
    logit = -5.7 + 0.8 * np.log(2) + 0.55 * 1.5 + 0.25 * 0.4 - 0.12 * 3 - 0.35 * 1 + 0.5 + 1.0 * 0.6
    got = yes(need=1.5, liking=2.0, satisfaction=0.4, tired=3.0, same=1.0, mind=0.6, there=1.0)
    assert got == pytest.approx(sigmoid(logit))


def test_the_documented_formulas_of_complaints_and_opting_out() -> None:
    there: Bools = np.array([True])
    call: Ints = np.array([CHANNELS.index("call")])
    complaint = complaint_probability(call, satisfaction=of(0.4), tired=of(3), same=of(1), is_there=there)
    assert complaint[0] == pytest.approx(sigmoid(-7.2 + 0.9 - 0.2 + 0.3 - 0.7 + 0.7))
    leaving = opt_out_probability(call, satisfaction=of(0.4), tired=of(3))
    assert leaving[0] == pytest.approx(sigmoid(-7.6 + 0.9 - 0.2 + 0.7))


def test_fatigue_and_attention_fade() -> None:
    assert faded(of(3.0), of(0.0))[0] == 3.0
    assert faded(of(3.0), of(FADING_DAYS))[0] == pytest.approx(3.0 / np.e)
    assert attention(of(0.0))[0] == 1.0
    assert attention(of(24.0))[0] > attention(of(240.0))[0] > 0
    assert yes() > yes(tired=2.0) > yes(tired=6.0)


def test_contacts_tire_and_rest_recovers() -> None:
    world, _ = scene()
    lives = Lives(world)
    who, action, channel = np.array([0]), np.array([FUND]), np.array([EMAIL])
    moment = (world.starts + 1) * DAY_SECONDS
    before = lives.chances(who, action, channel, moment)
    lives.contact(who, action, channel, moment)
    after = lives.chances(who, action, channel, moment + 60)
    later = lives.chances(who, action, channel, moment + 20 * DAY_SECONDS)
    assert after.yes[0] < before.yes[0]
    assert after.opt_out[0] > before.opt_out[0]
    assert after.yes[0] < later.yes[0]


def test_the_same_contact_on_the_same_day_is_answered_the_same() -> None:
    world, _ = scene()
    who = np.arange(world.size)
    action, channel = np.full(world.size, FUND), np.full(world.size, EMAIL)
    one, other = Lives(world), Lives(world)
    moment = (world.starts + 3) * DAY_SECONDS
    for first, second in zip(
        one.contact(who, action, channel, moment), other.contact(who, action, channel, moment), strict=True
    ):
        assert (first == second).all()
    assert world.chance(who, world.starts, "answer", action, channel).tolist() == (
        world_of(world.bank, world.who, seed=3).chance(who, world.starts, "answer", action, channel).tolist()
    )


def test_luck_does_not_depend_on_who_else_is_followed() -> None:
    world, happenings = scene()
    some = np.array([5, 40, 99])
    fewer = world_of(world.bank, world.who[some], seed=3)
    assert (fewer.luck == world.luck[some]).all()
    kept = [(one.moment, int(world.who[one.row])) for one in happenings if one.row in some]
    assert [(one.moment, int(fewer.who[one.row])) for one in timeline(fewer, 3)] == kept


def test_luck_is_uniform() -> None:
    world, _ = scene()
    who = np.arange(world.size)
    drawn = np.concatenate(
        [
            world.chance(who, day, "answer", np.full(world.size, FUND), np.full(world.size, EMAIL))
            for day in range(world.starts, world.span.days)
        ]
    )
    # the mean of n uniform numbers lies within 4 standard errors of 1/2
    assert abs(drawn.mean() - 0.5) < 4 / np.sqrt(12 * len(drawn))
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_what_is_held_or_refused_is_not_offered() -> None:
    world, _ = scene()
    lives = Lives(world)
    who = np.arange(world.size)
    action, channel = np.full(world.size, FUND), np.full(world.size, EMAIL)
    lives.marketing[:, EMAIL] = True
    may = lives.may_contact(who, action, channel)
    assert (may == ~world.owned[:, PRODUCT["fund"]]).all()
    lives.marketing[:, EMAIL] = False
    assert not lives.may_contact(who, action, channel).any()


def test_what_happens_lies_ahead_and_in_order() -> None:
    world, happenings = scene()
    moments = [one.moment for one in happenings]
    assert moments == sorted(moments)
    assert moments[0] >= world.starts * DAY_SECONDS
    assert max(moments) < world.span.days * DAY_SECONDS
    assert {one.place for one in happenings} == {None, "banner", "push", "call", "branch"}
    assert all((world.span.first_day.weekday() + day // DAY_SECONDS) % 7 == 0 for day in mondays(world))


def test_more_contacts_bring_more_leavers() -> None:
    world, happenings = scene()
    mailed, silent = mass_mailing(world, happenings), Lives(world)
    for month in range(2):
        silent.end_month(month)
    assert mailed.figures["contacts"].sum() > 200
    assert mailed.figures["leavers"].sum() > silent.figures["leavers"].sum()
    assert silent.figures["income"].sum() == pytest.approx(0, abs=1e-6)


def test_the_oracle_earns_more_than_a_mailing_with_fewer_complaints() -> None:
    world, happenings = scene()
    knowing, mailed = oracle(world, happenings).figures, mass_mailing(world, happenings).figures
    assert knowing["income"].sum() > mailed["income"].sum()
    assert knowing["complaints"].sum() / knowing["contacts"].sum() < (
        mailed["complaints"].sum() / mailed["contacts"].sum()
    )


def test_a_ratio_has_the_interval_of_its_linearisation() -> None:
    rng = np.random.default_rng(7)
    below = np.asarray(1.0 + rng.poisson(3.0, 400), dtype=np.float64)
    above = 2.0 * below + rng.normal(0, 1, 400)
    found = ratio(above, below)
    assert found.low < 2.0 < found.high
    expected = 2 * 1.96 * 1.0 / np.sqrt(400) / below.mean()
    assert found.high - found.low == pytest.approx(expected, rel=0.15)


def test_common_luck_makes_differences_sharper() -> None:
    rng = np.random.default_rng(8)
    ones, common = np.ones(500), rng.normal(0, 5, 500)
    one, other = common + rng.normal(1, 0.5, 500), common + rng.normal(0, 0.5, 500)
    together = difference((one, ones), (other, ones))
    assert together.low > 0.8
    assert together.high < 1.2
    assert together.high - together.low < 0.2 * (ratio(one, ones).high - ratio(one, ones).low)
