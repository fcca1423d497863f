"""Scenarios on a bank of four customers and three actions, whose every number is worked out by hand.

Priorities P × V × L: customers 1 and 2 have fund 15, card 10, tips 4; customer 3 has tips 4, card 1; the
fourth is a child.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tilltal.decisions.batch import input_sql
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.simulation import mix
from tilltal.decisions.simulation.experiments import EXPERIMENTS, drawn, varied
from tilltal.decisions.simulation.mix import Grouping
from tilltal.decisions.simulation.observed import Observed, join, observe, recorded
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.policies import Arbitration, Consent, Levers, Nothing, Purpose

CLOCK = Clock(datetime(2026, 5, 4, 12, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMA = {"age": Type.INTEGER, "score.m": Type.NUMBER}
PEOPLE = [(1, 30, 0.10), (2, 70, 0.10), (3, 20, 0.01), (4, 15, None)]
ADULT = (Condition(name="adult", when="age >= 18"),)
ACTIONS = {
    "card": Action(title="Card", group="a", purpose="any", eligibility=ADULT, propensity="m", value=100),
    "fund": Action(
        title="Fund",
        group="b",
        purpose="any",
        applicability=(Condition(name="settled", when="age >= 25"),),
        propensity=0.05,
        value=300,
    ),
    "tips": Action(title="Tips", group="c", purpose="any", eligibility=ADULT, propensity=0.5, value=4),
}
EXPERIMENT = {each.name: each for each in EXPERIMENTS}


def plan(**policy: object) -> DecisionPlan:
    arbitration = msgspec.structs.replace(Arbitration(levers=Levers(action={"tips": 100})), **policy)
    policies = Policies(
        arbitration=arbitration, consent=Consent(purposes={"any": Purpose(consent="not_required")})
    )
    channels = {"card": ["email"], "fund": ["call", "email"], "tips": ["push"]}
    return plan_decisions(ACTIONS, channels, SCHEMA, policies, CLOCK)


def table_of(made: DecisionPlan, people: list[tuple[int, int, float | None]]) -> pa.Table:
    rows = ", ".join(f"({p}, {age}, {'NULL' if m is None else m})" for p, age, m in people)
    relation = f'(VALUES {rows}) AS people(profile, age, "score.m")'
    with DuckDBEngine() as engine:
        return engine.arrow(input_sql(made, relation, CLOCK) + " ORDER BY profile")


def look(made: DecisionPlan, *, asks: bool = True) -> Observed:
    return observe(made, table_of(made, PEOPLE), {}, is_sensitivity_asked=asks)


def experiment(name: str) -> Observed:
    return look(varied(plan(), EXPERIMENT[name]))


def firsts(one: Observed) -> list[str | None]:
    return [one.actions[place] if place >= 0 else None for place in one.first]


def test_what_is_shown_and_what_it_is_worth() -> None:
    one = look(plan())
    assert firsts(one) == ["fund", "fund", "tips", None]
    assert [one.channels[place] for place in one.channel[:3]] == ["call", "call", "push"]
    assert one.expected.tolist() == [15, 15, 2, 0]
    assert mix.totals(one) == mix.Totals(customers=4, reached=3, contacts=3, expected=32)
    shares = [(each.action, each.first, each.shown, each.expected) for each in mix.action_mix(one)]
    assert shares == [("fund", 2, 2, 30), ("tips", 1, 1, 2), ("card", 0, 0, 0)]
    assert [(each.channel, each.contacts) for each in mix.channel_mix(one)] == [
        ("call", 2),
        ("push", 1),
        ("email", 0),
    ]


def test_all_slots_are_contacts_and_value() -> None:
    one = look(plan(slots=2))
    assert one.contacts.tolist() == [2, 2, 2, 0]
    assert one.expected.tolist() == [25, 25, 3, 0]
    assert firsts(one) == ["fund", "fund", "tips", None]


def test_what_contacts_cost_is_taken_off_whatever_a_scenario_ranks_by() -> None:
    costs = {"call": 6.0, "push": 0.5}
    for one in (look(plan(costs=costs)), look(varied(plan(costs=costs), EXPERIMENT["propensity_only"]))):
        worth = {"card": 100 * 0.1, "fund": 15 - 6.0, "tips": 2 - 0.5}
        first = [worth[name] if name else 0.0 for name in firsts(one)]
        first[2] = 1.5  # by P alone as by all: tips
        assert one.expected.tolist() == pytest.approx(first)
    # a call of 14 kronor leaves 1 of 15: card, by e-mail and free, has 10
    assert firsts(look(plan(costs={"call": 14.0}))) == ["card", "card", "tips", None]


def test_winners_that_change_without_a_factor() -> None:
    # without P: customer 3 has card 100 before tips 8; without V: tips is 1.0 for all; L makes no winner
    assert look(plan()).changed == {"P": 1, "C": 0, "V": 2, "L": 0}
    # a lever of 3 makes card first for all; without P, card and fund tie at 300 and the name decides
    assert look(plan(levers=Levers(action={"card": 200}))).changed == {"P": 0, "C": 0, "V": 3, "L": 3}


def test_sensitivity_leaves_what_saying_nothing_is_worth_out_of_it() -> None:
    quiet = look(plan(nothing=Nothing(below=5)))
    assert firsts(quiet) == ["fund", "fund", None, None]
    assert quiet.changed == {"P": 0, "C": 0, "V": 2, "L": 0}


def test_who_beats_whom() -> None:
    found = [(each.winner, each.loser, each.customers) for each in mix.beats(look(plan()))]
    assert found == [("fund", "card", 2), ("fund", "tips", 2), ("tips", "card", 1)]


def test_the_best_propensity_that_is_left() -> None:
    most = look(plan()).most
    assert most[:3].tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(most[3])


def test_experiments_take_one_part_out() -> None:
    assert firsts(experiment("propensity_only")) == ["tips", "tips", "tips", None]
    assert experiment("propensity_only").expected.tolist() == [2, 2, 2, 0]
    assert firsts(experiment("without_levers")) == ["fund", "fund", "tips", None]
    assert firsts(experiment("eligibility_only")) == ["fund", "fund", "fund", "fund"]


def test_what_saying_nothing_is_worth_does_not_silence_the_most_probable() -> None:
    made = varied(plan(nothing=Nothing(below=5)), EXPERIMENT["propensity_only"])
    assert firsts(look(made)) == ["tips", "tips", "tips", None]


def test_random_actions_are_equally_often_first_and_worth_what_they_are_worth() -> None:
    made = varied(plan(), EXPERIMENT["random_action"])
    table = table_of(made, [(number, 30, 0.1) for number in range(3000)])
    one = observe(made, table, {}, ranked=drawn(table, made, np.random.default_rng(5)))
    counts = np.bincount(one.first, minlength=3)
    assert ((counts - 1000) ** 2 / 1000).sum() < 13.8  # chi-square of 2 degrees at 0.001
    worth = np.array([10.0, 15.0, 2.0])
    assert one.expected.tolist() == worth[one.first].tolist()
    again = observe(made, table, {}, ranked=drawn(table, made, np.random.default_rng(5)))
    assert (one.first == again.first).all()


def test_random_propensities_keep_value_and_lever() -> None:
    made = varied(plan(), EXPERIMENT["random_propensity"])
    table = table_of(made, [(number, 30, 0.1) for number in range(3000)])
    one = observe(made, table, {}, ranked=drawn(table, made, np.random.default_rng(5)))
    share = np.bincount(one.first, minlength=3) / 3000
    # P(100 U > 300 W and > 8 T): uniforms, card beats fund with 1/6 at most; tips almost never wins
    assert abs(share[0] - 1 / 6) < 0.03
    assert share[2] < 0.01


def test_an_impossible_propensity_stays_impossible_when_drawn() -> None:
    made = plan()
    table = table_of(made, [(1, 30, 1.5), (2, 30, 0.1)])
    given = drawn(table, made, np.random.default_rng(1)).column("p0").to_pylist()
    assert given[0] == 1.5
    assert given[1] != 0.1


def test_who_gains_and_who_loses() -> None:
    base, other = look(plan()), experiment("eligibility_only")
    ages = Grouping("age", ("young", "old"), np.array([0, 1, 0, 0]))
    everybody, young, old = mix.changes(base, other, [ages])
    assert (everybody.gained, everybody.lost, everybody.changed) == (1, 0, 1)
    assert (everybody.contacts, everybody.expected) == (1, 28)
    assert (young.group, young.customers, young.gained, young.changed, young.expected) == (
        "young",
        3,
        1,
        1,
        28,
    )
    assert (old.group, old.gained, old.changed, old.expected) == ("old", 0, 0, 0)
    (back, *_) = mix.changes(other, base, [])
    assert (back.gained, back.lost, back.changed, back.contacts) == (0, 1, 1, -1)
    moved = {(each.before, each.after): each.customers for each in mix.moves(base, other)}
    assert moved == {("fund", "fund"): 2, ("tips", "fund"): 1, ("", "fund"): 1}
    groups = [(each.group, each.totals.customers, each.totals.reached) for each in mix.segments(base, [ages])]
    assert groups == [("young", 3, 2), ("old", 1, 1)]


def test_actions_are_told_apart_by_name_where_plans_number_them_otherwise() -> None:
    base = look(plan())
    fewer = plan()
    fewer = msgspec.structs.replace(fewer, actions=fewer.actions[1:])
    other = look(fewer)
    assert firsts(other) == ["fund", "fund", "tips", None]
    assert mix.changes(base, other, [])[0].changed == 0
    assert all(each.before == each.after for each in mix.moves(base, other))


def test_pieces_join_to_the_whole() -> None:
    made, table = plan(), table_of(plan(), PEOPLE)
    pieces = [observe(made, table.slice(at, 2), {}, is_sensitivity_asked=True) for at in (0, 2)]
    whole, joined = look(made), join(pieces)
    assert joined.changed == whole.changed
    for name in ("first", "contacts", "expected", "shown", "worth", "by_channel", "beaten", "remaining"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist(), name
    with pytest.raises(ValueError, match="different plans"):
        join([pieces[0], look(msgspec.structs.replace(made, actions=made.actions[1:]))])


def test_a_plan_without_actions_says_nothing() -> None:
    one = look(msgspec.structs.replace(plan(), actions=()))
    assert mix.totals(one) == mix.Totals(customers=4, reached=0, contacts=0, expected=0)
    assert mix.action_mix(one) == ()
    assert mix.changes(look(plan()), one, [])[0].lost == 3


def test_decisions_of_before_are_read_as_if_seen_now() -> None:
    rows = {
        "profile": [1, 1, 3, 9],
        "rank": [1, 2, 1, 1],
        "action": ["fund", "card", "tips", "card"],
        "channel": ["call", "email", "push", "email"],
        "P": [0.05, 0.1, 0.5, 0.1],
        "V": [300.0, 100.0, 4.0, 100.0],
        "cost": [6.0, 0.5, 0.0, 1.0],
    }
    one = recorded(pa.table(rows), np.array([1, 2, 3, 4]))
    assert firsts(one) == ["fund", None, "tips", None]
    assert one.expected.tolist() == [18.5, 0, 2, 0]
    assert one.contacts.tolist() == [2, 0, 1, 0]
    assert mix.totals(one).reached == 2
