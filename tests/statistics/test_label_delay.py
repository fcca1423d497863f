"""A yes comes soon, a no is a silence: what is learned must not depend on which of them is sooner.

Known truth, fixed seeds; bounds are four standard deviations of what so many answers can tell.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tilltal.core.operational import Answered
from tilltal.decisions.live.decider import LiveDecider
from tilltal.decisions.live.exploring import Chance
from tilltal.decisions.plan import Policies, plan_decisions
from tilltal.models.adaptive.contest import Contest
from tilltal.models.adaptive.delays import new_delays, patience
from tilltal.models.adaptive.ledger import Ledger, noted
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.adaptive.settling import AT_ONCE, Settling
from tilltal.models.adaptive.team import TeamCase
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.live.answers.learning import Learning, told
from tilltal.runtime.live.answers.recalibrating import Recalibrating
from tilltal.workspace.definitions.actions import Action, Adaptive, Learned
from tilltal.workspace.definitions.policies import Arbitration, Consent, Purpose
from tilltal.workspace.definitions.settings import Recalibration

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
START = 20_000 * DAY
CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
Draw = Callable[[np.random.Generator], float]


def decider_of(actions: Mapping[str, Learned | str], schema: Mapping[str, Type]) -> LiveDecider:
    """Return a decider of actions with their propensities, in one channel."""
    made = {
        name: Action(title="", group=name, purpose="service", propensity=propensity, value=1.0)
        for name, propensity in actions.items()
    }
    policies = Policies(
        arbitration=Arbitration(), consent=Consent(purposes={"service": Purpose(consent="not_required")})
    )
    return LiveDecider(plan_decisions(made, dict.fromkeys(made, ("web",)), schema, policies, CLOCK))


def told_of(number: int, action: str, kind: str, at: int) -> Answered:
    """Return a response to a decision, told at once."""
    name = number.to_bytes(16, "big")
    return Answered(id=b"", decision=name, action=action, channel="web", kind=kind, at=at, received=at)


class Bank:
    """Actions that learn, without a store: responses, those that wait, and when they are looked at."""

    def __init__(self, definition: Adaptive, *actions: str) -> None:
        learned = Learned(adaptive=definition)
        self.decider = decider_of(dict.fromkeys(actions, learned), {})
        self.learning = Learning(self.decider, {}, START)
        self._cases: dict[bytes, tuple[str, TeamCase]] = {}
        self._responses: dict[bytes, list[Answered]] = defaultdict(list)
        self._waiting: dict[bytes, int] = {}
        self._ends: list[tuple[int, bytes]] = []

    def decide(self, number: int, at: int) -> tuple[bytes, str]:
        """Decide by Thompson sampling; return the decision and what it shows."""
        name = number.to_bytes(16, "big")
        values = self.decider.values_of({})
        answers = self.learning.ask(values, name, at)
        assert answers is not None
        chance = Chance(answers.evidence, name)
        (best,) = self.decider.decide(values, CLOCK, {}, count=1, rates=answers.rates, chance=chance).shown
        (case,) = self.learning.cases([best], answers, at).values()
        self._cases[name] = best.action, case
        return name, best.action

    def respond(self, decision: bytes, kind: str, at: int) -> None:
        """Take in a response, as `replying` does."""
        action, case = self._cases[decision]
        before = self._responses[decision]
        is_waiting = decision in self._waiting
        told_before = told(before, is_waiting=is_waiting)
        one = told_of(int.from_bytes(decision, "big"), action, kind, at)
        self._responses[decision] = [*before, one]
        lesson = self.learning.learn(case, told_before, [*before, one], at, is_waiting=is_waiting)
        if not lesson.stays:
            self._wait(decision, lesson.ends)

    def overdue(self, at: int) -> None:
        """Take silences for an answer that have lasted long enough."""
        while self._ends and self._ends[0][0] <= at:
            ends, decision = heapq.heappop(self._ends)
            if self._waiting.get(decision) == ends:
                case = self._cases[decision][1]
                responses = self._responses[decision]
                self._wait(decision, self.learning.learn(case, None, responses, at, is_over=True).ends)

    def rate(self, at: int) -> list[float]:
        """Return P of each action."""
        answers = self.learning.ask(self.decider.values_of({}), b"", at)
        assert answers is not None
        return [float(each) for each in answers.rates]

    def _wait(self, decision: bytes, ends: int | None) -> None:
        self._waiting.pop(decision, None)
        if ends is not None:
            self._waiting[decision] = ends
            heapq.heappush(self._ends, (ends, decision))


def test_thompson_sampling_learns_what_is_true_from_a_yes_at_once_and_silences() -> None:
    """All within a minute, and the wait is a day: not one silence has lasted that long."""
    truth = {"a": 0.2, "b": 0.15, "c": 0.15}
    bank, rng = Bank(Adaptive(base_rate=0.15, wait="1 day"), *truth), np.random.default_rng(1)
    shown, came = Counter[str](), Counter[str]()
    rows, step = 1_500, 40_000
    for number in range(rows):
        at = START + number * step
        bank.overdue(at)
        decision, action = bank.decide(number, at)
        bank.respond(decision, "impression", at)
        if rng.random() < truth[action]:
            bank.respond(decision, "accept", at + 5_000)
            came[action] += 1
        shown[action] += 1
    rates = dict(zip(truth, bank.rate(START + rows * step), strict=True))
    print(f"\nP {rates}, shown {dict(shown)}, yes {dict(came)}")
    for action, rate in truth.items():
        believed = (100 * 0.15 + shown[action] * rate) / (100 + shown[action])
        missing = 0.5 / rate * np.log(1 + 2 * rate * shown[action])  # silences until delays are known
        chance = 4 * np.sqrt(rate * (1 - rate) * shown[action]) / (100 + shown[action])
        assert believed - chance < rates[action]
        assert rates[action] < believed * (1 + missing / (100 + shown[action])) + chance
    assert min(shown["b"], shown["c"]) > 50, "the others, too, are tried"


def flow(law: Draw, rate: float, per_day: int, days: int, seed: int) -> Iterator[tuple[int, float]]:
    """Yield day and P while decisions and yes come steadily; a yes takes what `law` draws."""
    bank, rng = Bank(Adaptive(base_rate=rate, wait="7 days"), "a"), np.random.default_rng(seed)
    events = [(START + number * DAY // per_day, False, number) for number in range(per_day * days)]
    day = 1
    while events:
        at, is_yes, number = heapq.heappop(events)
        while at >= START + day * DAY and day <= days:
            bank.overdue(START + day * DAY)
            yield day, bank.rate(START + day * DAY)[0]
            day += 1
        bank.overdue(at)
        if is_yes:
            bank.respond(number.to_bytes(16, "big"), "accept", at)
            continue
        decision, _ = bank.decide(number, at)
        bank.respond(decision, "impression", at)
        if rng.random() < rate:
            heapq.heappush(events, (at + min(int(law(rng)), 7 * DAY), True, number))


@pytest.mark.parametrize(
    ("law", "first"),
    [
        (lambda rng: 2.0 * SECOND, 1),
        pytest.param(lambda rng: rng.exponential(HOUR), 1, marks=pytest.mark.slow),
        pytest.param(lambda rng: rng.exponential(DAY), 3, marks=pytest.mark.slow),
    ],
    ids=["at once", "an hour", "a day"],
)
def test_what_is_true_stays_so_from_the_first_days_on(law: Draw, first: int) -> None:
    """From day `first` on P is right: the base rate is true, and answers must not move it."""
    rate, per_day, days = 0.1, 80, 10
    found = dict(flow(law, rate, per_day, days, seed=4))
    print("\n" + " ".join(f"{day}: {said:.3f}" for day, said in found.items()))
    for day, said in found.items():
        chance = 4 * np.sqrt(rate * (1 - rate) * per_day * day) / (100 + per_day * day)
        assert said < rate + chance + 0.01
        if day >= first:
            assert said > rate - chance - 0.01


@pytest.mark.parametrize("rate", [0.04, 0.4])
def test_an_open_case_counts_as_much_as_yes_have_come(rate: float) -> None:
    """With F known: of cases of any age, p·F count as yes and (1 − p)·F as no."""
    rng, cases = np.random.default_rng(6), 100_000
    delays, wait = new_delays(7 * DAY), 7 * DAY
    for delay in rng.exponential(DAY, 20_000):
        delays.add(START, int(delay))
    shares = delays.shares(START + 100 * DAY, wait)
    takes = np.minimum(rng.exponential(DAY, cases), wait)
    is_yes = rng.random(cases) < rate
    waits = np.array([patience(shares, rate, float(place), wait) for place in rng.random(cases)])
    for age in (HOUR, 6 * HOUR, DAY, 2 * DAY, 4 * DAY, 7 * DAY):
        yes = is_yes & (takes <= age)
        no = ~yes & (waits <= age)
        come = 1 - np.exp(-age / DAY) if age < wait else 1.0
        labelled = int((yes | no).sum())
        chance = 4 * np.sqrt(rate * (1 - rate) / labelled)
        # spans double, and a delay within one is held to be uniform: a twentieth at most is off
        assert labelled / cases == pytest.approx(come, rel=0.05 + 4 / np.sqrt(cases * come))
        assert yes.sum() / labelled == pytest.approx(rate, abs=0.05 * rate + chance)


def test_delays_of_young_cases_tell_what_later_yes_will_take() -> None:
    """Traffic doubles daily: most yes known are of the last hours, and were quick."""
    rng, delays, now = np.random.default_rng(7), new_delays(7 * DAY), START + 12 * DAY
    naive = []
    for age in DAY * rng.exponential(1 / np.log(2), 20_000):
        delay = rng.exponential(DAY)
        if delay <= age <= 12 * DAY:
            delays.add(int(now - age), int(delay))
            naive.append(delay)
    shares = delays.shares(now, 7 * DAY)
    for span in (15, 16, 17, 18):
        end = SECOND << span
        true = 1 - np.exp(-end / DAY)
        as_seen = np.mean(np.array(naive) < end)
        assert true - 0.02 < shares[span] < true + 0.6 * (as_seen - true)


def test_delays_nobody_knows_yet_may_be_of_any_size() -> None:
    shares = new_delays(7 * DAY).shares(START, 7 * DAY)
    assert np.diff([0, *shares]) == pytest.approx(np.full(21, 1 / 21))
    known = new_delays(7 * DAY)
    for _ in range(50):
        known.add(START, 0)
    assert known.shares(START, 7 * DAY)[0] > 0.98
    assert patience(shares, 0.1, 1 - 1e-12, 7 * DAY) <= 7 * DAY
    assert patience(shares, 0.1, 1e-12, 7 * DAY) == 0
    assert patience(shares, 0.9, 0.5, 7 * DAY) > patience(shares, 0.1, 0.5, 7 * DAY)


def contest_of(settling: Settling, days: int = 25) -> Contest:
    """Let one that says the truth meet one that says thrice as much; a yes at once, a no after a week."""
    rng, contest = np.random.default_rng(9), Contest(2, 0.2, START, settling)
    events = []
    for number in range(200 * days):
        at, is_yes = START + number * DAY // 200, bool(rng.random() < 0.15)
        events.append((at if is_yes else at + 7 * DAY, number, at, is_yes))
    for known, _, at, is_yes in sorted(events):
        contest.revise(contest.judged((0.15, 0.45)), None, is_yes, at)
        contest.conclude(known)
    return contest


def test_nobody_is_promoted_for_a_yes_that_is_sooner_than_a_no() -> None:
    assert contest_of(AT_ONCE).round > 0, "judged as labels come, the wrong one wins"
    right = contest_of(Settling(7 * DAY))
    assert right.round == 0
    assert right.shares(START + 60 * DAY) == (1.0, 0.0), "the wrong one was stopped"


def alarms_of(settling: Settling) -> int:
    """Count alarms on a model that says the truth; yes at once, no after a week."""
    rng, ledger, events = np.random.default_rng(10), Ledger("x"), []
    for number in range(4_000):
        at, is_yes = START + number * DAY // 200, bool(rng.random() < 0.04)
        events.append((at if is_yes else at + 7 * DAY, number, at, is_yes))
    alarms = 0
    for known, number, at, is_yes in sorted(events):
        ledger.revise(noted(number, 0.04), (1,), None, is_yes, settling.period(at))
        alarms += ledger.listen(settling, known)
    return alarms


def test_the_alarm_is_not_raised_by_a_yes_that_is_sooner_than_a_no() -> None:
    assert alarms_of(AT_ONCE) > 0
    assert alarms_of(Settling(7 * DAY)) == 0


def test_a_model_that_is_right_is_not_corrected() -> None:
    """500 impressions a day, a yes within the hour, a silence for a week."""
    rng, per_day, days = np.random.default_rng(11), 500, 16
    decider = decider_of({"card": "liking"}, {"score.liking": Type.NUMBER})
    lines = Recalibrating(decider, Recalibration(wait="7 days"), {"liking": "first"}, {})
    events: list[tuple[int, int, str]] = []
    scored = {}
    for number in range(per_day * days):
        at = START + number * DAY // per_day
        p = float(np.clip(rng.beta(2, 48), 0.001, 0.5))
        said = lines.scored("card", decider.values_of({"score.liking": p}))
        assert said is not None
        scored[number] = said
        events.append((at, number, "impression"))
        if rng.random() < p:
            events.append((at + HOUR, number, "accept"))
    responses: dict[int, list[Answered]] = defaultdict(list)
    waiting: deque[tuple[int, int]] = deque()
    worst = 0.0
    for at, number, kind in sorted(events):
        while waiting and waiting[0][0] <= at:
            ends, other = waiting.popleft()
            assert (
                lines.learn(scored[other], responses[other][0].decision, responses[other], ends).ends is None
            )
        responses[number].append(told_of(number, "card", kind, at))
        lesson = lines.learn(scored[number], responses[number][0].decision, responses[number], at)
        assert lesson.ends is not None
        if kind == "impression":
            waiting.append((lesson.ends, number))
        if number % 50 == 0:
            line = lines.lines.get("liking", Platt())
            worst = max(worst, abs(recalibrated(0.04, line) - 0.04))
    assert "liking" in lines.lines, "it was corrected at all"
    print(f"\nat most {worst:.3f} off")
    # 1,500 labels at 4 %: one standard deviation is half a point; slope and looking often add to it
    assert worst < 4.5 * np.sqrt(0.04 * 0.96 / 1_500)
