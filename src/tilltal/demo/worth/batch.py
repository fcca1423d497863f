"""The strategies of a bank that sends lists: all of them once a week, on Mondays at ten.

What customers did since the last refresh, at midnight before, is not known; so it is with a nightly batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np

from tilltal.decisions.live.decider import Shown
from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import ACTION, CHANNELS
from tilltal.demo.worth.economy import CONTACT_COST
from tilltal.demo.worth.kit import Bureau, Desk, Row, numbers_of, row_numbers
from tilltal.demo.worth.lives import Lives
from tilltal.demo.worth.timeline import Happening
from tilltal.demo.worth.walk import Walk
from tilltal.demo.worth.world import World

# One campaign a week for everybody, in turn.
CAMPAIGNS = (
    "start_savings", "travel_insurance_offer", "monthly_fund", "premium_card_offer", "home_insurance_offer",
    "consumer_loan_offer", "car_insurance_offer", "pension_plan", "mortgage_promise",
)  # fmt: skip
# Who belongs to several segments gets the first that may be sent.
SEGMENTS = (
    ("house_hunters", "mortgage_promise"), ("car_buyers", "car_insurance_offer"),
    ("new_money", "monthly_fund"), ("idle_savers", "monthly_fund"), ("unhappy", "advisor_meeting"),
    ("travellers", "travel_insurance_offer"), ("young_families", "home_insurance_offer"),
    ("digital", "premium_card_offer"), ("customers", "start_savings"),
)  # fmt: skip
TARGETED = 0.20  # the best-scored share of customers that each model's campaign goes to
LEAST_PROMISE = 8.0
"""Kronor that a contact must promise, or nothing is said."""
_HOUR = 10

Chooser: TypeAlias = Callable[[Desk, Sequence[tuple[int, Row]], datetime], Iterator[tuple[int, Shown]]]
"""Given the profiles of the last refresh, who is to be contacted how."""


def mondays(world: World) -> Iterator[int]:
    """Give the midnights of all Mondays ahead."""
    weekday = world.span.first_day.weekday()
    for day in range(world.starts, world.span.days):
        if (weekday + day) % 7 == 0:
            yield day * DAY_SECONDS


def mass_mailing(world: World, happenings: Sequence[Happening]) -> Lives:
    """Send the week's campaign by e-mail to all who consented and do not hold its product."""
    walk = Walk(world, happenings)
    email = CHANNELS.index("email")
    for week, midnight in enumerate(mondays(world)):
        moment = midnight + _HOUR * 3600
        walk.pass_until(moment)
        who = np.flatnonzero(walk.lives.is_here(midnight // DAY_SECONDS))
        action = np.full(len(who), ACTION[CAMPAIGNS[week % len(CAMPAIGNS)]], dtype=np.int64)
        channel = np.full(len(who), email, dtype=np.int64)
        may = walk.lives.may_contact(who, action, channel)
        walk.contact(who[may], action[may], channel[may], moment)
    return walk.finish()


def weekly(world: World, happenings: Sequence[Happening], bureau: Bureau, choose: Chooser) -> Lives:
    """Choose by the profiles of the last refresh, and send."""
    desk = Desk(bureau)
    walk = Walk(world, happenings, desk)
    for midnight in mondays(world):
        walk.pass_until(midnight)
        now = world.instant(midnight)
        here = np.flatnonzero(walk.lives.is_here(midnight // DAY_SECONDS)).tolist()
        chosen = list(choose(desk, [(row, desk.profile(row, now)) for row in here], now))
        moment = midnight + _HOUR * 3600
        walk.pass_until(moment)
        if chosen:
            numbers = row_numbers([row for row, _ in chosen])
            pairs = np.array([numbers_of(shown) for _, shown in chosen], dtype=np.int64)
            walk.contact(numbers, pairs[:, 0], pairs[:, 1], moment)
    return walk.finish()


def by_segments(
    desk: Desk, profiles: Sequence[tuple[int, Row]], now: datetime
) -> Iterator[tuple[int, Shown]]:
    """Choose the first segment's campaign that may be sent."""
    for row, profile in profiles:
        for audience, action in SEGMENTS:
            shown = desk.of_action(profile, action, now) if profile[f"audience.{audience}"] else None
            if shown is not None:
                yield row, shown
                break


def by_propensity(
    desk: Desk, profiles: Sequence[tuple[int, Row]], now: datetime
) -> Iterator[tuple[int, Shown]]:
    """Choose, for each model, the best-scored fifth; who is in several, where the score stands out most."""
    wanted: dict[int, list[tuple[float, str]]] = {row: [] for row, _ in profiles}
    for action in desk.plan.actions:
        if action.model is not None:
            scores = np.array([_number(profile.get(f"score.{action.model}")) for _, profile in profiles])
            known = scores[np.isfinite(scores)]
            if not len(known) or known.max() == known.min():
                continue
            least, usual = np.quantile(known, 1 - TARGETED), known.mean()
            for (row, _), score in zip(profiles, scores.tolist(), strict=True):
                if score >= least:
                    wanted[row].append((score / usual, action.name))
    for row, profile in profiles:
        for _, name in sorted(wanted[row], reverse=True):
            shown = desk.of_action(profile, name, now)
            if shown is not None:
                yield row, shown
                break


def next_best(desk: Desk, profiles: Sequence[tuple[int, Row]], now: datetime) -> Iterator[tuple[int, Shown]]:
    """Choose each customer's next best action, unless it promises too little."""
    for row, profile in profiles:
        shown = desk.best(profile, now, lines=desk.bureau.lines)
        if shown is not None and promise(shown) >= LEAST_PROMISE:
            yield row, shown


def promise(shown: Shown) -> float:
    """Return what a contact promises in kronor, less what it costs."""
    return shown.P * shown.C * shown.V - float(CONTACT_COST[CHANNELS.index(shown.channel)])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
