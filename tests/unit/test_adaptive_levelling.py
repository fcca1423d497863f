"""The line over a regression's answers: fitted to its ledger, exact on revision, only where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from tilltal.models.adaptive.bins import plain_bins
from tilltal.models.adaptive.ledger import Band
from tilltal.models.adaptive.levelling import AS_IT_IS, levelled
from tilltal.models.adaptive.model import probability
from tilltal.models.adaptive.serving import TeamTable
from tilltal.models.adaptive.team import Team, TeamCase, layouts, new_team
from tilltal.models.calibration import fit_platt
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Adaptive, Challenger, Method

BINS = {"town": plain_bins(Type.TEXT)}


def team_of(method: Method, challenger: Method | None = None) -> Team:
    adaptive = Adaptive(
        base_rate=0.1,
        features=("town",),
        method=method,
        challenger=None if challenger is None else Challenger(method=challenger),
    )
    return new_team("card/web", layouts(adaptive, BINS), 0)


def moved(team: Team) -> list[tuple[TeamCase, bool]]:
    """Teach 4,000 answers of 5 %, then 600 of 40 %: the regression is late to believe it."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(4_600):
        case = team.case((("a", "b")[number % 2],), 0, 0)
        label = bool(rng.random() < (0.05 if number < 4_000 else 0.4))
        team.revise(case, None, label, 0)
        found.append((case, label))
    return found


def test_the_line_is_platt_s_on_what_was_said() -> None:
    rng = np.random.default_rng(6)
    scores = np.repeat([-3.0, -2.0, -1.0, 0.0], 500)
    labels = rng.random(2_000) < expit(0.6 * scores + 0.8)
    bands = [
        Band(
            int(labels[scores == each].sum()), int((~labels[scores == each]).sum()), 500 * float(expit(each))
        )
        for each in (-3.0, -2.0, -1.0, 0.0)
    ]
    line, known = levelled(bands), fit_platt(scores, labels)
    assert line.slope == pytest.approx(known.slope, abs=0.01)
    assert line.intercept == pytest.approx(known.intercept, abs=0.01)


def test_while_an_answer_is_rare_the_model_s_own_probability_stands() -> None:
    assert levelled([]) == AS_IT_IS
    assert levelled([Band(9, 900, 90.0)]) == AS_IT_IS
    assert levelled([Band(10, 900, 90.0)]) != AS_IT_IS


def test_a_server_says_what_the_line_makes_of_the_model_and_forgets_a_revised_answer() -> None:
    team = team_of("bayesian_logistic")
    taught = moved(team)
    table = TeamTable([team], {"town": 0}, 0)
    (line,) = team.lines()
    own = probability(team.models[0], ("a",), 0)
    said = float(table.ask(["a"], b"decision").rates[0])
    assert said == pytest.approx(float(expit(line.slope * logit(own) + line.intercept)), abs=1e-6)
    assert said > 1.3 * own, "it follows what came of late"
    for case, label in taught[-300:]:
        team.revise(case, label, not label, 0)
    table.update(0)
    assert float(table.ask(["a"], b"decision").rates[0]) != said
    for case, label in taught[-300:]:
        team.revise(case, not label, label, 0)
    table.update(0)
    assert team.lines() == (line,)
    assert float(table.ask(["a"], b"decision").rates[0]) == said


def test_calibrated_bins_need_no_line_and_a_challenger_is_judged_without() -> None:
    plain = team_of("naive_bayes", "bayesian_logistic")
    moved(plain)
    assert plain.lines() == (AS_IT_IS, AS_IT_IS)
    contested = team_of("bayesian_logistic", "naive_bayes")
    moved(contested)
    champion, challenger = contested.lines()
    assert champion != AS_IT_IS
    assert challenger == AS_IT_IS
