"""The lives of one chunk of customers, month by month: needs, moods, products, leaving, coming back."""

from __future__ import annotations

import numpy as np

from tilltal.demo.calendar import Span
from tilltal.demo.catalogue import (
    FADING,
    GIVEN_UP,
    LIFE_EVENTS,
    NEEDS,
    NEWCOMER_SHARE,
    OWNED,
    PRODUCT,
    PRODUCTS,
    RIPENING,
    TASTE,
)
from tilltal.demo.log import Log
from tilltal.demo.people import People
from tilltal.demo.shapes import Bools, Floats, Ints, generator
from tilltal.demo.truth import (
    KEPT_BY_RETENTION,
    NOTICE_PROBABILITY,
    RETURN_PROBABILITY,
    STAY_PROBABILITY,
    WITHDRAWAL_PROBABILITY,
    leaving_probability,
    opening_probability,
)

STRANGER, CUSTOMER, NOTICED, GONE = range(4)
OPENED, NOTICE, WITHDRAWN, CLOSED = range(4)
NEVER = 1 << 40  # a day that does not come


class Story:
    """State of a chunk, and all that happened in it so far. Days are day numbers of the span."""

    def __init__(self, people: People, span: Span, seed: int, chunk: int) -> None:
        self.people, self.span = people, span
        self.rng = generator(seed, chunk, "story")
        n, months, products, events = people.size, span.months, len(PRODUCTS), len(LIFE_EVENTS)
        self.relations = Log("who", "day", "kind")
        self.holdings = Log("who", "product", "opened", "closed")
        self.happenings = Log("who", "event", "month")
        self.incidents = Log("who", "day")

        self.status: Ints = np.full(n, STRANGER, dtype=np.int64)
        self.since: Ints = people.joined.copy()
        self.close_day: Ints = np.full(n, NEVER, dtype=np.int64)
        self.withdraw_day: Ints = np.full(n, NEVER, dtype=np.int64)
        self.left_for: Ints = np.zeros(n, dtype=np.int64)  # months since the customer began to leave
        self.owned: Bools = np.zeros((n, products), dtype=np.bool_)
        self.bought: Ints = np.zeros((n, products), dtype=np.int64)
        self.satisfaction: Floats = people.patience + self.rng.normal(0, 0.5, n)
        self.mood: Floats = self.rng.normal(0, 0.3, n)  # log of activity, apart from leaving
        self.boost: Floats = np.zeros((n, events))  # what life events make a customer look into
        self.ripe: Floats = np.zeros((n, events))  # the same once it has become a wish to buy
        self.taste: Floats = TASTE[people.persona] + self.rng.normal(0, 0.7, (n, products))
        self.wobble: Floats = self.rng.normal(0, 0.5, (n, products))
        self.salary: Floats = people.income.copy()
        self.jobless: Ints = np.zeros(n, dtype=np.int64)
        self.tired: Floats = np.zeros(n)  # fatigue × contacts of the last 90 days

        self.first: Ints = np.ones((n, months), dtype=np.int64)  # first and last active day per month
        self.last: Ints = np.zeros((n, months), dtype=np.int64)
        self.activity: Floats = np.zeros((n, months))
        self.satisfactions: Floats = np.zeros((n, months))
        self.leavings: Floats = np.zeros((n, months))  # true probability to begin to leave
        self.is_leaving: Bools = np.zeros((n, months), dtype=np.bool_)
        self.salaries: Floats = np.zeros((n, months))  # paid here, a year
        self.salary_then: Floats = np.zeros((n, months))  # earned, a year
        self.needs = np.zeros((n, months, products), dtype=np.float32)
        self.interests = np.zeros((n, months, products), dtype=np.float32)
        self.boosts = np.zeros((n, months, events), dtype=np.float32)
        self.holds: Bools = np.zeros((n, months, products), dtype=np.bool_)
        self._begin()

    def _begin(self) -> None:
        """Customers from before the span, some of whom had left by then."""
        old = np.flatnonzero(self.people.joined < 0)
        self._enter(old, self.people.joined[old], OWNED[self.people.persona[old]], spread=True)
        gone = old[(self.rng.random(len(old)) < 0.05) & (self.people.joined[old] < -120)]
        day = -np.floor(1 + 110 * self.rng.random(len(gone))).astype(np.int64)
        self.bought[gone] = np.minimum(self.bought[gone], day[:, None] - 1)
        self._leave(gone, day)

    def begin_month(self, month: int) -> None:
        """Move needs, satisfaction and the relation itself; contacts come between this and `end_month`."""
        start, end = self.bounds(month)
        self._arrivals(month, start, end)
        self._life(month)
        self._feel(start, end)
        self._leaving(month, start, end)
        self.first[:, month] = np.maximum(start, self.since)
        self.last[:, month] = np.where(
            self._is_present(start), np.minimum(end, self.close_day - 1), start - 1
        )
        self._shop(month)

    def end_month(self, month: int) -> None:
        """Record the state as it stands on the last day."""
        _, end = self.bounds(month)
        closing = np.flatnonzero(np.isin(self.status, (CUSTOMER, NOTICED)) & (self.close_day <= end))
        self._leave(closing, self.close_day[closing])
        self.satisfactions[:, month] = self.satisfaction
        self.is_leaving[:, month] = self.left_for > 0
        self.activity[:, month] = np.exp(self.mood + 0.2 * self.satisfaction) * 0.70**self.left_for
        self.salaries[:, month] = np.where((self.jobless > 0) | self._moved_salary(), 0.0, self.salary)
        self.salary_then[:, month] = self.salary
        self.boosts[:, month] = self.boost
        self.holds[:, month] = self.owned

    def finish(self) -> None:
        """Write down the products still held."""
        who, product = np.nonzero(self.owned)
        self.holdings.add(who=who, product=product, opened=self.bought[who, product], closed=NEVER)

    def bounds(self, month: int) -> tuple[int, int]:
        """First and last day of a month."""
        return int(self.span.month_start[month]), int(self.span.month_start[month + 1]) - 1

    def need(self) -> Floats:
        """Log odds of need per customer and product, shape (n, products)."""
        return np.asarray(self.taste + self.wobble + self.ripe @ NEEDS, dtype=np.float64)

    def interest(self) -> Floats:
        """The same for looking into a product, which comes before the wish to buy it."""
        latest = np.maximum(self.boost, self.ripe)
        return np.asarray(self.taste + self.wobble + latest @ NEEDS, dtype=np.float64)

    def present(self, month: int) -> Bools:
        """Who has a relation on some day of the month."""
        return np.asarray(self.first[:, month] <= self.last[:, month], dtype=np.bool_)

    def open(self, who: Ints, product: Ints, day: Ints) -> None:
        """Open products; what is held already stays as it is."""
        fresh = ~self.owned[who, product]
        self.owned[who[fresh], product[fresh]] = True
        self.bought[who[fresh], product[fresh]] = day[fresh]

    def appease(self, who: Ints) -> None:
        """A yes to a retention action: more satisfied, and perhaps no longer leaving."""
        self.satisfaction[who] += 0.6
        kept = who[(self.status[who] == CUSTOMER) & (self.rng.random(len(who)) < KEPT_BY_RETENTION)]
        self.left_for[kept] = 0

    def come_back(self, who: Ints, day: Ints) -> None:
        """A former customer returns."""
        self._enter(who, day, OWNED[self.people.persona[who]] * NEWCOMER_SHARE)
        self.satisfaction[who] = 0.4

    def days_in(self, who: Ints, month: int) -> Ints:
        """Draw an active day of the month for each."""
        first, last = self.first[who, month], self.last[who, month]
        return np.asarray(first + np.floor(self.rng.random(len(who)) * (last - first + 1)), dtype=np.int64)

    def _is_present(self, start: int) -> Bools:
        return np.isin(self.status, (CUSTOMER, NOTICED)) & (self.close_day > start)

    def _moved_salary(self) -> Bools:
        return np.asarray(self.left_for >= 2, dtype=np.bool_)

    def _enter(self, who: Ints, day: Ints, chance: Floats, *, spread: bool = False) -> None:
        self.status[who], self.since[who] = CUSTOMER, day
        self.close_day[who], self.left_for[who] = NEVER, 0
        self.relations.add(who=who, day=day, kind=OPENED)
        row, product = np.nonzero(self.rng.random(chance.shape) < chance)
        later = np.zeros(len(row))
        if spread:
            later = np.where(product == PRODUCT["current_account"], 0.0, self.rng.random(len(row)) ** 1.5)
        self.open(who[row], product, np.floor(day[row] * (1 - later)).astype(np.int64))

    def _leave(self, who: Ints, day: Ints) -> None:
        row, product = np.nonzero(self.owned[who])
        self.holdings.add(
            who=who[row], product=product, opened=self.bought[who[row], product], closed=day[row]
        )
        self.owned[who] = False
        self.status[who], self.close_day[who] = GONE, day
        self.relations.add(who=who, day=day, kind=CLOSED)

    def _arrivals(self, month: int, start: int, end: int) -> None:
        new = np.flatnonzero((self.status == STRANGER) & (self.people.joined <= end))
        self._enter(new, self.people.joined[new], OWNED[self.people.persona[new]] * NEWCOMER_SHARE)
        gone = (self.status == GONE) & (self.close_day < start - 30)
        back = np.flatnonzero(gone & (self.rng.random(len(gone)) < RETURN_PROBABILITY))
        self.come_back(back, self.rng.integers(start, end + 1, len(back)))

    def _life(self, month: int) -> None:
        self.boost *= FADING
        happens = self.rng.random(self.boost.shape) < self._life_chances(month)
        who, event = np.nonzero(happens)
        self.boost[who, event] = np.minimum(
            self.boost[who, event] + self.rng.uniform(0.6, 1.2, len(who)), 1.5
        )
        self.happenings.add(who=who, event=event, month=month)
        self.ripe = RIPENING * (self.ripe + self.boost)
        self.wobble = 0.92 * self.wobble + self.rng.normal(0, 0.2, self.wobble.shape)
        self.jobless = np.maximum(self.jobless - 1, 0)
        self.salary[happens[:, LIFE_EVENTS.index("pay_rise")]] *= 1.12
        self.jobless[happens[:, LIFE_EVENTS.index("job_loss")]] = 4

    def _life_chances(self, month: int) -> Floats:
        age = self.people.age + month / 12
        summer = 1.8 if (self.span.first_day.month + month - 1) % 12 in (4, 5, 10) else 0.8
        one = np.ones_like(age)
        return np.stack(
            [
                0.008 + 0.018 * np.exp(-((age - 31) ** 2) / 150),
                0.018 * np.exp(-((age - 32) ** 2) / 50),
                0.012 * one,
                np.where(age < 64, 0.017, 0.0),
                np.where(age < 64, 0.004, 0.0),
                0.008 + 0.006 * (age > 45),
                summer * (0.02 + 0.05 * (self.people.persona == 7)),
                0.03 * np.exp(-((age - 60) ** 2) / 24),
            ],
            axis=1,
        )

    def _feel(self, start: int, end: int) -> None:
        rng, n = self.rng, len(self.status)
        drift = 0.12 * (self.people.patience - self.satisfaction)
        incident = np.flatnonzero(np.isin(self.status, (CUSTOMER, NOTICED)) & (rng.random(n) < 0.02))
        self.satisfaction = np.clip(self.satisfaction + drift + rng.normal(0, 0.22, n), -3.0, 2.5)
        self.satisfaction[incident] -= rng.uniform(0.6, 1.8, len(incident))
        self.incidents.add(who=incident, day=rng.integers(start, end + 1, len(incident)))
        self.mood = 0.92 * self.mood + rng.normal(0, 0.12, n)

    def _leaving(self, month: int, start: int, end: int) -> None:
        customer = self.status == CUSTOMER
        chance = leaving_probability(
            self.satisfaction, self.people.price, self.owned.sum(axis=1).astype(np.float64),
            np.maximum(start - self.since, 0) / 365.25, self.tired,
        )  # fmt: skip
        self.leavings[:, month] = np.where(customer, chance, 0.0)
        self._withdrawals(end)
        begun = self.left_for > 0
        self.left_for += begun
        stays = begun & (self.rng.random(len(chance)) < STAY_PROBABILITY) & customer
        self.left_for[stays] = 0
        starts = customer & ~begun & (self.rng.random(len(chance)) < chance) & (self.since < start)
        self.left_for[starts] = 1
        self._notices(np.flatnonzero(customer & (self.left_for > 1)), start, end)

    def _notices(self, who: Ints, start: int, end: int) -> None:
        who = who[self.rng.random(len(who)) < NOTICE_PROBABILITY]
        day = self.rng.integers(start, end + 1, len(who))
        self.relations.add(who=who, day=day, kind=NOTICE)
        withdraws = self.rng.random(len(who)) < WITHDRAWAL_PROBABILITY
        self.status[who] = NOTICED
        self.withdraw_day[who[withdraws]] = (day + self.rng.integers(5, 19, len(who)))[withdraws]
        self.close_day[who[~withdraws]] = (day + self.rng.integers(20, 46, len(who)))[~withdraws]

    def _withdrawals(self, end: int) -> None:
        who = np.flatnonzero((self.status == NOTICED) & (self.withdraw_day <= end))
        self.relations.add(who=who, day=self.withdraw_day[who], kind=WITHDRAWN)
        self.status[who], self.withdraw_day[who], self.left_for[who] = CUSTOMER, NEVER, 0
        self.satisfaction[who] += 0.8

    def _shop(self, month: int) -> None:
        """Products opened and given up by the customers' own wish."""
        need = self.need()
        self.needs[:, month], self.interests[:, month] = need, self.interest()
        stays = self.present(month) & (self.left_for == 0)
        chance = opening_probability(np.arange(len(PRODUCTS)), need) * self._may_open() * stays[:, None]
        self.give_up(month)
        who, product = np.nonzero(self.rng.random(chance.shape) < chance)
        self.open(who, product, self.days_in(who, month))

    def _may_open(self) -> Bools:
        may = ~self.owned
        may[:, PRODUCT["premium_card"]] &= self.owned[:, PRODUCT["card"]]
        may[:, PRODUCT["pension"]] &= self.people.age < 66
        return may

    def give_up(self, month: int) -> None:
        """Products that end although the relation goes on; leavers empty their accounts first."""
        haste = np.where(self.left_for > 0, 8.0, 1.0)[:, None]
        gives = (self.rng.random(self.owned.shape) < GIVEN_UP * haste) & self.owned
        who, product = np.nonzero(gives & self.present(month)[:, None])
        day = self.days_in(who, month)
        ends = self.bought[who, product] < day
        who, product, day = who[ends], product[ends], day[ends]
        self.holdings.add(who=who, product=product, opened=self.bought[who, product], closed=day)
        self.owned[who, product] = False
