"""What stands against contacts, told for one customer in Python, equals what SQL tells for everybody."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.instants import micros
from tilltal.core.time import known_zone, utc_naive
from tilltal.decisions.contacting.batch import readings
from tilltal.decisions.contacting.checks import checks
from tilltal.decisions.contacting.parts import Contact, contact_of
from tilltal.decisions.contacting.permission import Answer
from tilltal.decisions.contacting.policy import ContactPolicy, Made, Moment, Outcome, Past
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import AppliesTo, Cap, CoolDown, Holdout, Keep
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent, Purpose

CHANNELS = ("email", "sms", "call")
PURPOSES = ("marketing", "service", "advice")
PLACES = ("SE", "NO", "Atlantis", None)
ZONES = (
    "Europe/Stockholm", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Mars/Olympus", "", None,
)  # fmt: skip
BASES = ("required", "unless_refused", "not_required")
NOWS = ("2026-03-29T00:59:59Z", "2026-10-25T01:30:00Z", "2026-06-30T22:00:00Z", "2026-01-05T00:00:00Z")
CUSTOMERS = 60
Sent = tuple[datetime, str | None, str | None]


def some_purpose(rng: random.Random) -> Purpose:
    channels = {one: rng.choice(BASES) for one in CHANNELS if rng.random() < 0.2}
    return Purpose(consent=rng.choice(BASES), channels=channels)  # type: ignore[arg-type]


def some_consent(rng: random.Random) -> Consent:
    purposes = {name: some_purpose(rng) for name in PURPOSES[:2]}  # advice is not declared
    if rng.random() < 0.4:
        return Consent(purposes=purposes)
    places = {
        place: {name: some_purpose(rng) for name in PURPOSES[:2] if rng.random() < 0.7}
        for place in PLACES[:2]
    }
    return Consent(purposes=purposes, jurisdiction="country", jurisdictions=places)


def some_scope(rng: random.Random) -> AppliesTo:
    return AppliesTo(
        channel=rng.choice((None, None, "email", ("sms", "call"))),
        purpose=rng.choice((None, None, ("marketing",))),
        group=rng.choice((None, None, "cards", ("cards", "loans"))),
    )


def some_cap(rng: random.Random, number: int) -> Cap:
    span = rng.choice(("day", "week", "month", "P1D", "PT36H", "P30D"))
    is_rolling = span.startswith("P")
    return Cap(
        name=f"cap_{number}",
        limit=rng.choice((0, 1, 3)),
        rolling=span if is_rolling else None,
        calendar=None if is_rolling else span,  # type: ignore[arg-type]
        applies_to=some_scope(rng),
        each=rng.choice(((), (), ("group",), ("channel", "action"))),
        keep=rng.choice((None, Keep(min_priority=50, slots=1))),
    )


def some_cooldown(rng: random.Random, number: int) -> CoolDown:
    return CoolDown(
        name=f"silence_{number}",
        outcome=rng.choice(("reject", "dismiss")),
        times=rng.choice((1, 1, 2, 3)),
        within=rng.choice((None, "P1D", "PT90M")),
        scope=rng.choice(("action", "group", "channel", "all")),
        for_=rng.choice(("P1D", "P7D", "PT36H")),
        applies_to=some_scope(rng),
    )


def some_terms(rng: random.Random) -> Terms:
    return Terms(
        caps=tuple(some_cap(rng, number) for number in range(rng.randrange(5))),
        cooldowns=tuple(some_cooldown(rng, number) for number in range(rng.randrange(4))),
        holdouts=tuple(
            Holdout(name=f"held_{number}", share=rng.choice((0.0, 0.1, 0.5, 1.0)), applies_to=some_scope(rng))
            for number in range(rng.randrange(3))
        ),
        priorities={"service": 90},
        time_zone=rng.choice((None, "zone")),
        events=("sent", "called"),
        outcomes={"declined": "reject", "hung_up": "reject", "closed": "dismiss"},
    )


ACTIONS = {
    "card": Action(title="", group="cards"),
    "Gold": Action(title="", group="cards", issue="retention"),
    "loan": Action(title="", group="loans", purpose="service"),
    "plan": Action(title="", group="savings", purpose="advice"),
}


def some_times(rng: random.Random, now: datetime, most: int) -> list[Sent]:
    hours = (-1, 0, 0, 1, 2, 23, 24, 25, 36, 47, 48, 167, 168, 169, 400, 719, 720, 721)
    slips = (-1, 0, 0, 1)  # seconds: the borders are exact
    return [
        (
            now - timedelta(hours=rng.choice(hours), seconds=rng.choice(slips)),
            rng.choice((*ACTIONS, *ACTIONS, "gone", None)),
            rng.choice((*CHANNELS, None)),
        )
        for _ in range(rng.randrange(most))
    ]


def parts(action: str | None, channel: str | None) -> Contact:
    known = ACTIONS.get(action or "")
    if known is None:
        return Contact(action=action, group=None, issue=None, channel=channel, purpose=None)
    return Contact(
        action=action, group=known.group, issue=known.issue, channel=channel, purpose=known.purpose
    )


def table(columns: dict[str, pa.DataType], rows: list[tuple[Any, ...]]) -> pa.Table:
    listed = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pa.table(
        {name: pa.array(values, kind) for (name, kind), values in zip(columns.items(), listed, strict=True)}
    )


class World:
    """Customers with their events and answers, for Python and as tables."""

    def __init__(self, rng: random.Random, now: datetime, terms: Terms) -> None:
        self.events: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in (*terms.events, *terms.outcomes)
        }
        self.answers: list[tuple[Any, ...]] = []
        self.profiles: list[tuple[Any, ...]] = []
        self.past: dict[int, Past] = {}
        for _ in range(CUSTOMERS):
            profile = rng.randrange(-(2**63), 2**63)
            self.profiles.append((profile, rng.choice(ZONES), rng.choice(PLACES)))
            self.past[profile] = self._past(rng, now, terms, profile)

    def _past(self, rng: random.Random, now: datetime, terms: Terms, profile: int) -> Past:
        made, outcomes, answers = [], [], []
        for name in self.events:
            for at, action, channel in some_times(rng, now, rng.choice((1, 4, 12))):
                self.events[name].append((profile, utc_naive(at), action, channel))
                if name in terms.events:
                    made.append(Made(micros(at), parts(action, channel)))
                else:
                    outcomes.append(Outcome(micros(at), terms.outcomes[name], parts(action, channel)))
        for _ in range(rng.randrange(5)):
            at = now - timedelta(hours=rng.choice((0, 1, 1, 1, 24)))
            purpose, channel = rng.choice(PURPOSES), rng.choice((*CHANNELS, "*"))
            granted = rng.random() < 0.5
            self.answers.append((profile, utc_naive(at), purpose, channel, granted))
            answers.append(Answer(purpose, channel, granted, micros(at)))
        return Past(made, outcomes, answers)

    def register(self, engine: DuckDBEngine) -> None:
        stamp, text = pa.timestamp("us"), pa.string()
        for name, rows in self.events.items():
            columns = {"profile": pa.int64(), "at": stamp, "action": text, "channel": text}
            engine.register(f"event.{name}", table(columns, rows))
        said = {"profile": pa.int64(), "at": stamp, "purpose": text, "channel": text, "granted": pa.bool_()}
        engine.register("consents", table(said, self.answers))
        engine.register(
            "profiles", table({"profile": pa.int64(), "zone": text, "country": text}, self.profiles)
        )


def in_sql(terms: Terms, consent: Consent, world: World, clock: Clock) -> dict[int, dict[str, Any]]:
    contacts = every_contact(terms)
    found = readings(contacts, terms, consent, ACTIONS, clock, "profiles")
    with DuckDBEngine(threads=1) as engine:
        world.register(engine)
        for name, sql in found.tables.items():
            engine.run(f"CREATE TABLE {name} AS {sql}")
        rows = engine.arrow(found.select("profiles")).to_pylist()
    assert len(rows) == CUSTOMERS
    return {row["profile"]: row for row in rows}


def every_contact(terms: Terms) -> list[Contact]:
    return [
        contact_of(name, action, channel, terms.priorities.get(action.purpose, 0))
        for name, action in ACTIONS.items()
        for channel in CHANNELS
    ]


@pytest.mark.parametrize("seed", range(24))
def test_one_by_one_equals_sql(seed: int) -> None:
    rng = random.Random(seed)
    terms, consent = some_terms(rng), some_consent(rng)
    clock = Clock(datetime.fromisoformat(NOWS[seed % len(NOWS)]), ZoneInfo("Europe/Stockholm"))
    world, policy, contacts = (
        World(rng, clock.now, terms),
        ContactPolicy(terms, consent),
        every_contact(terms),
    )
    rows = in_sql(terms, consent, world, clock)
    asked = {one.name: one for contact in contacts for one in checks(contact, terms, consent)}
    asked = {name: one for name, one in asked.items() if not name.startswith("consent.")}
    differ = []
    for profile, zone, place in world.profiles:
        own = known_zone(zone) if terms.time_zone and zone is not None else None
        moment = Moment(
            micros(clock.now), own or clock.zone, place if consent.jurisdiction else None, profile
        )
        known: dict[str, Any] = {
            **policy.readings(world.past[profile], moment),
            **policy.permits(policy.legal(contacts), world.past[profile].answers, moment),
        }
        for name, one in asked.items():
            default = False if one.limit is None else 0
            told, in_table = known.get(name) or default, rows[profile][name] or default
            if told != in_table:
                differ.append((profile, zone, name, told, in_table))
    assert differ == []


def test_the_random_worlds_have_something_of_everything() -> None:
    """Guards the test above: readings of every kind are nothing for some and something for others."""
    seen: dict[tuple[str, bool], int] = {}
    for seed in range(24):
        rng = random.Random(seed)
        terms, consent = some_terms(rng), some_consent(rng)
        clock = Clock(datetime.fromisoformat(NOWS[seed % len(NOWS)]), ZoneInfo("Europe/Stockholm"))
        world = World(rng, clock.now, terms)
        policy = ContactPolicy(terms, consent)
        for profile, past in world.past.items():
            moment = Moment(micros(clock.now), ZoneInfo("UTC"), None, profile)
            known = policy.readings(past, moment)
            for contact in every_contact(terms):
                for one in checks(contact, terms, consent):
                    key = (one.name.split(".")[1], bool(known.get(one.name)))
                    seen[key] = seen.get(key, 0) + 1
    assert all(
        seen[kind, is_some] > 100 for kind in ("cap", "cooldown", "holdout") for is_some in (True, False)
    )


def test_a_holdout_holds_out_its_share_and_always_the_same() -> None:
    """Of 100,000 profiles at a share of 0.1 the count is within four standard deviations, 95, of 10,000."""
    terms = Terms(holdouts=(Holdout(name="base", share=0.1), Holdout(name="other", share=0.1)))
    policy = ContactPolicy(terms, Consent(purposes={}))
    held: dict[str, set[int]] = {"base": set(), "other": set()}
    rng = random.Random(5)
    for profile in (rng.randrange(-(2**63), 2**63) for _ in range(100_000)):
        moment = Moment(micros(datetime(2026, 5, 4, tzinfo=UTC)), ZoneInfo("UTC"), None, profile)
        for name in policy.readings(Past(), moment):
            held[name.rsplit(".", 1)[1]].add(profile)
    assert all(abs(len(one) - 10_000) < 4 * 95 for one in held.values())
    assert abs(len(held["base"] & held["other"]) - 1_000) < 4 * 32  # by chance only
