"""What contacts and outcomes give by SQL for everybody is what they give in Python for each customer."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.instants import micros
from tilltal.decisions.contacting.batch import ContactReadings
from tilltal.decisions.contacting.parts import Contact, contact_of
from tilltal.decisions.contacting.policy import Made, Outcome, Past
from tilltal.decisions.history.batch import history_sql, with_history
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.history.readings import History
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import ActionScope, Arbitration, Consent, Influencer

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
TERMS = Terms(
    events=("mailed", "called"),
    outcomes={"declined": "reject", "hung_up": "reject", "bought": "accept"},
)
KINDS = {
    "mailed": "contact",
    "called": "contact",
    "declined": "reject",
    "hung_up": "reject",
    "bought": "accept",
}
NAMES = (
    "history.any.contact_7d",
    "history.any.days_since_contact",
    "history.group.loans.reject_30d",
    "history.group.loans.days_since_reject",
    "history.action.card.accept_365d",
    "history.channel.email.contact_1d",
    "history.issue.sales.days_since_accept",
)
ACTIONS = {
    name: Action(title="", group=group, issue=issue)
    for name, group, issue in (
        ("card", "cards", "sales"),
        ("car_loan", "loans", "sales"),
        ("home_loan", "loans", "retention"),
    )
}


def some_influencer(rng: random.Random) -> Influencer:
    return Influencer(
        on=rng.choice(("reject", "accept", "contact")),
        scope=rng.choice(("action", "group", "issue")),
        weight=rng.choice((-50.0, 33.3, 0.1, -1e-7, 100.0)),
        half_life=rng.choice(("P14D", "PT1S", "P1D", "PT36H")),
        applies_to=rng.choice((ActionScope(), ActionScope(group="loans"))),
    )


def some_plan(rng: random.Random) -> DecisionPlan:
    asked = [name for name in NAMES if rng.random() < 0.7]
    conditions = tuple(
        Condition(name=f"rule_{place}", when=f"{name} > 0") for place, name in enumerate(asked)
    )
    actions = {**ACTIONS, "card": Action(title="", group="cards", issue="sales", eligibility=conditions)}
    influencers = tuple(some_influencer(rng) for _ in range(rng.choice((0, 1, 3))))
    policies = Policies(
        arbitration=Arbitration(influencers=influencers), consent=Consent(purposes={}), contact=TERMS
    )
    return plan_decisions(actions, dict.fromkeys(actions, ("email",)), {}, policies, CLOCK)


def some_age(rng: random.Random) -> timedelta:
    """Ages at borders of days, windows and steps, a microsecond to either side, and any others."""
    days = rng.choice((0, 1, 7, 14, 30, 140, 365, 366, rng.uniform(0, 400)))
    return timedelta(days=days, microseconds=rng.choice((-1, 0, 1)))


def some_events(rng: random.Random) -> list[tuple[int, str, datetime, str | None, str | None]]:
    return [
        (
            rng.randrange(8),
            rng.choice(tuple(KINDS)),
            CLOCK.now - some_age(rng),
            rng.choice((*ACTIONS, "forgotten", None)),
            rng.choice(("email", "sms", None)),
        )
        for _ in range(60)
    ]


def contact(action: str | None, channel: str | None) -> Contact:
    if action not in ACTIONS:
        return Contact(action=action, group=None, issue=None, channel=channel, purpose=None)
    made = contact_of(action, ACTIONS[action], "")
    return Contact(action=action, group=made.group, issue=made.issue, channel=channel, purpose=made.purpose)


def in_sql(
    plan: DecisionPlan, events: list[tuple[int, str, datetime, str | None, str | None]]
) -> list[dict[str, object]]:
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", pa.table({"profile": pa.array(range(8), pa.int64())}))
        for kind in KINDS:
            rows = [one for one in events if one[1] == kind and one[2] <= CLOCK.now]
            engine.register(
                f"event.{kind}",
                pa.table(
                    {
                        "profile": pa.array([one[0] for one in rows], pa.int64()),
                        "at": pa.array([one[2].replace(tzinfo=None) for one in rows], pa.timestamp("us")),
                        "action": pa.array([one[3] for one in rows], pa.string()),
                        "channel": pa.array([one[4] for one in rows], pa.string()),
                    }
                ),
            )
        found = with_history(ContactReadings({}, ()), history_sql(plan, TERMS, ACTIONS, CLOCK))
        for name, select in found.tables.items():
            engine.run(f"CREATE TABLE {name} AS {select}")
        return list(engine.arrow(f"{found.select('profiles')} ORDER BY profile").to_pylist())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**48))
def test_history_and_influences_are_the_same_for_all_and_for_one(seed: int) -> None:
    rng = random.Random(seed)
    plan, events = some_plan(rng), some_events(rng)
    history = History(plan.names, plan.arbitration.influencers)
    wanted = {name for action in plan.actions for name in action.influences} | {
        one.name for one in history.names
    }
    for row in in_sql(plan, events):
        own = [one for one in events if one[0] == row["profile"]]
        past = Past(
            made=[Made(micros(at), contact(a, c)) for _, e, at, a, c in own if KINDS[e] == "contact"],
            outcomes=[
                Outcome(micros(at), KINDS[e], contact(a, c))
                for _, e, at, a, c in own
                if KINDS[e] != "contact"
            ],
        )
        one = history.readings(past, micros(CLOCK.now))
        assert {name: row[name] or None for name in wanted} == {
            name: one.get(name) or None for name in wanted
        }
        assert all(row[name.name] is not None for name in history.names if name.days is not None)


def test_an_outcome_fades_by_half_and_is_forgotten() -> None:
    influencer = Influencer(on="reject", scope="group", weight=-50, half_life="P14D")
    history = History((), (influencer,))

    def after(**age: float) -> float:
        at = micros(CLOCK.now - timedelta(**age))
        past = Past(outcomes=[Outcome(at, "reject", contact("car_loan", "email"))])
        found = history.readings(past, micros(CLOCK.now))
        return sum(value for value in found.values() if isinstance(value, int)) / UNIT

    assert [after(days=days) for days in (0, 14, 28)] == [-50, -25, -12.5]
    assert after(days=7) == -35.355339
    assert after(days=139.9) < 0 == after(days=140)
    assert after(days=-1) == 0
