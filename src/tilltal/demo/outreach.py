"""The bank's campaigns so far: who was contacted about what, where, and how they answered.

Like most banks this one sent nearly at random: what was on the month's list, to whoever may get it. A tenth
of the customers were never contacted (a holdout) and a fifth were contacted far too often.
"""

from __future__ import annotations

import numpy as np

from tilltal.demo.catalogue import ACTION, ACTIONS, CHANNELS, PRODUCT
from tilltal.demo.log import Log
from tilltal.demo.shapes import Bools, Floats, Ints, generator, pick
from tilltal.demo.story import CUSTOMER, GONE, Story
from tilltal.demo.truth import click_probability, complaint_probability, response_probability

_PRODUCT_OF: Ints = np.array([PRODUCT.get(action.product, -1) for action in ACTIONS], dtype=np.int64)
_HOLDERS = {  # contacts for those who hold one of these
    "mortgage_review": ("mortgage",),
    "insurance_review": ("car_insurance", "home_insurance", "travel_insurance"),
    "collect_loans": ("consumer_loan",), "card_travel_tips": ("card",), "premium_card_offer": ("card",),
}  # fmt: skip
_MOST = 4  # contacts a month
_MARKETING: Floats = np.array([0.74, 0.45, 0.50, 0.38, 0.62, 0.55, 0.60])  # consent per channel, see CHANNELS
_NEEDS_CONSENT: Bools = np.array([action.purpose != "service" for action in ACTIONS])
_IS_PERSONAL: Bools = np.array([action.purpose == "personal_offers" for action in ACTIONS])
_HAS_CHANNEL: Bools = np.array([[channel in action.channels for channel in CHANNELS] for action in ACTIONS])


class Outreach:
    """Contacts of one chunk and their answers."""

    def __init__(self, story: Story, seed: int, chunk: int) -> None:
        self.story = story
        self.rng = generator(seed, chunk, "outreach")
        n, digital = story.people.size, story.people.digital
        slope = np.array([0.1, 0.0, 0.5, -0.2, 0.5, -0.2, -0.3])
        self.marketing: Bools = self.rng.random((n, len(CHANNELS))) < _MARKETING + slope * (
            digital[:, None] - 0.6
        )
        self.personal: Bools = self.rng.random(n) < 0.68
        self.first_marketing, self.first_personal = self.marketing.copy(), self.personal.copy()
        pace = self.rng.random(n)
        self.is_holdout: Bools = pace < 0.10
        self.pace: Floats = np.where(self.is_holdout, 0.0, np.where(pace > 0.8, 2.0, 0.6))
        before = np.floor(self.rng.uniform(-760, 0, n)).astype(np.int64)
        self.first_kyc: Ints = np.maximum(before, story.people.joined)  # due diligence before any reminder
        self.kyc_day: Ints = self.first_kyc.copy()
        self.contacts = Log("who", "day", "action", "channel", "opened", "clicked", "accepted", "complained")
        self._responses: list[Floats] = []
        self.refusals = Log("who", "day")  # all marketing consent withdrawn after a complaint
        self.recent: Floats = np.zeros((3, n))  # contacts this month, last month, the month before
        self.recent_same: Floats = np.zeros((3, n, len(ACTIONS)))
        self.contacts_90d: Floats = np.zeros((n, story.span.months))
        # One list a month for the whole bank, so it does not depend on the chunk.
        lists = generator(seed, 0, "campaigns").gamma(0.7, 1.0, (story.span.months, len(ACTIONS)))
        self.emphasis: Floats = np.log(lists + 0.05)
        self.emphasis[:, [ACTION["winback_offer"], ACTION["kyc_update"]]] = 3.5

    def month(self, month: int) -> None:
        """Contact customers of one month and let them answer."""
        self._turn()
        wanted = self._wanted(month)
        for slot in range(_MOST):
            self._contact(np.flatnonzero(wanted > slot), month)
        self._count(month)

    def rest(self, month: int) -> None:
        """Let a month pass without contacts."""
        self._turn()
        self._count(month)

    def _turn(self) -> None:
        self.recent = np.roll(self.recent, 1, axis=0)
        self.recent_same = np.roll(self.recent_same, 1, axis=0)
        self.recent[0], self.recent_same[0] = 0.0, 0.0

    def _count(self, month: int) -> None:
        self.contacts_90d[:, month] = self.recent.sum(axis=0)
        self.story.tired = self.story.people.fatigue * self.contacts_90d[:, month]

    @property
    def responses(self) -> Floats:
        """True probability of a yes per contact, in the order of `contacts`."""
        return np.concatenate(self._responses)

    def _wanted(self, month: int) -> Ints:
        """How many contacts each customer gets; former customers a win-back letter now and then."""
        counts = self.rng.poisson(self.pace).clip(max=_MOST)
        gone = (self.story.status == GONE) & (self.rng.random(len(counts)) < 0.15) & ~self.is_holdout
        return np.where(self.story.present(month), counts, gone).astype(np.int64)

    def _contact(self, who: Ints, month: int) -> None:
        allowed = self._allowed(who, month)
        who, allowed = who[allowed.any(axis=1)], allowed[allowed.any(axis=1)]
        weights = np.where(allowed, np.exp(self.emphasis[month]), 0.0)
        action = pick(self.rng, weights)
        channel = pick(self.rng, self._open_channels(who, action).astype(np.float64))
        response = self._response(who, action, channel)
        self._answer(who, action, channel, response, month)
        self.recent[0, who] += 1
        self.recent_same[0, who, action] += 1

    def _response(self, who: Ints, action: Ints, channel: Ints) -> Floats:
        product = _PRODUCT_OF[action]
        need = np.where(product >= 0, self.story.need()[who, product], 0.0)
        people = self.story.people
        return response_probability(
            action,
            channel,
            need=need,
            liking=people.liking[who, channel],
            satisfaction=self.story.satisfaction[who],
            fatigue=people.fatigue[who],
            contacts_90d=self.recent[:, who].sum(axis=0),
            same_90d=self.recent_same[:, who, action].sum(axis=0),
        )

    def _answer(self, who: Ints, action: Ints, channel: Ints, response: Floats, month: int) -> None:
        rng, story = self.rng, self.story
        start, end = story.bounds(month)
        inside = story.present(month)[who]
        day = np.where(inside, story.days_in(who, month), rng.integers(start, end + 1, len(who)))
        draw = rng.random(len(who))
        accepted, clicked = draw < response, draw < click_probability(response)
        opened = clicked | (rng.random(len(who)) < 0.30)
        tired = self.recent[:, who].sum(axis=0)
        complaint = complaint_probability(story.satisfaction[who], story.people.fatigue[who], tired)
        complained = ~accepted & (rng.random(len(who)) < complaint)
        self.contacts.add(
            who=who, day=day, action=action, channel=channel, opened=opened.astype(np.int64),
            clicked=clicked.astype(np.int64), accepted=accepted.astype(np.int64),
            complained=complained.astype(np.int64),
        )  # fmt: skip
        self._responses.append(response)
        self._refuse(who[complained], day[complained])
        self._accept(who[accepted], action[accepted], day[accepted], month)

    def _refuse(self, who: Ints, day: Ints) -> None:
        refuses = self.rng.random(len(who)) < 0.6
        self.refusals.add(who=who[refuses], day=day[refuses])
        self.marketing[who[refuses]] = False
        self.personal[who[refuses]] = False
        self.story.satisfaction[who] -= 0.3

    def _accept(self, who: Ints, action: Ints, day: Ints, month: int) -> None:
        story = self.story
        product = _PRODUCT_OF[action]
        buys = (product >= 0) & (story.status[who] == CUSTOMER)
        latest = story.last[who, month]
        bought = np.minimum(day + self.rng.integers(0, 8, len(who)), np.maximum(latest, day))
        story.open(who[buys], product[buys], bought[buys])
        retained = np.array([item.group == "retention" for item in ACTIONS])[action]
        story.appease(who[retained])
        self.kyc_day[who[action == ACTION["kyc_update"]]] = day[action == ACTION["kyc_update"]]
        back = who[(action == ACTION["winback_offer"]) & (story.status[who] == GONE)]
        self._win_back(back, day[np.isin(who, back)], month)

    def _win_back(self, who: Ints, day: Ints, month: int) -> None:
        later = story_day = day + 1
        inside = story_day <= self.story.bounds(month)[1]
        self.story.come_back(who[inside], later[inside])
        self.story.first[who[inside], month] = later[inside]
        self.story.last[who[inside], month] = self.story.bounds(month)[1]

    def _open_channels(self, who: Ints, action: Ints) -> Bools:
        consent = np.where(_IS_PERSONAL[action][:, None], self.personal[who][:, None], self.marketing[who])
        return np.asarray(_HAS_CHANNEL[action] & (consent | ~_NEEDS_CONSENT[action][:, None]), dtype=np.bool_)

    def _allowed(self, who: Ints, month: int) -> Bools:
        """Which actions may be sent to whom, shape (len(who), actions)."""
        story, owned = self.story, self.story.owned[who]
        allowed = np.ones((len(who), len(ACTIONS)), dtype=np.bool_)
        sells = _PRODUCT_OF >= 0
        allowed[:, sells] = ~owned[:, _PRODUCT_OF[sells]]
        for name, products in _HOLDERS.items():
            allowed[:, ACTION[name]] &= owned[:, [PRODUCT[product] for product in products]].any(axis=1)
        allowed[:, ACTION["collect_loans"]] = owned[:, PRODUCT["consumer_loan"]]
        start, _ = story.bounds(month)
        is_new = story.since[who] > start - 90
        unhappy = story.satisfaction[who] + self.rng.normal(0, 0.8, len(who)) < -0.8
        for index, action in enumerate(ACTIONS):
            if action.group == "onboarding":
                allowed[:, index] &= is_new
            if action.group == "retention":
                allowed[:, index] &= unhappy
        allowed[:, ACTION["kyc_update"]] &= self.kyc_day[who] < start - 700
        return self._with_consent(who, self._for_former(who, allowed))

    def _for_former(self, who: Ints, allowed: Bools) -> Bools:
        gone = self.story.status[who] == GONE
        allowed[gone] = False
        allowed[:, ACTION["winback_offer"]] = gone
        return allowed

    def _with_consent(self, who: Ints, allowed: Bools) -> Bools:
        marketing = (self.marketing[who].astype(np.int64) @ _HAS_CHANNEL.T.astype(np.int64)) > 0
        personal = np.broadcast_to(self.personal[who][:, None], allowed.shape)
        consent = np.where(_IS_PERSONAL, personal, marketing)
        return np.asarray(allowed & (consent | ~_NEEDS_CONSENT), dtype=np.bool_)
