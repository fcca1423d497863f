"""The truth functions are probabilities, and move the way they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltal.demo.catalogue import ACTION, ACTIONS, CHANNELS, OPENING, PRODUCT, PRODUCTS
from tilltal.demo.shapes import Floats
from tilltal.demo.truth import (
    click_probability,
    complaint_probability,
    leaving_probability,
    opening_probability,
    response_probability,
    uplift,
)

anything = st.floats(-50, 50)
amounts = st.floats(0, 200)


def of(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def response(**changes: float) -> float:
    """A yes of an ordinary customer to a fund by e-mail, with some things changed."""
    state = {
        "need": 0.0,
        "liking": 1.0,
        "satisfaction": 0.0,
        "fatigue": 1.0,
        "contacts_90d": 0.0,
        "same_90d": 0.0,
    }
    state |= changes
    return float(
        response_probability(
            np.array([ACTION["monthly_fund"]]),
            np.array([CHANNELS.index("email")]),
            need=of(state["need"]),
            liking=of(state["liking"]),
            satisfaction=of(state["satisfaction"]),
            fatigue=of(state["fatigue"]),
            contacts_90d=of(state["contacts_90d"]),
            same_90d=of(state["same_90d"]),
        )[0]
    )


@given(need=anything, liking=amounts, satisfaction=anything, fatigue=amounts, contacts=amounts, same=amounts)
def test_a_response_is_a_probability_and_a_click_at_least_as_likely(
    need: float, liking: float, satisfaction: float, fatigue: float, contacts: float, same: float
) -> None:
    p = response(
        need=need,
        liking=liking,
        satisfaction=satisfaction,
        fatigue=fatigue,
        contacts_90d=contacts,
        same_90d=same,
    )
    assert 0.0 <= p <= 1.0
    click = float(click_probability(of(p))[0])
    assert p <= click <= 1.0


@given(satisfaction=anything, price=st.floats(0, 1), products=amounts, years=amounts, tired=amounts)
def test_leaving_and_complaining_are_probabilities(
    satisfaction: float, price: float, products: float, years: float, tired: float
) -> None:
    leaving = leaving_probability(of(satisfaction), of(price), of(products), of(years), of(tired))
    complaint = complaint_probability(of(satisfaction), of(1.0), of(tired))
    assert 0.0 <= float(leaving[0]) <= 1.0
    assert 0.0 <= float(complaint[0]) <= 1.0


def test_the_documented_formula_of_a_response() -> None:
    logit = -5.7 + 0.8 * np.log(2.0) + 0.55 * 1.5 + 0.25 * 0.4 - 0.12 * 1.5 * 3 - 0.35 * 1
    expected = 1 / (1 + np.exp(-logit))
    got = response(need=1.5, liking=2.0, satisfaction=0.4, fatigue=1.5, contacts_90d=3.0, same_90d=1.0)
    assert got == pytest.approx(expected)


def test_repeated_contacts_tire_and_repeating_the_same_tires_more() -> None:
    assert response() > response(contacts_90d=3.0) > response(contacts_90d=3.0, same_90d=3.0)


def test_the_documented_formula_of_leaving() -> None:
    logit = -4.7 - 1.1 * -1.0 + 1.6 * (0.9 - 0.5) - 0.30 * (1 - 3) - 0.06 * 10 + 0.05 * 4
    got = leaving_probability(of(-1.0), of(0.9), of(1.0), of(25.0), of(4.0))
    assert float(got[0]) == pytest.approx(1 / (1 + np.exp(-logit)))


def test_uplift_is_what_the_contact_adds() -> None:
    opening = opening_probability(np.array([PRODUCT["fund"]]), of(2.0))
    answer = of(0.05)
    both = 1 - (1 - opening) * (1 - answer)
    assert uplift(opening, answer) == pytest.approx(both - opening)


def test_the_catalogue_is_whole() -> None:
    assert len(OPENING) == len(PRODUCTS)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    for action in ACTIONS:
        assert set(action.channels) <= set(CHANNELS)
        assert not action.product or action.product in PRODUCT
