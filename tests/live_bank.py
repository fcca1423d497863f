"""A small bank whose definitions use everything, and random lives in it, with merges and un-merges.

`History` tells the same facts to DuckDB, where a refresh recomputes all profiles as of any instant.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from tilltal.core.names import quote
from tilltal.core.time import day_start, utc_naive
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.traits.online import Event
from tilltal.decisions.single import as_row
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder
from tilltal.runtime.refresh.views import declared_views, open_views, view_name
from tilltal.workspace.graph import dependencies
from tilltal.workspace.load import load
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

ZONE = ZoneInfo("Europe/Stockholm")

FILES = {
    "tilltal.yaml": """
        name: livebank
        time_zone: Europe/Stockholm
        currency: SEK
        channels: [push, email]
        """,
    "identity.yaml": """
        namespaces:
          - {name: crm, kind: person, unique: true}
          - {name: device, kind: device}
        """,
    "sources/buys.yaml": """
        kind: event
        read: {files: data/buys.csv}
        identities: {crm: customer}
        at: at
        event: buy
        fields: {amount: money, price: number, pieces: integer, city: text, open: boolean, due: date,
          seen: timestamp, thing: any}
        """,
    "sources/looks.yaml": """
        kind: event
        read: {files: data/looks.csv}
        identities: {device: device}
        at: at
        event: look
        fields: {amount: money, pieces: integer, city: text}
        """,
    "sources/notices.yaml": """
        kind: event
        read: {files: data/notices.csv}
        identities: {crm: customer}
        at: at
        event: {column: what, values: [open, leave, stay, close]}
        """,
    "sources/crm.yaml": """
        kind: record
        read: {files: data/crm.csv}
        identities: {crm: customer}
        at: at
        fields: {town: text, income: money, birth: date, rank: number, met: timestamp}
        """,
    "sources/web.yaml": """
        kind: record
        read: {files: data/web.csv}
        identities: {device: device}
        at: at
        fields: {town: text, income: money, rank: number, is_dark: boolean}
        """,
    "sources/held.yaml": """
        kind: holding
        read: {files: data/held.csv}
        identities: {crm: customer}
        product: {column: product, values: [card, loan, savings]}
        opened: opened
        closed: closed
        """,
    "sources/answers.yaml": """
        kind: consent
        read: {files: data/answers.csv}
        identities: {crm: customer}
        purpose: {column: purpose, values: [ads, tips]}
        channel: {column: channel, values: ['*', push, email]}
        granted: granted
        at: at
        """,
    "policies/consent.yaml": """
        purposes:
          ads: {consent: required}
          tips: {consent: required}
          service: {consent: not_required}
        """,
    "profile.yaml": """
        attributes:
          town: {policy: precedence, sources: [crm, web]}
          rank: {policy: latest}
        """,
    "micro_segments.yaml": "products: [loan, savings, card]",
    "lifecycle.yaml": """
        new_days: 5
        trend_days: 7
        tolerance: 0.2
        opened: {events: [open]}
        closed: {events: [close]}
        notice: {events: [leave]}
        notice_withdrawn: {events: [stay]}
        engagement: {from: [buy, look], measure: count, every: week, over: 1}
        """,
    "value.yaml": """
        income:
          value: COALESCE(income, 0) + spend_30d
          cuts: {values: [10, 40]}
          classes: [low, middle, high]
        affinity:
          value: visits_7d
          cuts: {values: [1, 3]}
          classes: [low, middle, high]
        cells:
          - {income: low, affinity: low, name: Passers}
          - {income: high, affinity: high, name: Royals}
          - {income: middle, affinity: middle, name: Loyals}
        """,
    "traits/spend.yaml": "{measure: sum, of: amount, from: [buy], windows: [2 days, 30 days, 2 months]}",
    "traits/visits.yaml": "{measure: count, from: [buy, look], windows: [10 minutes, 3 hours, 7 days]}",
    "traits/visits_ever.yaml": "{measure: count, from: [buy, look]}",
    "traits/cheapest.yaml": "{measure: min, of: price, from: [buy], window: 25 hours}",
    "traits/dearest.yaml": "{measure: max, of: amount, from: [buy, look], window: 1 month}",
    "traits/mean_pieces.yaml": "{measure: avg, of: pieces, from: [buy, look], window: 3 days}",
    "traits/first_city.yaml": "{measure: first, of: city, from: [buy, look]}",
    "traits/last_due.yaml": "{measure: last, of: due, from: [buy]}",
    "traits/last_seen.yaml": "{measure: last, of: seen, from: [buy], window: 5 days}",
    "traits/cities.yaml": "{measure: distinct, of: city, from: [buy, look], windows: [4 hours, 14 days]}",
    "traits/things.yaml": "{measure: distinct, of: thing, from: [buy]}",
    "traits/idle_days.yaml": "{measure: recency, from: [buy, look]}",
    "traits/idle_minutes.yaml": "{measure: recency, from: [look], unit: minutes}",
    "traits/idle_hours.yaml": "{measure: recency, from: [buy], unit: hours, where: amount > 1}",
    "traits/bought_soon.yaml": "{measure: exists, from: [buy], window: 1 hour, where: open}",
    "traits/overdue.yaml": "{measure: count, from: [buy], where: due < TODAY()}",
    "traits/later.yaml": "{measure: count, from: [buy], where: seen > NOW(), window: 20 days}",
    "traits/umea.yaml": "{measure: sum, of: pieces, from: [buy], where: \"city = 'Umeå'\", window: 7 days}",
    "traits/age.yaml": "{expression: AGE(birth)}",
    "traits/share.yaml": "{expression: spend_2d / spend_30d}",
    "traits/wealthy.yaml": "{expression: audience.rich AND holdings >= 1}",
    "audiences/rich.yaml": "condition: income > 20 OR spend_2mo >= 30",
    "audiences/busy.yaml": "condition: visits_10min >= 2 OR visits_3h >= 3",
    "audiences/sleepy.yaml": "condition: COALESCE(idle_days, 99) >= 3",
    "audiences/warm.yaml": "condition: idle_minutes < 45 AND NOT audience.sleepy",
    "audiences/cooling.yaml": "condition: idle_hours BETWEEN 2 AND 30",
    "audiences/reachable.yaml": "condition: consent.ads.push OR consent.tips.email",
    "audiences/royal.yaml": "condition: value.segment = 'Royals'",
    "audiences/saver.yaml": "condition: holding.savings AND wealthy",
    "audiences/leader.yaml": "condition: leading_product = 'loan' OR holdings > 1",
    "audiences/fresh.yaml": "condition: lifecycle.days <= 2",
    "audiences/leaving.yaml": "condition: lifecycle.stage IN ('Regain', 'Retain') AND audience.known",
    "audiences/known.yaml": "condition: is_known",
    "audiences/adult.yaml": "condition: age >= 18",
    "audiences/due_soon.yaml": "condition: DAYS_BETWEEN(TODAY(), last_due) BETWEEN 0 AND 1",
    "audiences/met_before.yaml": "condition: met < NOW() AND NOT later >= 1",
    "audiences/by_night.yaml": "condition: HOUR_OF(NOW()) < 6 AND visits_7d >= 1",
    "audiences/bargain.yaml": "condition: cheapest < 1 OR share > 0.9",
    "audiences/curious.yaml": "condition: cities_4h >= 2 OR (town = 'Umeå' AND bought_soon)",
    "audiences/overdue.yaml": "condition: overdue >= 1 AND last_seen <= NOW()",
}


def live_workspace(root: Path) -> Workspace:
    """Write the bank's definitions and load them."""
    for file, text in FILES.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load(root)


class Arrival(msgspec.Struct, frozen=True):
    """A fact under a token; `fact.received` is when it comes."""

    token: int
    fact: Fact


class Handover(msgspec.Struct, frozen=True):
    """A token goes over to a profile at an instant."""

    at: datetime
    token: int
    profile: int


class World(msgspec.Struct, frozen=True):
    """What happens to some profiles over some days.

    `owners` says which profile has each token at first; all are seen before anything happens.
    """

    start: datetime
    end: datetime
    owners: Mapping[int, int]
    arrivals: Sequence[Arrival]
    handovers: Sequence[Handover]

    @property
    def profiles(self) -> tuple[int, ...]:
        """All profiles there ever are."""
        return tuple(sorted(set(self.owners.values())))

    def owners_at(self, at: datetime) -> dict[int, int]:
        """Return who has each token as of an instant."""
        found = dict(self.owners)
        for handover in self.handovers:
            if handover.at <= at:
                found[handover.token] = handover.profile
        return found

    def known_at(self, at: datetime) -> frozenset[int]:
        """Return the profiles that have a person's token, which are the even ones."""
        return frozenset(profile for token, profile in self.owners_at(at).items() if token % 2 == 0)


def random_world(seed: int, start: datetime, *, days: int, profiles: int, facts: int) -> World:
    """Draw a world: two or three tokens a profile, `facts` facts each, a handover for every third profile."""
    random = Random(seed)
    end = start + timedelta(days=days)
    owners = {profile * 10 + extra: profile for profile in range(1, profiles + 1) for extra in range(3)}
    arrivals = []
    number = 0
    for token in owners:
        for _ in range(random.randrange(facts)):
            number += 1
            fact = _fact(random, start, end, seed * 1_000_000 + number)
            arrivals.append(Arrival(token, fact))
            if random.random() < 0.15:  # another at the same instant, or the same under another token
                twin = _fact(random, start, end, seed * 1_000_000 + number + 500_000)
                arrivals.append(Arrival(token, _at_once(twin, fact)))
    handovers = []
    for profile in range(1, profiles + 1, 3):
        token, other = random.choice([t for t, p in owners.items() if p == profile]), profile % profiles + 1
        away = _instant(random, start, end)
        handovers.append(Handover(away, token, other))
        if random.random() < 0.5:
            handovers.append(Handover(away + timedelta(hours=random.randrange(1, 60)), token, profile))
    arrivals.sort(key=lambda arrival: arrival.fact.received)
    handovers = sorted((each for each in handovers if each.at < end), key=lambda handover: handover.at)
    return World(start, end, owners, arrivals, handovers)


def _at_once(fact: Fact, other: Fact) -> Fact:
    if isinstance(fact, HoldingFact) or isinstance(other, HoldingFact):
        return msgspec.structs.replace(fact, received=other.received)
    return msgspec.structs.replace(fact, at=other.at, received=other.received)


def _instant(random: Random, start: datetime, end: datetime) -> datetime:
    """Draw an instant: near a midnight, at a whole hour, or anywhere."""
    anywhere = start + timedelta(
        microseconds=random.randrange(int((end - start) / timedelta(microseconds=1)))
    )
    chance = random.random()
    if chance < 0.25:
        midnight = day_start(anywhere.astimezone(ZONE).date(), ZONE)
        return max(start, midnight + timedelta(microseconds=random.choice((-1, 0, 1))))
    if chance < 0.4:
        return anywhere.replace(minute=0, second=0, microsecond=0)
    return anywhere


def _fact(random: Random, start: datetime, end: datetime, number: int) -> Fact:
    at = _instant(random, start - timedelta(days=random.choice((0, 0, 0, 3, 40))), end)
    late = timedelta(seconds=random.choice((0, 0, 0, 1, 600, 7200, 200_000, -300, -7200)))  # or early
    received = max(start, at + late)
    event_id = str(UUID(int=number))
    kind = random.choice(
        ("buy", "buy", "buy", "look", "look", "look", "stage", "crm", "web", "held", "answer")
    )
    if kind == "held":
        opened = (at + timedelta(days=random.randrange(-20, 4))).astimezone(ZONE).date()
        closed = opened + timedelta(days=random.randrange(0, 12)) if random.random() < 0.6 else None
        product = random.choice(("card", "loan", "savings"))
        return HoldingFact(source="held", product=product, opened=opened, closed=closed, received=received)
    if kind == "answer":
        purpose, channel = random.choice(("ads", "tips")), random.choice(("*", "push", "email"))
        granted = random.random() < 0.6
        return ConsentFact(purpose=purpose, channel=channel, granted=granted, at=at, received=received)
    fields = _some(random, _values(random, kind, at))
    if kind in ("crm", "web"):
        return RecordFact(source=kind, at=at, received=received, event_id=event_id, fields=fields)
    name = random.choice(("open", "open", "leave", "stay", "close")) if kind == "stage" else kind
    return Event(type=name, at=at, received=received, event_id=event_id, fields=fields)


def _some(random: Random, values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if random.random() < 0.8}


def _values(random: Random, kind: str, at: datetime) -> dict[str, object]:
    near = at.astimezone(ZONE).date() + timedelta(days=random.randrange(-2, 4))
    moment = utc_naive(at + timedelta(minutes=random.randrange(-300, 3000)))
    town = random.choice(("Umeå", "Lund", ""))
    match kind:
        case "buy" | "look":
            values: dict[str, object] = {
                "amount": random.randrange(-300, 3000),
                "price": random.randrange(-4, 40) / 4,
                "pieces": random.randrange(-1, 5),
                "city": town,
                "open": random.random() < 0.5,
                "due": near,
                "seen": moment,
                "thing": random.choice((1, 1.0, 2.5, "1", "x", True, False, 0)),
            }
            return values if kind == "buy" else {name: values[name] for name in ("amount", "pieces", "city")}
        case "crm":
            birth = near.replace(year=near.year - random.choice((17, 18, 18, 18, 40)), day=min(near.day, 28))
            return {
                "town": town,
                "income": random.randrange(6000),
                "birth": birth,
                "rank": 3.0,
                "met": moment,
            }
        case "web":
            rank = random.randrange(8) / 2
            return {"town": town, "income": random.randrange(6000), "rank": rank, "is_dark": rank > 1}
    return {}


_ARROW = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "UUID": pa.string(),
    "STRUCT(namespace VARCHAR, token BIGINT)[]": pa.string(),
}


class History:
    """The facts of a world in DuckDB, recomputed as of any instant by what a refresh runs."""

    def __init__(self, workspace: Workspace, world: World) -> None:
        self._workspace, self._world = workspace, world
        self._schema = profile_schema(workspace)
        self._engine = DuckDBEngine(threads=1)
        self._engine.run("CREATE SCHEMA history")
        rows = _rows(world)
        for view, columns in declared_views(workspace).items():
            typed = [("identity", pa.int64()), *((name, _ARROW[kind]) for name, kind in columns.items())]
            self._engine.register("given", pa.Table.from_pylist(rows.get(view, []), schema=pa.schema(typed)))
            self._engine.run(f"CREATE TABLE history.{quote(view_name(view))} AS SELECT * FROM given")
        self._engine.run("CREATE TABLE history.shared_values (identity BIGINT, namespace VARCHAR)")

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def profiles(self, at: datetime) -> dict[int, dict[str, object]]:
        """Return all profiles as of an instant: all names but scores and lookalikes."""
        world, engine, clock = self._world, self._engine, Clock(at, ZONE)
        owners, known = world.owners_at(at), world.known_at(at)
        engine.register("map", _table({"identity": list(owners), "profile": list(owners.values())}))
        engine.run(
            "CREATE OR REPLACE TABLE history.identity_map AS SELECT identity, TIMESTAMP '0001-01-01' AS "
            "valid_from, CAST(NULL AS TIMESTAMP) AS valid_to, profile FROM map"
        )
        spine = {"profile": list(world.profiles), "is_known": [each in known for each in world.profiles]}
        engine.register("people", pa.table(spine))
        engine.run(
            "CREATE OR REPLACE TABLE history.people_spine AS "
            "SELECT profile, is_known, TIMESTAMP '0001-01-01' AS first_seen FROM people"
        )
        open_views(engine, self._workspace, clock, "present")
        nodes = [node for node in dependencies(self._workspace) if not node.startswith("action.")]
        builder = ProfileBuilder(
            engine, self._workspace, clock, PersonaMemory(may_learn=False), Silent(), None
        )
        builder.build("profiles", frozenset(nodes) - {"micro_segments"})
        rows = engine.arrow("SELECT * FROM profiles").to_pylist()
        return {int(row["profile"]): dict(as_row(row, self._schema)) for row in rows}


def _table(columns: Mapping[str, Iterable[int]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})


def _rows(world: World) -> dict[str, list[dict[str, object]]]:
    rows: dict[str, list[dict[str, object]]] = {}
    for arrival in world.arrivals:
        view, row = _row(arrival.fact)
        rows.setdefault(view, []).append({"identity": arrival.token, **row})
    return rows


def _row(fact: Fact) -> tuple[str, dict[str, object]]:
    head: dict[str, object] = {"received": utc_naive(fact.received), "source": "test"}
    if isinstance(fact, HoldingFact):
        return "holdings", {**head, "product": fact.product, "opened": fact.opened, "closed": fact.closed}
    head["at"] = utc_naive(fact.at)
    if isinstance(fact, ConsentFact):
        answer = {"purpose": fact.purpose, "channel": fact.channel, "granted": fact.granted}
        return "consents", {**head, **answer}
    fields = {name: _stored(name, value) for name, value in fact.fields.items()}
    view = f"events/{fact.type}" if isinstance(fact, Event) else f"records/{fact.source}"
    return view, {**head, "event_id": fact.event_id, **fields}


def _stored(name: str, value: object) -> object:
    return json.dumps(value) if name == "thing" else value


def instant(year: int, month: int, day: int, hour: int = 0) -> datetime:
    """Return an instant in UTC."""
    return datetime(year, month, day, hour, tzinfo=UTC)


def local_day(at: datetime) -> date:
    """Return the bank's date of an instant."""
    return at.astimezone(ZONE).date()
