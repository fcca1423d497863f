"""Adaptive models on known truth and on a real campaign: regret, calibration, promotions, alarms, draws."""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import beta as beta_law
from scipy.stats import kstest
from tests.first_chances import chances_of_first

from tilltal.models.adaptive.bins import AnyBins, Borders, Listed, plain_bins
from tilltal.models.adaptive.change import ChangeDetector
from tilltal.models.adaptive.contest import ALPHA, Contest
from tilltal.models.adaptive.exploration import keys_of, thompson, uniforms
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.methods import new_model
from tilltal.models.adaptive.model import Case, chance, probability, score_of
from tilltal.models.adaptive.serving import TeamTable
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.models.adaptive.team import TeamCase, layouts, new_team
from tilltal.models.dataset.features import learn_encoding
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.quality.evaluation import area
from tilltal.models.quality.reliability import ece_by_chance, expected_calibration_error
from tilltal.models.rolling import rolling_platt
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Adaptive, Method

_ROOT = Path(__file__).resolve().parents[2]
_FILE = (
    Path(os.environ.get("TILLTAL_SHARED", _ROOT.parent / "shared")) / "data" / "bank_additional_full.parquet"
)
_here = pytest.mark.skipif(not _FILE.exists(), reason=f"{_FILE.name} is not here (set TILLTAL_SHARED)")

Vector = NDArray[np.float64]
Labels = NDArray[np.bool_]
MINUTE = 60_000_000
DELAY = 400  # calls until an answer is known


@cache
def calls() -> tuple[tuple[str, ...], list[tuple[object, ...]], dict[str, AnyBins], Labels]:
    """Names, rows in order of time, bins, and answers; without the length of the call."""
    table = pq.read_table(_FILE).drop_columns(["duration"])
    labels: Labels = table.column("y").to_numpy() == "yes"
    table = table.drop_columns(["y"])
    names = tuple(table.column_names)
    kinds = {
        name: Type.TEXT if str(table.schema.field(name).type) == "string" else Type.NUMBER for name in names
    }
    rows = list(zip(*(table.column(name).to_pylist() for name in names), strict=True))
    return names, rows, {name: plain_bins(kind) for name, kind in kinds.items()}, labels


def online(method: Method, half_life: str | None) -> Vector:
    """Return what is said of each call while its answer and those of the 400 before it are not known."""
    names, rows, bins, labels = calls()
    model = new_model(
        layout_of(Adaptive(base_rate=0.1, features=names, method=method, half_life=half_life), bins)
    )
    said = np.empty(len(rows))
    waiting: list[Case] = []
    for row, values in enumerate(rows):
        at = row * MINUTE
        if row % 50 == 0:  # fifty answers at a time, as a server commits them
            for place in range(max(row - DELAY - 50, 0), max(row - DELAY, 0)):
                model.learn(waiting[place], bool(labels[place]))
        scoring = model.scoring(at)
        said[row] = chance(scoring, model.layout, score_of(scoring, model.layout.cells(values)))
        waiting.append(model.case(values, at))
    return said


@_here
@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "half_life", "least", "least_late"),
    [("naive_bayes", "1500 minutes", 0.75, 0.70), ("bayesian_logistic", None, 0.76, 0.74)],
)
def test_a_real_campaign_online_with_late_answers(
    method: Method, half_life: str | None, least: float, least_late: float
) -> None:
    labels = calls()[3]
    said = online(method, half_life)
    late = slice(int(0.7 * len(said)), None)  # the base rate doubles here
    figures = (area(said, labels), expected_calibration_error(said, labels))
    after = (area(said[late], labels[late]), expected_calibration_error(said[late], labels[late]))
    print(f"\n{method} {half_life}: AUC {figures[0]:.3f} ECE {figures[1]:.3f}; last 30 % {after}")
    assert figures[0] >= least
    assert figures[1] <= 0.08
    assert after[0] >= least_late
    assert after[1] <= 0.08


def served(rows: list[tuple[object, ...]], names: tuple[str, ...], delay: int = DELAY) -> Vector:
    """Return what a server's team of one regression says of each call, answers coming `delay` calls late."""
    labels = calls()[3]
    bins = {name: calls()[2].get(name) or plain_bins(Type.NUMBER) for name in names}
    adaptive = Adaptive(base_rate=0.1, features=names, method="bayesian_logistic")
    team = new_team("calls", layouts(adaptive, bins), 0)
    table = TeamTable([team], {name: place for place, name in enumerate(names)}, 0)
    said, waiting = np.empty(len(rows)), list[TeamCase]()
    for row, values in enumerate(rows):
        at = row * MINUTE
        if row % 50 == 0 and row > delay:
            for place in range(max(row - delay - 50, 0), row - delay):
                team.revise(waiting[place], None, bool(labels[place]), at)
            table.update(0)
        said[row] = table.ask(values, b"decision").rates[0]
        waiting.append(table.case(0, values, 0, at))
    return said


WINDOW = 2_000


def windows(said: Vector, labels: Labels) -> list[float]:
    """Return the ECE of each 2,000 calls; 0.01 to 0.03 of it is chance (`ece_by_chance`)."""
    starts = range(0, len(said) - WINDOW + 1, WINDOW)
    return [expected_calibration_error(said[s : s + WINDOW], labels[s : s + WINDOW]) for s in starts]


@_here
@pytest.mark.slow
def test_a_server_s_regression_stays_calibrated_as_fast_as_answers_come() -> None:
    """In every window of 2,000 calls but one; and in that one, too, had the answers come at once.

    That the line over the log-odds is worth having shows in the first half, by log loss; the second half,
    where the share of yes goes from 5 % to 27 %, back to 6 % and on to 54 %, only judges it. In the sixteenth
    window it falls from 27 % to 6 % within some 1,000 calls: the line, 400 calls late, does harm there; so
    does the latest known share as a constant.
    """
    names, rows, _, labels = calls()
    said, at_once, plain = served(rows, names), served(rows, names, 0), online("bayesian_logistic", None)
    half = len(said) // 2
    found = {"late answers": windows(said, labels), "at once": windows(at_once, labels)}
    found["without the line"] = windows(plain, labels)
    print()
    for name, errors in found.items():
        print(f"{name}: ECE by window", *(f"{each:.3f}" for each in errors))
    print("of chance:", *(f"{ece_by_chance(said[s : s + WINDOW]):.3f}" for s in range(0, 40_000, WINDOW)))
    print(f"AUC {area(said, labels):.3f}; second half {area(said[half:], labels[half:]):.3f}")
    assert _log_loss(said[:half], labels[:half]) < _log_loss(plain[:half], labels[:half])
    assert area(said, labels) >= 0.76
    assert expected_calibration_error(said, labels) <= 0.08
    beyond = [place for place, error in enumerate(found["late answers"]) if error > 0.08]
    assert beyond == [15]
    assert max(found["at once"]) <= 0.08
    assert sum(error > 0.08 for error in found["without the line"]) >= 4


def _log_loss(said: Vector, labels: Labels) -> float:
    return float(-np.mean(np.where(labels, np.log(said), np.log1p(-said))))


@_here
@pytest.mark.slow
def test_a_real_campaign_with_periodic_retraining() -> None:
    """Trees trained again every so often; their score is one more feature of the regression online.

    How often, on how much and from which seed matters little then. The trees alone, recalibrated in between,
    hang on it. Measured from the first training on.
    """
    names, rows, _, labels = calls()
    table = pq.read_table(_FILE).drop_columns(["duration", "y"])
    encoding = learn_encoding(table, table.column_names)
    matrix, first, at = encoding.matrix(table), 2_000, np.arange(len(labels))
    alone, together, errors = [], [], []
    settings = (
        (2_000, 10_000, 1),
        (2_000, 10_000, 2),
        (2_000, 10_000, 3),
        (1_000, 10_000, 1),
        (1_000, 5_000, 1),
    )
    for every, history, seed in (*settings, (2_000, len(labels), 1), (4_000, 10_000, 1)):
        scores = np.zeros(len(labels))
        for start in range(first, len(labels), every):
            known = slice(max(start - DELAY - history, 0), start - DELAY)
            trees = Trees.fit(
                matrix[known],
                labels[known],
                Recipe(threads=1, rounds=100, seed=seed),
                categorical=encoding.categorical,
            )
            scores[start : start + every] = trees.scores(matrix[start : start + every])
        alone.append(area(rolling_platt(scores, labels, at, at + DELAY)[first:], labels[first:]))
        more = [(*row, score) for row, score in zip(rows, expit(scores).tolist(), strict=True)]
        said = served(more, (*names, "score"))[first:]
        together.append(area(said, labels[first:]))
        errors.append(expected_calibration_error(said, labels[first:]))
    for name, areas in (("trees alone", alone), ("regression with their score", together)):
        print(f"\n{name}: AUC median {np.median(areas):.4f}, {min(areas):.4f} to {max(areas):.4f}", end="")
    print(f"\nECE {max(errors):.3f} at most")
    assert min(together) >= 0.76
    assert max(errors) <= 0.08
    assert min(alone) >= 0.74


TOWNS = ("a", "b", "c", "d")
ARMS = 6


def truth(town: int, age: float) -> Vector:
    """Return the true rates of six actions: each town and age has its own best one."""
    liking = np.array(
        [[1.2, 0, 0, -1, 0.3, 0], [0, 1.2, -1, 0, 0.3, 0], [0, -1, 1.2, 0, 0, 0.3], [-1, 0, 0, 1.2, 0, 0.3]]
    )
    by_age = np.array([0.5, 0.5, -0.5, -0.5, 0.9, -0.9]) * (1.0 if age >= 50 else -1.0)
    rates: Vector = expit(-2.2 + liking[town] + by_age)
    return rates


def campaign(method: Method, seed: int, rows: int) -> tuple[Vector, Labels]:
    """Decide by Thompson sampling, learn after fifty; return regret and whether the best was chosen."""
    rng = np.random.default_rng(seed)
    bins: dict[str, AnyBins] = {"town": Listed(TOWNS), "age": Borders((30.0, 50.0, 70.0))}
    definition = Adaptive(base_rate=0.1, evidence=10, features=("town", "age"), method=method)
    models = [new_model(layout_of(definition, bins)) for _ in range(ARMS)]
    table = AdaptiveTable(models, {"town": 0, "age": 1}, 0)
    keys = keys_of([(str(arm), "web") for arm in range(ARMS)])
    regret, is_best = np.empty(rows), np.empty(rows, dtype=np.bool_)
    pending: list[tuple[int, Case, bool]] = []
    for row in range(rows):
        town, age = int(rng.integers(4)), float(rng.uniform(18, 90))
        values, rates = (TOWNS[town], age), truth(town, age)
        known = table.known(values)
        arm = int(np.argmax(thompson(known.rates, known.evidence, f"{seed} {row}".encode(), keys)))
        pending.append((arm, table.case(arm, values, 0), bool(rng.random() < rates[arm])))
        regret[row], is_best[row] = rates.max() - rates[arm], arm == int(np.argmax(rates))
        if len(pending) == 50:
            for number, case, label in pending:
                models[number].learn(case, label)
            for number in {number for number, _, _ in pending}:
                table.update(number)
            pending.clear()
    return regret, is_best


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("naive_bayes", 0.6), ("bayesian_logistic", 0.7)])
def test_the_simulated_truth_is_learned(method: Method, least: float) -> None:
    """Regret against who knows the truth flattens: growth by √n leaves 41 % of it to the second half.

    Of six actions one is best, another nearly as good: a sixth would be right by chance.
    """
    runs = [campaign(method, seed, 12_000) for seed in range(3)]
    regret = np.mean([each for each, _ in runs], axis=0)
    first, second = regret[:6_000].sum(), regret[6_000:].sum()
    at_random = 12_000 * np.mean([truth(t, a).max() - truth(t, a).mean() for t in range(4) for a in (20, 80)])
    final = float(np.mean([best[-2_000:].mean() for _, best in runs]))
    last = float(regret[-2_000:].mean() * 12_000 / at_random)
    print(
        f"\n{method}: regret {first:.0f} then {second:.0f} (random {at_random:.0f}); "
        f"best chosen {final:.1%} at the end; last regret {last:.1%} of random"
    )
    assert second < 0.41 / 0.59 * first
    assert first + second < 0.35 * at_random
    assert final > least


def test_the_regression_finds_the_posterior_mean() -> None:
    """Against the maximum of the same penalised likelihood, by Newton's method on all rows at once."""
    rng = np.random.default_rng(8)
    bins: dict[str, AnyBins] = {"town": Listed(TOWNS), "age": Borders((30.0, 50.0, 70.0))}
    model = new_model(
        layout_of(Adaptive(base_rate=0.1, features=("town", "age"), method="bayesian_logistic"), bins)
    )
    rows = 6_000
    towns, ages = rng.integers(4, size=rows), rng.uniform(18, 90, size=rows)
    for start in range(0, rows, 100):
        taught = []
        for row in range(start, start + 100):
            rate = truth(int(towns[row]), float(ages[row]))[0]
            taught.append((model.case((TOWNS[towns[row]], float(ages[row])), 0), bool(rng.random() < rate)))
        for case, label in taught:
            model.learn(case, label)
    off = [
        abs(probability(model, (TOWNS[town], age), 0) - truth(town, age)[0])
        for town in range(4)
        for age in (20.0, 60.0)
    ]
    # 750 answers a cell: four standard deviations of the rarest and of the commonest
    assert max(off) < 4 * np.sqrt(0.25 * 0.75 / 750)


@pytest.mark.slow
def test_no_better_challenger_is_promoted_once_in_twenty_at_most() -> None:
    """Contests of equals, looked at after every answer: one in twenty would be promoted at most."""
    rng = np.random.default_rng(21)
    promoted = 0
    runs, answers = 400, 1_500
    for _ in range(runs):
        contest = Contest(2, 0.2, 0)
        noise = rng.normal(0, 0.4, (answers, 2))
        labels = rng.random(answers) < 0.1
        for (one, other), label in zip(expit(-2.2 + noise), labels, strict=True):
            contest.revise(contest.judged((one, other)), None, bool(label))
            change = contest.conclude(0)
            if change is not None:
                promoted += change.kind == "promoted"
                break
    chance_of_more = 4 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    assert promoted / runs <= ALPHA + chance_of_more
    print(f"\nfalsely promoted: {promoted} of {runs}")


def test_a_better_challenger_is_promoted_and_its_share_grows_no_faster_than_allowed() -> None:
    rng = np.random.default_rng(22)
    contest, day = Contest(2, 0.2, 0), 86_400_000_000
    change, answers, before = None, 0, 0.02
    while change is None and answers < 20_000:
        at = answers * day // 500
        score = rng.normal(-2.0, 1.0)
        label = bool(rng.random() < expit(score))
        contest.revise(contest.judged((0.16, float(expit(score)))), None, label)
        share = contest.shares(at)[1]
        assert share <= min(2 * before, 0.2) + 1e-12
        before, answers = share, answers + 1
        change = contest.conclude(at)
    assert change is not None
    assert change.kind == "promoted"
    assert change.low > 0
    assert contest.champion == 1
    at = answers * day // 500
    shares = [contest.shares(at + days * day)[1] for days in range(8)]
    assert shares[0] <= before + 1e-12
    assert all(later <= 2 * sooner + 1e-12 for sooner, later in pairwise(shares))
    assert shares[-1] >= 0.8
    print(f"\npromoted after {answers} answers, gain {change.gain:.3f} ({change.low:.3f}, {change.high:.3f})")


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 20])
def test_false_alarms_are_as_rare_as_promised(at_once: int) -> None:
    """The mean run to a false alarm is at least what was asked; runs are cut at four times that.

    So it is where answers are heard twenty at once, in whatever order they came.
    """
    rng = np.random.default_rng(31)
    run, lengths = 400, []
    for _ in range(300):
        detector, length = ChangeDetector(), 4 * run
        for answer in range(0, 4 * run, at_once):
            said = expit(rng.normal(-2, 0.7, at_once))
            heard = zip(rng.random(at_once) < said, said, strict=True)
            if detector.hear([(int(is_yes), int(not is_yes), float(p)) for is_yes, p in heard], run):
                length = answer + at_once
                break
        lengths.append(length)
    error = float(np.std(lengths) / np.sqrt(len(lengths)))
    print(f"\nmean run to a false alarm: {np.mean(lengths):.0f} ± {error:.0f}, asked for {run}")
    assert np.mean(lengths) + 3 * error >= run


def test_a_shift_of_calibration_raises_the_alarm() -> None:
    rng = np.random.default_rng(32)
    for shift in (0.7, -0.9):
        detector, delays = ChangeDetector(), []
        for _ in range(10):
            detector, answer = ChangeDetector(), 0
            while True:
                odds = rng.normal(-2, 0.7)
                answer += 1
                is_yes = bool(rng.random() < expit(odds + shift))
                if detector.hear([(int(is_yes), int(not is_yes), float(expit(odds)))]):
                    break
            delays.append(answer)
        assert np.mean(delays) < 2_000, shift


def test_draws_are_those_of_the_beta() -> None:
    keys = keys_of([("card", "web"), ("loan", "web")])
    rates, evidence = np.array([0.1, 0.3]), np.array([80.0, 40.0])
    draws = np.array([thompson(rates, evidence, f"d{n}".encode(), keys) for n in range(4_000)])
    for place in range(2):
        law = beta_law(rates[place] * evidence[place], (1 - rates[place]) * evidence[place])
        assert kstest(draws[:, place], law.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(4_000)


def test_uniforms_are_uniform_and_strangers_to_each_other() -> None:
    keys = keys_of([(str(number), "web") for number in range(40)])
    found = np.array([uniforms(f"{n}".encode(), keys) for n in range(500)])
    assert kstest(found.ravel(), "uniform").pvalue > 1e-4
    off_diagonal = np.corrcoef(found.T)[np.triu_indices(40, 1)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(500)


def test_the_chance_of_being_first_is_how_often_it_happens() -> None:
    keys = keys_of([(str(number), "web") for number in range(5)])
    rates = np.array([0.05, 0.1, 0.08, 0.2, 0.02])
    evidence = np.array([60.0, 300.0, 40.0, 25.0, 10.0])
    worths = np.array([100.0, 60.0, 80.0, 25.0, 0.0])
    said = chances_of_first(rates, evidence, worths)
    assert said.sum() == pytest.approx(1)
    assert said[4] == 0
    times = 6_000
    wins = [int(np.argmax(thompson(rates, evidence, f"w{n}".encode(), keys) * worths)) for n in range(times)]
    for place in range(4):
        share = wins.count(place) / times
        assert abs(share - said[place]) < 4 * np.sqrt(said[place] * (1 - said[place]) / times)
