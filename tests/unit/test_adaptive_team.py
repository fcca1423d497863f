"""Teams: contests, ledgers, exploration and the report; what is kept with a decision and what comes of it."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from scipy.special import expit
from tests.first_chances import chances_of_first

from tilltal.insight.report.charts.bubbles import bubbles, standalone
from tilltal.models.adaptive.bins import AnyBins, Borders, Listed
from tilltal.models.adaptive.change import ChangeDetector
from tilltal.models.adaptive.confidence import boundary, interval
from tilltal.models.adaptive.contest import Contest
from tilltal.models.adaptive.exploration import is_open, keys_of, opens_at, reach, thompson
from tilltal.models.adaptive.health import drift_of, figures, verdict
from tilltal.models.adaptive.ledger import BLOCK, Band, Ledger, Noted, noted
from tilltal.models.adaptive.methods import new_model
from tilltal.models.adaptive.report import adaptive_report
from tilltal.models.adaptive.selection import choose, correlation_of
from tilltal.models.adaptive.serving import TeamTable
from tilltal.models.adaptive.settling import AT_ONCE, Settling
from tilltal.models.adaptive.team import Team, TeamCase, layouts, new_team, team_from
from tilltal.models.quality.evaluation import area, tenths
from tilltal.workspace.definitions.actions import Adaptive, Challenger

BINS: dict[str, AnyBins] = {
    "town": Listed(("a", "b", "c", "d")),
    "again": Listed(("a", "b", "c", "d")),
    "age": Borders((30.0, 50.0, 70.0)),
    "noise": Borders((1.0, 2.0, 3.0)),
}
FEATURES = ("town", "again", "age", "noise")
DAY = 86_400_000_000
LEFT = Adaptive(
    base_rate=0.1,
    features=FEATURES,
    challenger=Challenger(method="bayesian_logistic", most_share=0.2),
)


def team_of(definition: Adaptive = LEFT, name: str = "card/web") -> Team:
    return new_team(name, layouts(definition, BINS), 0)


def profile(rng: random.Random) -> tuple[tuple[object, ...], float]:
    """A profile and its true rate; `again` says what `town` says."""
    town, age = rng.choice("abcd"), rng.uniform(18, 90)
    odds = -2 + {"a": -1.2, "b": -0.4, "c": 0.4, "d": 1.2}[town] + (0.6 if age >= 50 else -0.6)
    return (town, town, age, rng.uniform(0, 4)), float(expit(odds))


def teach(team: Team, answers: int, seed: int = 1) -> list[tuple[TeamCase, bool]]:
    rng = random.Random(seed)
    found = []
    for number in range(answers):
        values, rate = profile(rng)
        case = team.case(values, team.serves(f"{number}".encode(), 0), 0)
        label = rng.random() < rate
        team.revise(case, None, label, 0)
        found.append((case, label))
    return found


def test_an_answer_taken_back_leaves_no_trace_in_a_team() -> None:
    once, never = team_of(), team_of()
    for case, label in teach(team_of(), 80):
        once.revise(case, None, label, 0)
        never.revise(case, None, label, 0)
    before = once.to_bytes(0)
    extra = once.case(("a", "a", 20, 1.0), 0, 0)
    once.revise(extra, None, True, 0)
    assert once.to_bytes(0) != before
    once.revise(extra, True, False, 0)
    once.revise(extra, False, None, 0)
    assert once.to_bytes(0) == before == never.to_bytes(0)


def test_a_team_survives_as_bytes_and_meets_new_definitions() -> None:
    team = team_of()
    teach(team, 300)
    again = team_from(team.to_bytes(0), "card/web", layouts(LEFT, BINS), 0)
    assert again.to_bytes(0) == team.to_bytes(0)
    alone = msgspec.structs.replace(LEFT, challenger=None)
    kept = team_from(team.to_bytes(0), "card/web", layouts(alone, BINS), 0)
    assert kept.contest is None
    assert kept.models[0].to_bytes(0) == team.models[0].to_bytes(0)
    swapped = Adaptive(
        base_rate=0.1,
        features=FEATURES,
        method="bayesian_logistic",
        challenger=Challenger(method="naive_bayes"),
    )
    other = team_from(team.to_bytes(0), "card/web", layouts(swapped, BINS), 0)
    assert other.contest is not None
    assert other.contest.standings()[0].cases == 0, "what was judged was another contest"
    assert other.models[1].answers(0) == team.models[0].answers(0)


def test_what_is_known_of_delays_goes_on_with_the_state() -> None:
    team = team_of()
    case = team.case(("a", "a", 20, 1.0), 0, 0)
    unknown = team.patience(case, b"decision", DAY)
    for _ in range(50):
        team.answered(DAY // 2, 3 * 3_600_000_000)
    known = team.patience(case, b"decision", DAY)
    assert known != unknown
    assert 2**13 <= known / 1_000_000 <= 2**14, "where three hours lie"
    again = team_from(team.to_bytes(0), "card/web", layouts(LEFT, BINS), 0)
    assert again.patience(case, b"decision", DAY) == known
    other = msgspec.structs.replace(LEFT, wait="2 days")
    anew = team_from(team.to_bytes(0), "card/web", layouts(other, BINS), 0)
    assert anew.patience(case, b"decision", DAY) == new_team("card/web", layouts(other, BINS), 0).patience(
        case, b"decision", DAY
    )


def test_the_state_of_a_single_model_becomes_that_of_a_team() -> None:
    model = new_model(layouts(LEFT, BINS)[0])
    model.learn(model.case(("a", "a", 20, 1.0), 0), True)
    team = team_from(model.to_bytes(0), "card/web", layouts(LEFT, BINS), 0)
    assert [each.answers(0) for each in team.models] == [(1, 0), (1, 0)]
    with pytest.raises(msgspec.DecodeError):
        team_from(b"no state", "card/web", layouts(LEFT, BINS), 0)


def test_a_table_asks_whoever_serves() -> None:
    teams = [team_of(), team_of(msgspec.structs.replace(LEFT, challenger=None), "loan/web")]
    for team in teams:
        teach(team, 400)
    table = TeamTable(teams, {name: place for place, name in enumerate(FEATURES)}, 0)
    values, later = ("d", "d", 60, 2.5), 3 * DAY
    table.refresh(later)
    served = []
    for number in range(400):
        decision = f"decision {number}".encode()
        answers = table.ask(values, decision)
        assert answers.served[0] == teams[0].serves(decision, later)
        assert answers.served[1] == 0
        for place, team in enumerate(teams):
            case = table.case(place, values, int(answers.served[place]), later)
            assert case.noted.said == noted(0, float(answers.rates[place])).said
            assert len(case.cases) == len(team.models)
            assert table.cases({team.name: place}, answers, later) == {team.name: case}
        served.append(int(answers.served[0]))
    assert teams[0].contest is not None
    share = teams[0].contest.shares(later)[1]
    assert share == pytest.approx(0.16)
    assert abs(sum(served) / 400 - share) < 4 * math.sqrt(share * (1 - share) / 400)


def test_cases_by_what_was_asked_are_those_by_values() -> None:
    alone = msgspec.structs.replace(LEFT, challenger=None)
    teams = [
        team_of(alone, "card/web"),
        team_of(msgspec.structs.replace(alone, features=alone.features[2:]), "loan/web"),
        team_of(msgspec.structs.replace(alone, features=alone.features[::-1]), "fund/web"),
    ]
    table = TeamTable(teams, {name: place for place, name in enumerate(FEATURES)}, 0)
    numbers = {team.name: place for place, team in enumerate(teams)}
    for values in (("d", "a", 60, 2.5), (None, "b", None, -1.0), ("new", None, 20, None)):
        answers = table.ask(values, b"decision")
        assert table.cases(numbers, answers, 5) == {
            name: table.case(place, values, 0, 5) for name, place in numbers.items()
        }
        known = [team.models[0].scoring(0).evidence[0] for team in teams]
        assert answers.evidence.tolist() == known, "nothing is learned yet"


def test_a_worse_challenger_is_stopped_at_once_and_goes_on_being_judged() -> None:
    rng = random.Random(5)
    contest, change, cases = Contest(2, 0.3, 0), None, 0
    while change is None:
        score = rng.gauss(-2, 1)
        contest.revise(contest.judged((float(expit(score)), 0.16)), None, rng.random() < expit(score))
        change, cases = contest.conclude(10 * DAY), cases + 1
    assert change.kind == "stopped"
    assert change.high < 0
    assert change.cases == cases >= 200
    assert contest.shares(20 * DAY) == (1.0, 0.0)
    assert contest.conclude(20 * DAY) is None, "once is enough"
    again = Contest(2, 0.3, 0)
    again.load(contest.to_bytes())
    assert again.shares(20 * DAY) == (1.0, 0.0)
    assert again.standings() == contest.standings()


def test_a_revised_answer_is_judged_by_its_last_label() -> None:
    direct, revised = Contest(2, 0.2, 0), Contest(2, 0.2, 0)
    rng = random.Random(3)
    for _ in range(50):
        case, label = direct.judged((rng.random(), rng.random())), rng.random() < 0.5
        direct.revise(case, None, label)
        revised.revise(case, None, not label)
        revised.revise(case, not label, label)
    assert direct.to_bytes() == revised.to_bytes()


def test_what_is_settled_counts_in_a_contest_and_is_revised_there() -> None:
    settling = Settling(8 * DAY)
    contest = Contest(2, 0.2, 0, settling)
    case = contest.judged((0.5, 0.4))
    contest.revise(case, None, False, DAY // 2)
    contest.conclude(settling.period(DAY // 2) + 8 * DAY - 1)
    assert contest.standings()[0].cases == 0
    again = Contest(2, 0.2, 0, settling)
    again.load(contest.to_bytes())
    again.conclude(settling.period(DAY // 2) + 8 * DAY)
    assert again.standings()[0].cases == 1
    assert again.standings()[0].mean > 0
    again.revise(case, False, True, DAY // 2)
    again.conclude(20 * DAY)
    assert again.standings()[0].cases == 1
    assert again.standings()[0].mean < 0


def test_an_answer_of_an_earlier_round_is_not_judged() -> None:
    contest = Contest(2, 0.2, 0)
    early = contest.judged((0.5, 0.4))
    stale = msgspec.structs.replace(early, round=early.round + 1)
    contest.revise(stale, None, True)
    assert contest.standings()[0].cases == 0


def test_a_confidence_sequence_narrows_and_holds_its_mean() -> None:
    few, many = interval(100, 2.0, 25.0, 0.05), interval(10_000, 200.0, 2_500.0, 0.05)
    assert few.low < many.low < few.mean == many.mean < many.high < few.high
    # √(2 V ln ln V) is the least any boundary can be; ours stays within three times of it
    assert math.sqrt(2 * 1e6 * math.log(math.log(1e6))) < boundary(1e6, 0.025) < 3 * math.sqrt(2e6 * 2.63)


def test_a_ledger_keeps_first_and_latest_blocks() -> None:
    ledger = Ledger("x")
    for number in range(10 * BLOCK):
        ledger.revise(Noted(number, 2**18), (1, number % 3 + 2), None, number % 4 == 0, number)
        ledger.listen(AT_ONCE, number)
    assert sorted(ledger.blocks) == [0, 1, 7, 8, 9]
    assert sum(band.yes + band.no for band in ledger.bands()) == 3 * BLOCK
    assert ledger.entered == 10 * BLOCK
    before = msgspec.msgpack.encode(ledger)
    ledger.revise(Noted(3 * BLOCK, 2**18), (1,), True, False, 3 * BLOCK)
    assert msgspec.msgpack.encode(ledger) == before, "what is not kept cannot be revised"
    seen = ledger.seen()
    assert seen is not None
    assert (seen[0][1], seen[1][1]) == (2 * BLOCK, 3 * BLOCK)


def test_the_alarm_hears_what_is_settled_by_its_last_label() -> None:
    """A silence that becomes a yes before the wait is over was never a no to it."""
    settling, direct, revised = Settling(8 * DAY), Ledger("x"), Ledger("x")
    for number in range(1, 401):
        case, label, period = noted(number, 0.1), number % 3 == 0, settling.period(number)
        direct.revise(case, (1,), None, label, period)
        revised.revise(case, (1,), None, False, period)
        revised.revise(case, (1,), False, label, period)
    for ledger in (direct, revised):
        assert not ledger.listen(settling, settling.period(1) + 8 * DAY - 1), "not before the wait is over"
        assert ledger.detector == ChangeDetector()
        assert ledger.listen(settling, settling.period(1) + 8 * DAY), "a third is not a tenth"
        assert ledger.alarms == [settling.period(1) + 8 * DAY]
        assert not ledger.unheard
    assert msgspec.msgpack.encode(direct) == msgspec.msgpack.encode(revised)
    direct.revise(noted(1, 0.1), (1,), False, True, settling.period(1))
    assert not direct.unheard.get(settling.period(1)), "what comes later is not heard"


def test_figures_of_bands_are_those_of_the_answers() -> None:
    rng = np.random.default_rng(4)
    levels = np.round(rng.integers(-14, -2, 5_000) / 4 + 0.125, 3)  # one probability a band
    said = expit(levels)
    labels = rng.random(5_000) < expit(levels + 0.4)
    bands = []
    for level in np.unique(levels):
        here = levels == level
        bands.append(Band(int(labels[here].sum()), int((~labels[here]).sum()), float(said[here].sum())))
    found = figures(bands)
    assert found is not None
    assert found.auc == pytest.approx(area(said, labels))
    assert found.said == pytest.approx(said.mean())
    assert found.came_true == pytest.approx(labels.mean())
    assert found.ece == pytest.approx(abs(found.came_true - found.said), rel=0.2)
    assert sum(found.lift) == pytest.approx(10)
    assert found.lift[0] == pytest.approx(tenths(said, labels)[0].lift, rel=0.15)
    assert figures([Band(0, 0, 0.0)]) is None
    assert figures([Band(0, 9, 1.0)]) == figures([Band(0, 9, 1.0), Band(0, 0, 0.0)])


@pytest.mark.parametrize(
    ("positives", "auc", "wanted"),
    [
        (199, 0.7, "young"),
        (200, None, "young"),
        (200, 0.519, "poor"),
        (200, 0.53, "weak"),
        (200, 0.55, "healthy"),
        (200, 0.8, "healthy"),
        (200, 0.85, "strong"),
        (200, 0.91, "suspicious"),
    ],
)
def test_what_is_healthy(positives: float, auc: float | None, wanted: str) -> None:
    assert verdict(positives, auc) == wanted


def test_drift_of_a_predictor_is_its_psi() -> None:
    cells = range(10, 15)
    before = {10: 100, 11: 300, 12: 300, 13: 200, 14: 100}
    assert drift_of("age", before, before, cells).psi == pytest.approx(0, abs=1e-9)
    moved = {10: 100, 11: 100, 12: 200, 13: 300, 14: 300}
    shares = [(100, 100), (300, 100), (300, 200), (200, 300), (100, 300)]
    by_hand = sum((a - b) / 1000 * math.log(a / b) for a, b in shares)
    assert drift_of("age", before, moved, cells).psi == pytest.approx(by_hand, rel=0.02)
    assert drift_of("age", before, moved, cells).verdict == "alarm"


def test_one_predictor_of_those_that_say_the_same_is_listened_to_and_none_that_says_nothing() -> None:
    team = team_of(msgspec.structs.replace(LEFT, challenger=None))
    teach(team, 4_000, seed=2)
    (report,) = adaptive_report([team], 0).models
    found = {each.name: each for each in report.predictors}
    assert [found[name].is_active for name in FEATURES] == [True, False, True, False]
    assert found["again"].reason == "says what town says"
    assert found["noise"].reason == "AUC below 0.52 beyond chance"
    assert [group.holds for group in found["age"].groups] == [
        "below 30",
        "from 30 below 50",
        "from 50 below 70",
        "from 70",
    ]
    assert report.verdict == "healthy"
    assert report.latest is not None
    assert report.latest.auc is not None
    assert 0.68 < report.latest.auc < 0.82
    assert report.latest.ece < 0.03
    assert report.latest.lift[0] > 2
    assert all(each.drift is not None and each.drift.verdict == "stable" for each in report.predictors)
    assert report.watch == ()
    assert report.contest is None


def test_correlation_needs_cases_and_chooses_the_better() -> None:
    few = np.array([[10, 5, 5], [5, 5, 5], [5, 5, 5]], dtype=np.int64)
    assert np.array_equal(correlation_of(few), np.eye(2))
    rng = np.random.default_rng(1)
    x = rng.integers(-30, 30, 1_000)
    seen = np.column_stack([np.ones(1_000, dtype=np.int64), x, x + rng.integers(-3, 3, 1_000)])
    correlation = correlation_of(seen.T @ seen)
    assert correlation[0, 1] == pytest.approx(np.corrcoef(seen[:, 1], seen[:, 2])[0, 1])
    first, second = choose([0.6, 0.65], [0.0, 0.0], correlation)
    assert (first.is_active, first.like, second.is_active) == (False, 1, True)


def test_a_report_says_which_actions_have_too_few_answers() -> None:
    rich, poor = team_of(name="card/web"), team_of(name="loan/web")
    other = team_of(name="loan/app")
    teach(rich, 1_500)
    teach(poor, 20)
    report = adaptive_report([poor, rich, other], 0)
    assert [each.name for each in report.models] == ["card/web", "loan/app", "loan/web"]
    assert report.mature == pytest.approx(1 / 3)
    assert report.without_evidence == pytest.approx(1 / 2)
    assert report.models[1].latest is None
    assert report.models[0].contest is not None
    assert report.models[0].contest.methods == ("naive_bayes", "bayesian_logistic")
    assert sum(report.models[0].contest.shares) == pytest.approx(1)
    drawing = bubbles(report.models, "models")
    assert drawing.count("<circle") == 2
    assert "card/web" in drawing
    assert "loan/app" not in drawing
    alone = standalone(drawing)
    assert alone.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert bubbles([], "none").count("<circle") == 0


def test_a_draw_is_a_function_of_seed_and_pair_alone() -> None:
    pairs = [("card", "web"), ("loan", "web"), ("fund", "app")]
    rates, evidence = np.array([0.1, 0.2, 0.3]), np.array([10.0, 50.0, 900.0])
    draws = thompson(rates, evidence, b"decision", keys_of(pairs))
    assert np.array_equal(draws, thompson(rates, evidence, b"decision", keys_of(pairs)))
    assert not np.array_equal(draws, thompson(rates, evidence, b"another", keys_of(pairs)))
    fewer = thompson(rates[[0, 2]], evidence[[0, 2]], b"decision", keys_of([pairs[0], pairs[2]]))
    assert np.array_equal(fewer, draws[[0, 2]])
    assert ((draws > 0) & (draws < 1)).all()


def test_certain_and_unknown_rates_can_be_drawn() -> None:
    keys = keys_of([("a", "c"), ("b", "c"), ("c", "c")])
    draws = thompson(np.array([0.0, 1.0, 0.5]), np.array([100.0, 100.0, 0.0]), b"d", keys)
    assert np.isfinite(draws).all()
    assert draws[0] < 0.01 < 0.99 < draws[1]


def test_nobody_of_no_worth_is_first_and_equals_have_equal_chances() -> None:
    rates, evidence = np.array([0.05, 0.1, 0.08, 0.2]), np.array([60.0, 300.0, 40.0, 25.0])
    assert chances_of_first(rates, evidence, np.zeros(4)).sum() == 0
    many = chances_of_first(np.full(60, 0.05), np.full(60, 15.0), np.ones(60))
    assert many == pytest.approx(np.full(60, 1 / 60))


def test_an_action_opens_and_whoever_is_in_stays_in() -> None:
    assert [reach(positives) for positives in (0, 100, 200, 900)] == pytest.approx([0.02, 0.51, 1, 1])
    profiles = range(20_000)
    reached = [
        {each for each in profiles if is_open(each, "fund", positives)} for positives in (0, 50, 120, 200)
    ]
    for sooner, later, share in zip(reached, reached[1:], (0.265, 0.608, 1.0), strict=False):
        assert sooner <= later
        assert abs(len(later) / 20_000 - share) < 4 * math.sqrt(share * (1 - share) / 20_000) + 1e-9
    assert abs(len(reached[0]) / 20_000 - 0.02) < 4 * math.sqrt(0.02 * 0.98 / 20_000)
    assert opens_at(7, "fund") != opens_at(7, "card"), "nobody is first everywhere"
