"""Off-policy estimators against a world whose truth is known: values, intervals, refusals."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from scipy.stats import binom

from tilltal.core.errors import DataError
from tilltal.models.offpolicy.choices import Choice, log_of
from tilltal.models.offpolicy.estimate import estimate
from tilltal.models.offpolicy.evaluation import Evaluation, evaluate
from tilltal.models.offpolicy.ips import ips
from tilltal.models.offpolicy.log import Log
from tilltal.models.offpolicy.overlap import objections, overlap
from tilltal.models.offpolicy.snips import snips

NAMES = ("card", "fund", "loan", "mortgage", "nothing")
_TASTE = np.random.default_rng(7).normal(size=(3, 5)) * 0.7
_LEVEL = np.array([-2.0, -1.5, -2.5, -1.0, -3.0])
Numbers = NDArray[np.float64]


def world(rows: int, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Features, the truth of each action's reward, the logging policy and the new one, (rows, ...)."""
    x = rng.normal(size=(rows, 3))
    truth = expit(x @ _TASTE + _LEVEL)
    logging = 0.3 / 5 + 0.7 * softmax(2 * (x @ _TASTE[:, ::-1]), axis=1)
    new = 0.1 / 5 + 0.9 * softmax(1.5 * (x @ _TASTE), axis=1)
    return x, truth, logging, new


def logged(rows: int, seed: int) -> Log:
    """Decisions of the logging policy with their answers."""
    rng = np.random.default_rng(seed)
    x, truth, logging, new = world(rows, rng)
    shown = np.minimum((rng.random((rows, 1)) > logging.cumsum(axis=1)).sum(axis=1), 4)
    every = np.arange(rows)
    return Log(
        shown=shown,
        reward=(rng.random(rows) < truth[every, shown]).astype(np.float64),
        probability=logging[every, shown],
        policy=new,
        names=NAMES,
        features=x.astype(np.float32),
    )


def some(log: Log, kept: NDArray[np.bool_]) -> Log:
    """Only some of the rows."""
    assert log.features is not None
    return msgspec.structs.replace(
        log,
        shown=log.shown[kept],
        reward=log.reward[kept],
        probability=log.probability[kept],
        policy=log.policy[kept],
        features=log.features[kept],
    )


def true_value(customers: int = 2_000_000) -> float:
    """The new policy's value; its own error is 0.12 / √customers."""
    _, truth, _, new = world(customers, np.random.default_rng(0))
    return float((truth * new).sum(axis=1).mean())


def test_a_policy_evaluated_on_its_own_log_earns_what_was_earned() -> None:
    log = logged(2000, 1)
    _, _, logging, _ = world(2000, np.random.default_rng(1))
    found = evaluate(msgspec.structs.replace(log, policy=logging))
    for one in found.values[:2]:
        assert one.value.value == pytest.approx(log.reward.mean())
        assert one.gain.value == pytest.approx(0, abs=1e-12)
        assert one.gain.error == pytest.approx(0, abs=1e-12)
    assert found.overlap.effective == pytest.approx(2000)
    assert "no difference that could be told from noise" in found.verdict


def test_estimates_are_near_the_truth_and_the_gain_is_found() -> None:
    found, truth = evaluate(logged(5000, 2)), true_value(200_000)
    for one in found.values:
        assert abs(one.value.value - truth) < 4 * one.value.error
        assert one.gain.low > 0
    assert [one.method for one in found.values] == ["IPS", "SNIPS", "DR", "SNDR"]
    assert "it is better" in found.verdict


def test_a_reward_raised_for_all_raises_what_is_normalised_by_as_much() -> None:
    log = logged(3000, 3)
    before = evaluate(log)
    after = evaluate(msgspec.structs.replace(log, reward=log.reward + 100))
    for place in (1, 3):
        assert after.values[place].value.value == pytest.approx(
            before.values[place].value.value + 100, abs=1e-3
        )
    assert abs(after.values[0].value.value - before.values[0].value.value - 100) > 0.01


def test_rows_of_one_customer_count_as_one() -> None:
    log = logged(1000, 4)
    names = ("shown", "reward", "probability", "policy", "features")
    twice = msgspec.structs.replace(
        log,
        **{name: np.repeat(getattr(log, name), 4, axis=0) for name in names},
        customers=np.repeat(np.arange(1000), 4),
    )
    once, fourfold = evaluate(log), evaluate(twice)
    for one, other in zip(once.values[:2], fourfold.values[:2], strict=True):
        assert other.value.value == pytest.approx(one.value.value)
        assert other.value.error == pytest.approx(one.value.error)


def test_the_interval_of_a_mean_is_the_one_of_the_textbook() -> None:
    draws = np.random.default_rng(5).normal(3, 2, 50)
    found = estimate(float(draws.mean()), draws - draws.mean())
    assert found.error == pytest.approx(draws.std(ddof=1) / np.sqrt(50))


def test_thin_overlap_is_refused_with_its_figures() -> None:
    log = logged(3000, 6)
    always = np.zeros_like(log.policy)
    always[:, int(np.argmin(np.bincount(log.shown)))] = 1.0
    with pytest.raises(DataError, match=r"M412.*decisions are worth \d+ of the new policy's own, 200 needed"):
        evaluate(some(msgspec.structs.replace(log, policy=always), np.arange(3000) < 800))


def test_actions_never_tried_are_refused_by_name() -> None:
    log = logged(3000, 7)
    with pytest.raises(DataError, match=r"choices were never tried: loan \(\d+ %\)"):
        evaluate(some(log, log.shown != 2))


def test_support_is_checked_row_by_row_where_the_log_has_it() -> None:
    log = logged(3000, 8)
    _, _, logging, _ = world(3000, np.random.default_rng(8))
    closed = np.where(np.arange(3000)[:, None] % 2 == 0, logging, logging * (np.arange(5) != 1))
    closed /= closed.sum(axis=1, keepdims=True)
    found = overlap(msgspec.structs.replace(log, logging=closed))
    assert dict(found.untried) == {"fund": pytest.approx(log.policy[1::2, 1].sum() / 3000)}


def test_probabilities_that_did_not_choose_are_noticed() -> None:
    log = logged(3000, 9)
    wrong = overlap(msgspec.structs.replace(log, probability=np.full(3000, 0.5)))
    assert any("the mean weight is" in one for one in objections(wrong))
    assert objections(overlap(log)) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"probability": np.zeros(500)}, "500 probabilities of what was shown are not above 0"),
        ({"reward": np.full(500, np.nan)}, "500 rewards are no numbers"),
        ({"policy": np.full((500, 5), 0.3)}, "the new policy do not sum to 1"),
    ],
)
def test_impossible_numbers_are_refused(change: dict[str, Numbers], said: str) -> None:
    with pytest.raises(DataError, match=rf"M411.*{said}"):
        evaluate(msgspec.structs.replace(logged(500, 10), **change))


def test_an_empty_log_is_refused() -> None:
    log = logged(500, 11)
    with pytest.raises(DataError, match="there are none"):
        evaluate(some(log, np.zeros(500, dtype=np.bool_)))


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say_and_dr_is_no_worse_than_snips() -> None:
    """1,000 logs of 3,000 decisions, worth about 1,300 of the new policy's own.

    With a true coverage of 95 %, fewer than 93 or more than 97 of 100 come once in 300 times.
    """
    truth, runs = true_value(), 1000
    found: list[Evaluation] = [evaluate(logged(3000, seed)) for seed in range(runs)]
    errors = {}
    for place, method in enumerate(("IPS", "SNIPS", "DR", "SNDR")):
        values = [one.values[place].value for one in found]
        covered = sum(value.low <= truth <= value.high for value in values)
        assert 0.93 * runs <= covered <= 0.97 * runs, (method, covered)
        missed = np.array([value.value - truth for value in values])
        errors[method] = float(np.sqrt(np.mean(missed**2)))
        assert abs(missed.mean()) < 4 * missed.std() / np.sqrt(runs), method
    assert errors["DR"] <= errors["SNIPS"]
    assert errors["SNIPS"] < errors["IPS"]


@pytest.mark.slow
def test_intervals_cover_near_the_least_that_is_accepted() -> None:
    """500 decisions are worth about 225, at least 200: some are refused, of the others 93 to 97 % cover.

    The truth is missed on either side: a normal interval misses it above seven times as often as below.
    Without a model 1,500 logs; with one, which takes its time, 300: below 91 % comes once in 1,000 times.
    """
    truth = true_value()
    missed, kept = np.zeros((2, 2)), 0
    for seed in range(1_500):
        log = logged(500, 5_000 + seed)
        if objections(overlap(log)):
            continue
        kept += 1
        for place, found in enumerate((ips(log), snips(log))):
            one = estimate(found.value, found.influence)
            missed[place] += (truth < one.low, truth > one.high)
    assert kept > 1_000
    print(f"\nof {kept} logs, IPS and SNIPS missed the truth below and above: {missed.tolist()}")
    assert ((missed.sum(axis=1) >= 0.03 * kept) & (missed.sum(axis=1) <= 0.07 * kept)).all()
    assert (missed.max(axis=1) <= 4 * missed.min(axis=1)).all()
    covered, runs = np.zeros(4), 0
    for seed in range(300):
        try:
            whole = evaluate(logged(500, 5_000 + seed))
        except DataError:
            continue
        runs += 1
        covered += [one.value.low <= truth <= one.value.high for one in whole.values]
    print(f"of {runs}, covered by IPS, SNIPS, DR, SNDR: {covered.tolist()}")
    assert (covered >= binom.ppf(1e-3, runs, 0.95)).all()


def test_choices_with_candidates_of_their_own_make_a_log() -> None:
    rng = np.random.default_rng(12)
    made = []
    for number in range(600):
        chances = {"card": 0.5, "nothing": 0.5} if number % 2 else {"card": 0.2, "fund": 0.3, "nothing": 0.5}
        shown = str(rng.choice(list(chances), p=list(chances.values())))
        reward = float(shown == "fund")
        new = {"fund": 1.0} if "fund" in chances else {"nothing": 1.0}
        made.append(Choice(customer=number, shown=shown, reward=reward, chances=chances, new=new))
    log = log_of(made)
    assert log.names == ("card", "fund", "nothing")
    found = evaluate(log)
    assert found.overlap.untried == ()
    assert abs(found.values[0].value.value - 0.5) < 4 * found.values[0].value.error
    bold = [msgspec.structs.replace(one, new={"fund": 1.0}) for one in made]
    with pytest.raises(DataError, match=r"50 % of the new policy's choices were never tried: fund"):
        evaluate(log_of(bold))
    with pytest.raises(DataError, match=r"M411.*1 showed an action that was no candidate"):
        log_of([msgspec.structs.replace(made[0], shown="loan")])
