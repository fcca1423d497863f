"""The customers under one strategy: how they answer its contacts, and what that does to them.

What came of contacts is counted twice: as drawn, which moves the customers on (products, moods, consents),
and as expected given the contacts made, which is what strategies are compared by. The expectation leaves
out the luck of the draw, so fewer customers show a difference (Rao & Blackwell).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import ACTIONS, CHANNELS, PRODUCTS
from tilltal.demo.shapes import Bools, Floats, Ints
from tilltal.demo.story import NEVER
from tilltal.demo.truth import KEPT_BY_RETENTION, click_probability, leaving_probability, opening_probability
from tilltal.demo.worth.economy import CONTACT_COST, KEPT_SHARE
from tilltal.demo.worth.truth import (
    PRODUCT_OF,
    SOLD,
    THERE_SECONDS,
    WEIGHT,
    attention,
    complaint_probability,
    faded,
    opt_out_probability,
    response_probability,
)
from tilltal.demo.worth.world import World, day_of

FIGURES = ("contacts", "yes", "income", "complaints", "opt_outs", "leavers")
_REFUSES = 0.6  # the share of complaints after which all consents are withdrawn
_FORGIVES = 0.88  # a month: what is left of a mood that contacts made
_IS_RETENTION: Bools = np.array([action.group == "retention" for action in ACTIONS])
_LONG_AGO = -(10**9)


class Chances(NamedTuple):
    """What a contact would truly do, by contact: probabilities, and kronor in the first year."""

    yes: Floats
    complaint: Floats
    opt_out: Floats
    gain: Floats


class Answers(NamedTuple):
    """What came of contacts, by contact."""

    opened: Bools
    clicked: Bools
    accepted: Bools
    complained: Bools
    refused: Bools


class Lives:
    """State of all customers of a world under one strategy, as of the latest moment told."""

    def __init__(self, world: World) -> None:
        self.world = world
        n = world.size
        self.owned = world.owned.copy()
        self.marketing = world.bank.outreach.marketing[world.who]
        self.personal = world.bank.outreach.personal[world.who]
        self.left: Ints = world.leaves.copy()
        self.mood: Floats = np.zeros(n)  # what contacts did to satisfaction
        self.heat: Floats = np.zeros(n)
        self.heated: Ints = np.full(n, world.starts * DAY_SECONDS, dtype=np.int64)
        self.same: Floats = np.zeros((n, len(ACTIONS)))
        self.looked: Ints = np.full((n, len(PRODUCTS)), _LONG_AGO, dtype=np.int64)
        self.was_there: Ints = np.full(n, _LONG_AGO, dtype=np.int64)
        self.figures: dict[str, Floats] = {name: np.zeros(n) for name in FIGURES}
        self._fatigue: Floats = world.bank.people.fatigue[world.who]
        self._liking: Floats = world.bank.people.liking[world.who]
        self._remember()
        self._silent: Floats = self.heat.copy()

    def _remember(self) -> None:
        """Begin as tired as the contacts of the past have made everybody."""
        log, world = self.world.bank.outreach.contacts, self.world
        rows = np.full(world.bank.people.size, -1, dtype=np.int64)
        rows[world.who] = np.arange(world.size)
        row, age = rows[log["who"]], (world.starts - log["day"]).astype(np.float64)
        weight = faded(np.full(len(age), WEIGHT), age)
        there = row >= 0
        np.add.at(self.heat, row[there], weight[there])
        np.add.at(self.same, (row[there], log["action"][there]), weight[there])

    def is_here(self, day: int) -> Bools:
        """Who is a customer on a day, shape (n,)."""
        return np.asarray(self.left > day, dtype=np.bool_)

    def satisfaction(self, who: Ints, day: int) -> Floats:
        """How satisfied customers are, contacts included."""
        month = self.world.month_of(day)
        return np.asarray(self.world.satisfaction[who, month] + self.mood[who], dtype=np.float64)

    def may_contact(self, who: Ints, action: Ints, channel: Ints) -> Bools:
        """Whether customers consent to contacts, and do not hold what is offered."""
        purposes = np.array([one.purpose for one in ACTIONS])[action]
        consent = np.where(purposes == "marketing", self.marketing[who, channel], self.personal[who])
        holds = (SOLD[action] >= 0) & self.owned[who, SOLD[action]]
        return np.asarray(((purposes == "service") | consent) & ~holds, dtype=np.bool_)

    def chances(self, who: Ints, action: Ints, channel: Ints, moment: int) -> Chances:
        """Return what contacts at a moment would do; arrays of one shape."""
        day, world = day_of(moment), self.world
        product, month = PRODUCT_OF[action], world.month_of(day)
        sells = product >= 0
        need = np.where(sells, world.needs[who, month, product], 0.0)
        days = (moment - self.heated[who]) / DAY_SECONDS
        tired = self._fatigue[who] * faded(self.heat[who], days)
        same = faded(self.same[who, action], days)
        there = moment - self.was_there[who] <= THERE_SECONDS
        hours = (moment - self.looked[who, product]) / 3600
        mood = self.satisfaction(who, day)
        yes = response_probability(
            action, channel, need=need, liking=self._liking[who, channel], satisfaction=mood, tired=tired,
            same=same, is_there=there, mind=np.where(sells, attention(hours), 0.0),
        )  # fmt: skip
        complaint = (1 - yes) * complaint_probability(
            channel, satisfaction=mood, tired=tired, same=same, is_there=there
        )
        opt_out = _REFUSES * complaint + opt_out_probability(channel, satisfaction=mood, tired=tired)
        gain = yes * self._worth(who, action, need, month) - CONTACT_COST[channel]
        return Chances(yes, complaint, opt_out, gain)

    def _worth(self, who: Ints, action: Ints, need: Floats, month: int) -> Floats:
        """Return what a yes is worth: of a product, beyond what would be opened without the contact."""
        product, world = SOLD[action], self.world
        alone = opening_probability(product, need)
        holds = self.owned[who, product]
        sold = np.where(holds, 0.0, (1 - alone) * world.worth[who, product])
        kept = KEPT_SHARE * np.maximum(world.yearly[who], 0) * world.is_leaving[who, month]
        other = np.where(_IS_RETENTION[action], kept, world.service[who, action])
        return np.where(product >= 0, sold, other)

    def contact(self, who: Ints, action: Ints, channel: Ints, moment: int) -> Answers:
        """Contact customers, each once, and let them answer."""
        found = self.chances(who, action, channel, moment)
        self._count(who, found)
        self._tire(who, action, moment)
        answers = self._draw(who, action, channel, day_of(moment), found)
        self._follow(who, action, answers, moment)
        return answers

    def _count(self, who: Ints, found: Chances) -> None:
        self.figures["contacts"][who] += 1
        self.figures["yes"][who] += found.yes
        self.figures["income"][who] += found.gain
        self.figures["complaints"][who] += found.complaint
        self.figures["opt_outs"][who] += found.opt_out

    def _tire(self, who: Ints, action: Ints, moment: int) -> None:
        days = (moment - self.heated[who]) / DAY_SECONDS
        self.heat[who] = faded(self.heat[who], days) + WEIGHT
        self.same[who] = faded(self.same[who], days[:, None])
        self.same[who, action] += WEIGHT
        self.heated[who] = moment

    def _draw(self, who: Ints, action: Ints, channel: Ints, day: int, found: Chances) -> Answers:
        luck = {
            kind: self.world.chance(who, day, kind, action, channel)
            for kind in ("answer", "complaint", "refusal", "opting_out")
        }
        accepted = luck["answer"] < found.yes
        clicked = luck["answer"] < click_probability(found.yes)
        complaint = found.complaint / np.maximum(1 - found.yes, 1e-12)
        complained = ~accepted & (luck["complaint"] < complaint)
        alone = np.maximum(found.opt_out - _REFUSES * found.complaint, 0.0)
        refused = (complained & (luck["refusal"] < _REFUSES)) | (luck["opting_out"] < alone)
        return Answers(clicked | (luck["refusal"] > 0.7), clicked, accepted, complained, refused)

    def _follow(self, who: Ints, action: Ints, answers: Answers, moment: int) -> None:
        """Let answers change the customers."""
        self.mood[who[answers.complained]] -= 0.3
        self.marketing[who[answers.refused]] = False
        self.personal[who[answers.refused]] = False
        product = SOLD[action]
        buys = answers.accepted & (product >= 0)
        self.owned[who[buys], product[buys]] = True
        pleased = answers.accepted & _IS_RETENTION[action]
        self.mood[who[pleased]] += 0.6
        zeros = np.zeros(len(who), dtype=np.int64)
        luck = self.world.chance(who, day_of(moment), "keeping", zeros, zeros)
        month = self.world.month_of(day_of(moment))
        kept = pleased & self.world.is_leaving[who, month] & (luck < KEPT_BY_RETENTION)
        self.left[who[kept]] = NEVER

    def end_month(self, month: int) -> None:
        """Let customers whom contacts annoyed begin to leave; they are gone from the next month on."""
        world = self.world
        who = np.arange(world.size)
        last = int(world.span.month_start[world.span.past + month + 1]) - 1
        moment = (last + 1) * DAY_SECONDS
        tired = self._fatigue * faded(self.heat, (moment - self.heated) / DAY_SECONDS)
        silent = self._fatigue * faded(self._silent, np.full(world.size, float(last + 1 - world.starts)))
        here = self.is_here(last) & ~world.is_leaving[:, month]
        with_contacts = np.where(here, self._leaving(month, self.mood, tired, self.owned), 0.0)
        without = np.where(here, self._leaving(month, np.zeros(world.size), silent, world.owned), 0.0)
        more = with_contacts - without
        self.figures["leavers"] += with_contacts
        self.figures["income"] -= more * np.maximum(world.yearly, 0)
        zeros = np.zeros(world.size, dtype=np.int64)
        luck = world.chance(who, last, "leaving", zeros, zeros)
        goes = here & (luck < more / (1 - without))
        self.left[goes] = np.minimum(self.left[goes], last + 1)
        self.mood *= _FORGIVES

    def _leaving(self, month: int, mood: Floats, tired: Floats, owned: Bools) -> Floats:
        return leaving_probability(
            self.world.satisfaction[:, month] + mood, self.world.price,
            owned.sum(axis=1).astype(np.float64), self.world.years, tired,
        )  # fmt: skip


CHANNEL_OF = {name: index for index, name in enumerate(CHANNELS)}
