"""Identity under random observations and rules: any order, an independent oracle and the bulk agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.customers.identity.bulk import OBSERVATIONS, ResolvedTables, resolve_table
from tilltal.customers.identity.corrections import Correction, Corrections, in_force
from tilltal.customers.identity.graph import resolve
from tilltal.customers.identity.resolution import REJECTED, UNCLAIMED, Resolution
from tilltal.customers.identity.rules import LimitRule, NamespaceRule, Rules
from tilltal.customers.identity.values import Identifier, Observation

NAMES = ("crm", "login", "email", "device", "push")
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3_600_000_000


def token(one: Identifier) -> int:
    return NAMES.index(one.namespace) * 1000 + int(one.value)


def identifier(number: int) -> Identifier:
    """Values are tokens as text, padded to one width, as the bulk resolver orders them."""
    return Identifier(NAMES[number // 1000], f"{number % 1000:019d}")


class World(NamedTuple):
    observations: tuple[Observation, ...]
    corrections: tuple[Correction, ...]
    rules: Rules


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    spans = st.none() | st.integers(0, 12).map(lambda hours: hours * HOUR)
    limits = st.none() | st.builds(
        LimitRule, count=st.integers(1, 2), within_us=st.none() | st.integers(1, 9).map(lambda h: h * HOUR)
    )
    rare = st.sampled_from([None, None, None, 2, 3])
    return Rules(
        namespaces=tuple(
            NamespaceRule(
                name=name,
                is_person=name not in ("device", "push"),
                is_unique=(name == "crm" and draw(st.integers(0, 9)) > 0) or draw(st.integers(0, 9)) == 0,
                is_lower_case=False,
                shared_after=draw(rare),
                limit=draw(limits) if draw(st.integers(0, 3)) == 0 else None,
            )
            for name in NAMES
        ),
        is_latest_wins=draw(st.booleans()),
        is_bridging=draw(st.sampled_from([False, False, True])),
        max_ids=draw(st.sampled_from([None, None, None, 2, 4])),
        is_current_holder=draw(st.sampled_from([False, False, False, True])),
        vouch_us=draw(spans),
        lookback_us=draw(spans),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ids = st.integers(0, 4).flatmap(
        lambda name: st.integers(0, 3).map(lambda value: identifier(name * 1000 + value))
    )
    count = draw(st.integers(1, 14))
    observations = tuple(
        Observation(
            id=f"o{at}",
            at=(start := EPOCH + timedelta(hours=draw(st.integers(0, 12)))),
            last_at=draw(st.sampled_from([None, None, start + timedelta(hours=draw(st.integers(0, 5)))])),
            ids=tuple(draw(st.lists(ids, min_size=draw(st.sampled_from([0, 1, 1, 1])), max_size=4))),
        )
        for at in range(count)
    )
    pairs = st.tuples(ids, ids).filter(lambda pair: pair[0] != pair[1])
    same = st.integers(0, 4).flatmap(
        lambda name: st.permutations(range(4)).map(
            lambda order: (identifier(name * 1000 + order[0]), identifier(name * 1000 + order[1]))
        )
    )
    corrections = [
        Correction(id=f"s{at}", same_as=one) for at, one in enumerate(draw(st.lists(same, max_size=2)))
    ]
    corrections += [
        Correction(id=f"f{at}", forbid=one) for at, one in enumerate(draw(st.lists(pairs, max_size=2)))
    ]
    targets = st.sampled_from(
        [*(one.id for one in observations), *(one.id for one in corrections), "r0", "r1", "nothing"]
    )
    revokes = draw(st.lists(targets, max_size=3))
    corrections += [Correction(id=f"r{at}", revoke=target) for at, target in enumerate(revokes)]
    return World(observations, tuple(corrections), draw(rules()))


def exact(world: World) -> Resolution:
    return resolve(world.observations, world.rules, in_force(world.corrections, world.rules))


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_order_of_arrival_changes_nothing(world: World, random: Random) -> None:
    observations, corrections = list(world.observations), list(world.corrections)
    random.shuffle(observations)
    random.shuffle(corrections)
    assert exact(World(tuple(observations), tuple(corrections), world.rules)) == exact(world)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_an_independent_reading_of_the_rules_agrees(world: World) -> None:
    assert_oracle_agrees(world, exact(world))


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_bulk_gives_the_same(world: World) -> None:
    assert_bulk_agrees(world, exact(world))


@pytest.mark.slow
@given(worlds())
@settings(max_examples=3000, deadline=None)
def test_all_agree_over_many_worlds(world: World) -> None:
    got = exact(world)
    assert_oracle_agrees(world, got)
    assert_bulk_agrees(world, got)


def assert_oracle_agrees(world: World, got: Resolution) -> None:
    oracle = Oracle(world)
    assert {frozenset(person) for person in got.people} == {frozenset(map(str, one)) for one in oracle.people}
    assert {(one.a, one.b, one.reason) for one in got.dropped_links} == oracle.dropped
    assert {(one.observation, one.reason) for one in got.refused} == set(oracle.refused.items())
    assert set(got.shared_values) == {str(one) for one in oracle.shared}
    assert dict(got.owners) == oracle.owners()


class Oracle:
    """The rules read once more, plainly: sets of identifiers, everything recomputed at every step."""

    def __init__(self, world: World) -> None:
        self.rules = world.rules
        self.prio = {one.name: at for at, one in enumerate(world.rules.namespaces)}
        self.standing = in_force(world.corrections, world.rules)
        self.observations = world.observations
        self.known = {one for seen in world.observations for one in seen.ids}
        self.refused = {seen.id: reason for seen in world.observations if (reason := self.conflict(seen))}
        self.evidence = [
            seen
            for seen in world.observations
            if seen.id not in self.refused and seen.id not in self.standing.revoked
        ]
        self.shared = {one for one in self.known if self.is_shared(one)}
        self.people = {
            frozenset(one for one in self.known if self.value(one) == self.value(each)) - self.shared
            for each in self.known - self.shared
        }
        self.dropped: set[tuple[str, str, str]] = set()
        self.kept: set[tuple[Identifier, Identifier]] = set()
        self.join()

    def rank(self, one: Identifier) -> tuple[int, str]:
        return self.prio[one.namespace], one.value

    def rule(self, one: Identifier) -> NamespaceRule:
        return self.rules.namespaces[self.prio[one.namespace]]

    def value(self, one: Identifier) -> Identifier:
        """Grow the set of values that are one, taking decisions in order unless they would join foes."""
        groups: list[set[Identifier]] = []
        for a, b in sorted(self.standing.same_as):
            touched = [group for group in groups if group & {a, b}]
            union = {a, b}.union(*touched)
            apart = [group | set() for group in touched] + [
                {x} for x in (a, b) if not any(x in g for g in touched)
            ]
            foes = any(
                {x, y} in [set(pair) for pair in self.standing.forbid]
                for left, right in combinations(apart, 2)
                for x in left
                for y in right
            )
            if not foes:
                groups = [group for group in groups if group not in touched] + [union]
        return min(next((group for group in groups if one in group), {one}))

    def conflict(self, seen: Observation) -> str:
        for namespace in self.rules.namespaces:
            values = {self.value(one) for one in seen.ids if one.namespace == namespace.name}
            if namespace.is_unique and len(values) > 1:
                return f"conflicting_ids:{namespace.name}"
        return ""

    def is_shared(self, one: Identifier) -> bool:
        unique = [namespace.name for namespace in self.rules.namespaces if namespace.is_unique]
        after = self.rule(one).shared_after
        if not unique or after is None or one.namespace == unique[0]:
            return False
        customers = {
            self.value(other)
            for seen in self.evidence
            if any(self.value(held) == self.value(one) for held in seen.ids)
            for other in seen.ids
            if other.namespace == unique[0]
        }
        return len(customers) >= after

    def links(self) -> list[tuple[Identifier, Identifier]]:
        found = set()
        for seen in self.evidence:
            held = sorted(set(seen.ids), key=self.rank)
            anchor = next((one for one in held if one not in self.shared), held[0] if held else None)
            for one in held:
                if anchor is not None and one != anchor:
                    low, high = sorted((anchor, one), key=self.rank)
                    found.add((low, high))
        return sorted(found, key=self.order)

    def order(self, link: tuple[Identifier, Identifier]) -> tuple[bool, timedelta, int, str]:
        a, b = link
        both = [
            seen for seen in self.evidence if a in seen.ids and b in seen.ids and self.is_star(seen, a, b)
        ]
        is_device = not (self.rule(a).is_person and self.rule(b).is_person)
        if is_device or self.rules.is_latest_wins:
            when = EPOCH - max(seen.last_at or seen.at for seen in both)
        else:
            when = min(seen.at for seen in both) - EPOCH
        return is_device, when, self.prio[a.namespace] + self.prio[b.namespace], f"{a}|{b}"

    def is_star(self, seen: Observation, a: Identifier, b: Identifier) -> bool:
        held = sorted(set(seen.ids), key=self.rank)
        return next((one for one in held if one not in self.shared), held[0]) in (a, b)

    def join(self) -> None:
        for a, b in self.links():
            if {a, b} & self.shared:
                self.dropped.add((str(a), str(b), "shared_value"))
                continue
            left, right = self.person(a), self.person(b)
            reason = "" if left == right else self.broken(left, right, a, b)
            if reason:
                self.dropped.add((str(a), str(b), reason))
            else:
                self.people = (self.people - {left, right}) | {left | right}
                self.kept.add((a, b))

    def person(self, one: Identifier) -> frozenset[Identifier]:
        return next(person for person in self.people if one in person)

    def broken(
        self, left: frozenset[Identifier], right: frozenset[Identifier], a: Identifier, b: Identifier
    ) -> str:
        union = left | right
        for namespace in self.rules.namespaces:
            if (
                namespace.is_unique
                and len({self.value(x) for x in union if x.namespace == namespace.name}) > 1
            ):
                return f"unique_namespace:{namespace.name}"
        is_device = not (self.rule(a).is_person and self.rule(b).is_person)
        both_people = all(any(self.rule(x).is_person for x in side) for side in (left, right))
        if is_device and both_people and not self.rules.is_bridging:
            return "device_bridge"
        values = [{self.value(x) for x in side} for side in (left, right)]
        for x, y in self.standing.forbid:
            x, y = self.value(x), self.value(y)
            if (x in values[0] and y in values[1]) or (y in values[0] and x in values[1]):
                return "forbidden_pair"
        for namespace in self.rules.namespaces:
            held = {self.value(x) for x in union if x.namespace == namespace.name}
            if namespace.limit and self.is_over(held, namespace.limit):
                return f"limit:{namespace.name}"
        too_many = self.rules.max_ids is not None and len({self.value(x) for x in union}) > self.rules.max_ids
        return "max_ids_per_person" if too_many else ""

    def is_over(self, held: set[Identifier], limit: LimitRule) -> bool:
        first = {
            one: min(seen.at for seen in self.observations if one in {self.value(x) for x in seen.ids})
            for one in held
        }
        return any(
            limit.within_us is None
            or max(first[x] for x in some) - min(first[x] for x in some)
            < timedelta(microseconds=limit.within_us)
            for some in combinations(sorted(held), limit.count + 1)
        )

    def owners(self) -> dict[str, str]:
        owners = {seen.id: self.owner(seen) for seen in self.observations}
        return {name: owner for name, owner in owners.items() if owner}

    def owner(self, seen: Observation) -> str:
        if not seen.ids:
            return REJECTED
        usable = sorted(set(seen.ids) - self.shared, key=self.rank)
        if any(self.rule(one).is_person for one in usable):
            return ""
        return self.device_owner(usable[0], seen.at) if usable else UNCLAIMED

    def leader(self, one: Identifier) -> str:
        return str(min(self.person(one), key=self.rank))

    def device_owner(self, device: Identifier, at: datetime) -> str:
        if self.rules.is_current_holder:
            held = any(self.rule(one).is_person for one in self.person(device))
            return self.leader(device) if held else UNCLAIMED
        logins = self.logins(device)
        before = [login for login in logins if login[0] <= at]
        if before:
            latest = min((login for login in before if login[0] == before[-1][0]), key=lambda login: login[1])
            if self.rules.vouch_us is None or at - latest[0] <= timedelta(microseconds=self.rules.vouch_us):
                return self.leader(latest[2])
        later = [login for login in logins if login[0] > at]
        lookback = self.rules.lookback_us
        if later and (lookback is None or later[0][0] - at <= timedelta(microseconds=lookback)):
            return self.leader(later[0][2])
        return UNCLAIMED

    def logins(self, device: Identifier) -> list[tuple[datetime, tuple[int, str], Identifier]]:
        cluster = {device}
        for _ in self.known:
            cluster |= {
                x for x in self.known - self.shared for y in cluster if self.value(x) == self.value(y)
            }
            for a, b in self.kept:
                if not self.rule(a).is_person and not self.rule(b).is_person and {a, b} & cluster:
                    cluster |= {a, b}
        logins = []
        for seen in self.evidence:
            people = sorted(
                (x for x in seen.ids if self.rule(x).is_person and x not in self.shared), key=self.rank
            )
            for own in set(seen.ids) & cluster if people else ():
                tie = self.prio[people[0].namespace] + self.prio[own.namespace], f"{people[0]}|{own}"
                logins += [(at, tie, people[0]) for at in {seen.at, seen.last_at or seen.at}]
        return sorted(logins, key=lambda login: login[:2])


def table_of(observations: Sequence[Observation]) -> pa.Table:
    rows = [
        {
            "observation": one.id,
            "at": one.at.replace(tzinfo=None),
            "last_at": (one.last_at or one.at).replace(tzinfo=None),
            "ids": [{"namespace": each.namespace, "token": token(each)} for each in one.ids],
        }
        for one in observations
    ]
    return pa.Table.from_pylist(rows, OBSERVATIONS)


def assert_bulk_agrees(world: World, got: Resolution) -> None:
    corrections: Corrections[int] = in_force(world.corrections, world.rules).translated(token)
    tables = resolve_table(table_of(world.observations), world.rules, corrections)
    texts = {str(one): token(one) for seen in world.observations for one in seen.ids}
    people: dict[int, set[int]] = {}
    for row in tables.people.to_pylist():
        people.setdefault(row["profile"], set()).add(row["identity"])
    assert {frozenset(one) for one in people.values()} == {
        frozenset(texts[x] for x in one) for one in got.people
    }
    assert all(profile in members for profile, members in people.items())
    dropped = {
        (row["a"], row["b"], row["reason"], row["first_seen"], row["last_seen"])
        for row in tables.dropped_links.to_pylist()
    }
    assert dropped == {
        (texts[one.a], texts[one.b], one.reason, naive(one.first_seen), naive(one.last_seen))
        for one in got.dropped_links
    }
    assert {row["identity"] for row in tables.shared_values.to_pylist()} == {
        texts[one] for one in got.shared_values
    }
    assert tables.refused.to_pylist() == [
        msgspec.to_builtins(one)
        for one in sorted(got.refused, key=lambda one: world_order(world, one.observation))
    ]
    known = {row["profile"] for row in tables.spine.to_pylist() if row["is_known"]}
    assert {row["profile"] for row in tables.spine.to_pylist()} == set(people)
    assert known == {profile for profile, members in people.items() if any(one < 3000 for one in members)}
    assert_map_agrees(world, got, tables, people, texts, known)


def assert_map_agrees(
    world: World,
    got: Resolution,
    tables: ResolvedTables,
    people: dict[int, set[int]],
    texts: dict[str, int],
    known: set[int],
) -> None:
    profile_of = {one: profile for profile, members in people.items() for one in members}
    shared = {texts[one] for one in got.shared_values}
    for seen in world.observations:
        usable = sorted({token(one) for one in seen.ids} - shared)
        if usable:
            rows = [
                row
                for row in tables.identity_map.to_pylist()
                if row["identity"] == usable[0] and holds(row, seen.at)
            ]
            assert len(rows) <= 1
            assert all(row["identity"] != row["profile"] for row in rows)
            profile = rows[0]["profile"] if rows else usable[0]
            owner = got.owners.get(seen.id)
            if owner is None:
                assert profile == profile_of[usable[0]]
            elif owner == UNCLAIMED:
                assert profile not in known
            else:
                assert profile == profile_of[texts[owner]]


def holds(row: dict[str, datetime], at: datetime) -> bool:
    return row["valid_from"] <= naive(at) and (row["valid_to"] is None or naive(at) < row["valid_to"])


def naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def world_order(world: World, name: str) -> int:
    return [one.id for one in world.observations].index(name)
