"""Next best action in real time: decides when the customer is there, and learns from each answer.

What a decision knows is everything up to its instant. Stated probabilities are learned from answers and those
of models are corrected by them, as on a server: a yes teaches at once, a silence after as long as a yes
takes; what corrects models comes after a week, yes or no.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from tilltal.core.instants import micros
from tilltal.core.operational import Answered
from tilltal.customers.traits.online import Event
from tilltal.decisions.live.decider import LiveDecider, Shown
from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import ACTIONS, PRODUCTS
from tilltal.demo.shapes import Floats
from tilltal.demo.worth.batch import LEAST_PROMISE, promise
from tilltal.demo.worth.kit import Bureau, Campaigns, Desk, Row, numbers_of, row_numbers
from tilltal.demo.worth.lives import Lives
from tilltal.demo.worth.timeline import Happening
from tilltal.demo.worth.walk import Walk
from tilltal.demo.worth.world import World
from tilltal.models.adaptive.model import Case
from tilltal.models.adaptive.serving import Answers, TeamTable
from tilltal.models.adaptive.team import TeamCase, new_team
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.recalibrating import Recalibrating, Scored
from tilltal.runtime.live.answers.teams import layouts_of, state_name
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.workspace.definitions.actions import Adaptive, Learned
from tilltal.workspace.definitions.policies import ActionScope, ContextRule
from tilltal.workspace.workspace import Workspace

FEATURES = ("is_digital", "contact_count_30d", "click_rate", "lifecycle.stage")
WAIT = timedelta(days=7)
_PAUSE = 3 * 3600  # seconds between two decisions for a customer: one a visit
_MONEY = ("salary", "deposit")
_LOOKS = 100.0  # per cent added to C for the product that the customer is looking into
_REFRESH_US = 86_400_000_000


def in_real_time(world: World, happenings: Sequence[Happening], bureau: Bureau) -> Lives:
    """Decide at the customers' own moments."""
    plan = decision_plan(
        learning(bureau.workspace), Clock(world.instant(world.starts * DAY_SECONDS), bureau.workspace.zone)
    )
    desk = Desk(bureau, plan)
    walk = Walk(world, happenings, desk)
    mind = Mind(bureau, desk.decider, world.instant(world.starts * DAY_SECONDS))
    asked = np.full(world.size, -(10**9), dtype=np.int64)
    for one in walk.happen(world.span.days * DAY_SECONDS):
        if not is_moment(one) or one.moment - asked[one.row] < _PAUSE:
            continue
        asked[one.row] = one.moment
        now = one.fact.received
        mind.wait_over(now)
        profile = desk.profile(one.row, now)
        found = mind.decide(desk, profile, one, now)
        if found is not None and promise(found.shown) >= LEAST_PROMISE:
            action, channel = (row_numbers([number]) for number in numbers_of(found.shown))
            answers = walk.contact(row_numbers([one.row]), action, channel, one.moment)
            mind.shown(found, bool(answers.accepted[0]), now)
    return walk.finish()


def is_moment(one: Happening) -> bool:
    """Whether to decide: the customer is there, or money came."""
    return one.place is not None or (isinstance(one.fact, Event) and one.fact.type in _MONEY)


def learning(workspace: Workspace) -> Workspace:
    """Return a workspace whose stated probabilities are learned, and which heeds what customers look into."""
    actions = {
        name: msgspec.structs.replace(action, propensity=_learned(action.propensity))
        if isinstance(action.propensity, float) and 0 < action.propensity < 1
        else action
        for name, action in workspace.actions.items()
    }
    looks = tuple(
        ContextRule(
            key="page", value=action.product, weight=_LOOKS, applies_to=ActionScope(action=action.name)
        )
        for action in ACTIONS
        if action.product
    )
    arbitration = workspace.arbitration
    rules = (*arbitration.context_rules, *looks)
    return msgspec.structs.replace(
        workspace, actions=actions, arbitration=msgspec.structs.replace(arbitration, context_rules=rules)
    )


def _learned(rate: float) -> Learned:
    return Learned(adaptive=Adaptive(base_rate=rate, evidence=50, features=FEATURES, wait="7 days"))


class Found(msgspec.Struct, frozen=True):
    """A decision, and what its models saw."""

    number: int
    shown: Shown
    case: TeamCase | None
    scored: Scored | None


class _Open(msgspec.Struct, frozen=True, order=True):
    ends: datetime
    number: int
    found: Found
    label: bool


class Mind:
    """What is learned from answers: a team for each action and channel, and a line for each model."""

    def __init__(self, bureau: Bureau, decider: LiveDecider, at: datetime) -> None:
        self._decider = decider
        self._teams = [
            new_team(state_name(pair), layouts_of(decider, pair), micros(at)) for pair in decider.adaptive
        ]
        self._remember(bureau.campaigns, micros(at))
        self._table = TeamTable(self._teams, decider.slots, micros(at))
        settings = bureau.workspace.settings.server.recalibration
        self._lines = Recalibrating(decider, settings, bureau.editions, {})
        self._first_lines = bureau.lines
        self._open: list[_Open] = []
        self._number = 0

    def _remember(self, campaigns: Campaigns, at: int) -> None:
        """Begin with the answers of the past, which say how each action fares in each channel."""
        past = Case("campaigns of the past", at, ())
        for pair, team in zip(self._decider.adaptive, self._teams, strict=True):
            yes = campaigns.yes.get(pair, 0)
            for model in team.models:
                model.learn(past, True, times=yes)
                model.learn(past, False, times=campaigns.contacts.get(pair, 0) - yes)

    def decide(self, desk: Desk, profile: Row, one: Happening, now: datetime) -> Found | None:
        """Decide for a customer who may be there: where the customer is, if the best action speaks there."""
        at = micros(now)
        if at - self._table.at > _REFRESH_US:
            self._table.refresh(at)
        self._number += 1
        values = self._decider.values_of(profile)
        said = self._table.ask(values, _id(self._number))
        rates: Floats = said.rates
        context = {"page": PRODUCTS[one.product]} if one.product >= 0 else {}
        lines = {**self._first_lines, **self._lines.lines}
        best = desk.best(profile, now, context=context, rates=rates, lines=lines)
        if best is None:
            return None
        if one.place and one.place != best.channel:
            here = desk.best(profile, now, context=context, channel=one.place, rates=rates, lines=lines)
            best = here if here is not None and here.action == best.action else best
        return Found(
            self._number, best, self._case(best, values, said, at), self._lines.scored(best.action, values)
        )

    def _case(self, shown: Shown, values: Sequence[object], said: Answers, at: int) -> TeamCase | None:
        if shown.pair < 0:
            return None
        return self._table.case(shown.pair, values, int(said.served[shown.pair]), at)

    def shown(self, found: Found, accepted: bool, now: datetime) -> None:
        """Take in that an action was shown, and its yes if there was one."""
        wait = WAIT
        if found.case is not None:
            team, at = self._teams[found.shown.pair], micros(now)
            if accepted:
                team.answered(at, 0)
            patience = 0 if accepted else team.patience(found.case, _id(found.number), at)
            wait = timedelta(microseconds=patience)
        heapq.heappush(self._open, _Open(now + wait, found.number, found, accepted))

    def wait_over(self, now: datetime) -> None:
        """Learn from what has waited long enough."""
        while self._open and self._open[0].ends <= now:
            one = heapq.heappop(self._open)
            self._learn(one.found, one.label, one.ends)

    def _learn(self, found: Found, label: bool, now: datetime) -> None:
        at = micros(now)
        if found.case is not None:
            self._teams[found.shown.pair].revise(found.case, None, label, at)
            self._table.update(found.shown.pair)
        elif found.scored is not None:
            kind = "accept" if label else "reject"
            name = _id(found.number)
            told = Answered(
                id=name, decision=name, action=found.shown.action, channel=found.shown.channel, kind=kind,
                at=at, received=at,
            )  # fmt: skip
            self._lines.learn(found.scored, name, [told], at)


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")
