"""The simulated bank against its own truth: rates within theory's bounds, signals that can be learned."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tilltal.demo.bank import Bank, live
from tilltal.demo.calendar import Span
from tilltal.demo.catalogue import LIFE_EVENTS, PRODUCT
from tilltal.demo.movements import statements
from tilltal.demo.shapes import Bools, Ints
from tilltal.demo.story import CLOSED, CUSTOMER, GONE, NOTICE, NOTICED, OPENED

MONTHS = 24


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return live(
        seed=11, chunk=0, first=0, count=6_000, span=Span(MONTHS), data=tmp_path_factory.mktemp("data")
    )


def opened_within(bank: Bank, product: str, first: int, last: int) -> Bools:
    """Who opened a product on a day of first..last."""
    log = bank.story.holdings
    rows = (log["product"] == PRODUCT[product]) & (log["opened"] >= first) & (log["opened"] <= last)
    result = np.zeros(bank.people.size, dtype=np.bool_)
    result[log["who"][rows]] = True
    return result


def test_answers_come_as_often_as_their_true_probabilities_say(bank: Bank) -> None:
    p = bank.outreach.responses
    accepted = bank.outreach.contacts["accepted"].sum()
    deviation = np.sqrt((p * (1 - p)).sum())  # of a sum of independent Bernoulli draws
    assert abs(accepted - p.sum()) < 4 * deviation


def test_answers_fit_their_probabilities_in_every_tenth(bank: Bank) -> None:
    p, accepted = bank.outreach.responses, bank.outreach.contacts["accepted"]
    for part in np.array_split(np.argsort(p), 10):
        deviation = np.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(accepted[part].sum() - p[part].sum()) < 4.5 * deviation


def test_life_events_happen_as_often_as_they_should(bank: Bank) -> None:
    """A new car comes with 1.2 % a month to everybody."""
    log = bank.story.happenings
    count = int((log["event"] == LIFE_EVENTS.index("new_car")).sum())
    expected = 0.012 * bank.people.size * MONTHS
    assert abs(count - expected) < 4 * np.sqrt(expected)


def test_the_holdout_is_a_tenth_and_was_never_contacted(bank: Bank) -> None:
    holdout = np.flatnonzero(bank.outreach.is_holdout)
    n = bank.people.size
    assert abs(len(holdout) - 0.10 * n) < 4 * np.sqrt(n * 0.1 * 0.9)
    assert not np.isin(bank.outreach.contacts["who"], holdout).any()


def test_frequent_contacts_lower_the_response(bank: Bank) -> None:
    """Fatigue shows: both groups get the same lists, and those contacted far too often answer less."""
    log, p = bank.outreach.contacts, bank.outreach.responses
    often = bank.outreach.pace[log["who"]] > 1
    assert p[often].mean() < 0.9 * p[~often & ~bank.outreach.is_holdout[log["who"]]].mean()


def relation_events(bank: Bank, who: int) -> list[tuple[int, int]]:
    log = bank.story.relations
    rows = log["who"] == who
    return sorted(zip(log["day"][rows].tolist(), log["kind"][rows].tolist(), strict=True))


def test_relations_open_and_close_in_turn(bank: Bank) -> None:
    log = bank.story.relations
    for who in np.unique(log["who"])[:1500]:
        kinds = [kind for _, kind in relation_events(bank, int(who)) if kind in (OPENED, CLOSED)]
        assert kinds == [OPENED if index % 2 == 0 else CLOSED for index in range(len(kinds))]


def test_every_closing_in_the_span_follows_a_notice(bank: Bank) -> None:
    log = bank.story.relations
    noticed = set(log["who"][log["kind"] == NOTICE].tolist())
    closed = log["who"][(log["kind"] == CLOSED) & (log["day"] >= 0)]
    assert len(closed) > 0
    assert noticed.issuperset(closed.tolist())


def test_products_are_opened_before_they_are_closed_and_gone_customers_have_none(bank: Bank) -> None:
    log = bank.story.holdings
    assert (log["opened"] <= log["closed"]).all()
    assert not bank.story.owned[bank.story.status == GONE].any()


def test_all_lifecycle_stages_are_populated(bank: Bank) -> None:
    story, days = bank.story, bank.span.days
    present = np.isin(story.status, (CUSTOMER, NOTICED))
    returned = np.zeros(bank.people.size, dtype=np.bool_)
    closings = story.relations["who"][story.relations["kind"] == CLOSED]
    returned[closings] = True
    fresh = present & (story.since > days - 91)
    assert 0.04 < (fresh & ~returned).mean() < 0.10
    assert 0.005 < (fresh & returned).mean() < 0.02
    assert 0.04 < (~present).mean() < 0.18


def test_quarterly_rates_are_those_of_a_bank(bank: Bank) -> None:
    start, end = int(bank.span.month_start[18]), int(bank.span.month_start[21]) - 1
    here = bank.story.present(17)
    log = bank.story.relations
    notices = np.zeros(bank.people.size, dtype=np.bool_)
    notices[log["who"][(log["kind"] == NOTICE) & (log["day"] >= start) & (log["day"] <= end)]] = True
    assert 0.01 < notices[here].mean() < 0.04
    for product in ("fund", "mortgage", "consumer_loan", "premium_card", "car_insurance", "pension"):
        without = here & ~bank.story.holds[:, 17, PRODUCT[product]]
        assert 0.003 < opened_within(bank, product, start, end)[without].mean() < 0.04, product


@pytest.mark.parametrize("product", ["fund", "mortgage", "car_insurance", "travel_insurance"])
def test_need_leads_to_openings(bank: Bank, product: str) -> None:
    """The best a model could know, the need itself, orders customers well, and not perfectly."""
    said: list[float] = []
    happened: list[bool] = []
    for month in (8, 12, 16, 20):
        without = bank.story.present(month) & ~bank.story.holds[:, month, PRODUCT[product]]
        start = int(bank.span.month_start[month + 1])
        yes = opened_within(bank, product, start, start + 90)
        said += bank.story.interests[without, month, PRODUCT[product]].tolist()
        happened += yes[without].tolist()
    assert 0.68 < roc_auc_score(happened, said) < 0.95


def test_leavers_are_less_satisfied_and_less_active_before_they_go(bank: Bank) -> None:
    story = bank.story
    leaving = story.is_leaving & (story.first <= story.last)
    staying = ~story.is_leaving & (story.first <= story.last)
    assert story.satisfactions[leaving].mean() < story.satisfactions[staying].mean() - 0.3
    assert story.activity[leaving].mean() < 0.7 * story.activity[staying].mean()


def test_income_differs_between_customers_as_it_does_in_banks(bank: Bank) -> None:
    yearly = statements(bank).income[:, -12:].sum(axis=1)[bank.story.present(MONTHS - 1)]
    low, middle, high = np.quantile(yearly, [0.1, 0.5, 0.9])
    assert low < 300
    assert 500 < middle < 5_000
    assert high > 4 * middle


def test_days_of_openings_lie_inside_the_relation(bank: Bank) -> None:
    log = bank.story.holdings
    joined: Ints = bank.people.joined[log["who"]]
    assert (log["opened"] >= joined).all()
