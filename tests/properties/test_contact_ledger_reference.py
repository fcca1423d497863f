"""The ledger answers as a reference does that follows the rules of contact policy word by word.

The reference keeps a diary and reads all of it for every answer. It shares no code with what it checks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.contact_policy_steps import Steps

Step = dict[str, Any]
DURATIONS = {
    "PT15M": timedelta(minutes=15), "PT1H": timedelta(hours=1), "PT24H": timedelta(hours=24),
    "P1D": timedelta(days=1), "P7D": timedelta(days=7), "P30D": timedelta(days=30),
}  # fmt: skip
WAITS = (
    timedelta(0), timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=15),
    timedelta(minutes=14, seconds=59), timedelta(hours=1), timedelta(hours=5), timedelta(hours=24),
    timedelta(hours=23, minutes=59, seconds=59), timedelta(days=7), timedelta(days=30),
)  # fmt: skip
STARTS = (
    "2026-03-28T18:00:00Z",  # the night before the clocks go forward in Europe
    "2026-10-24T18:00:00Z",  # and back
    "2026-03-08T00:00:00Z",  # forward in New York
    "2026-06-30T12:00:00Z",
    "2026-12-31T09:59:59Z",
)
ZONES = (
    "Europe/Stockholm",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Mars/Olympus",
    "",
    None,
)
REAL_ZONES = available_timezones()
CUSTOMERS = ("c1", "c2", "c3")
CHANNELS = ("email", "sms")
GROUPS = ("loans", "savings")
ACTIONS = ("a1", "a2")
PURPOSES = ("marketing", "service")
OUTCOMES = ("rejected", "rejected", "rejected", "ignored")


def listed(one: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, max_size=most)


def some(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """One of the values, as it is or in a list."""
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, unique=True))


SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "channel": some(CHANNELS),
        "group": some(GROUPS),
        "action": some(ACTIONS),
        "purpose": some(PURPOSES),
    },
)
WINDOWS = st.one_of(
    st.fixed_dictionaries({"rolling": st.sampled_from(("PT1H", "PT24H", "P7D", "P30D"))}),
    st.fixed_dictionaries({"calendar": st.sampled_from(("day", "week", "month"))}),
)
CAPS = st.builds(
    lambda window, rest: {**window, **rest},
    WINDOWS,
    st.fixed_dictionaries(
        {"limit": st.integers(0, 3), "applies_to": SCOPES},
        optional={
            "each": st.lists(st.sampled_from(("group", "channel", "action", "purpose")), unique=True),
            "keep": st.fixed_dictionaries(
                {"min_priority": st.sampled_from((50, 60)), "slots": st.integers(0, 2)}
            ),
        },
    ),
)
COOLDOWNS = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from(("rejected", "rejected", "ignored")),
        "scope": st.sampled_from(("action", "group", "channel", "all")),
        "for": st.sampled_from(("P1D", "P7D", "P30D")),
    },
    optional={"times": st.sampled_from((1, 1, 2, 3)), "within": st.sampled_from(("PT1H", "P1D", "P30D"))},
)
CLOCKS = st.sampled_from(("00:00", "01:30", "02:00", "02:30", "03:00", "08:00", "19:00", "21:00", "23:59"))
QUIET = st.fixed_dictionaries({"from": CLOCKS, "to": CLOCKS, "applies_to": SCOPES})
CONFIGS = st.fixed_dictionaries(
    {
        "caps": listed(CAPS, 3),
        "cooldowns": st.lists(COOLDOWNS, min_size=1, max_size=3),
        "quiet_hours": listed(QUIET, 2),
        "default_tz": st.just("Europe/Stockholm"),
        "purposes": st.just({"marketing": {"consent": "required"}, "service": {"consent": "not_required"}}),
    },
    optional={"reservation_ttl": st.sampled_from(("PT15M", "PT1H"))},
)
PARTS = {
    "customer": st.sampled_from(CUSTOMERS),
    "channel": st.sampled_from(CHANNELS),
    "group": st.sampled_from(GROUPS),
    "action": st.sampled_from(ACTIONS),
    "purpose": st.sampled_from(("marketing", "marketing", "marketing", "service", "undeclared")),
    "priority": st.sampled_from((40, 50, 60)),
    "id": st.integers(0, 12),
}
REQUESTS = st.fixed_dictionaries({"do": st.just("request"), **PARTS})
NAMED = st.integers(0, 5)
STEPS = st.one_of(
    REQUESTS,
    REQUESTS,
    REQUESTS,
    st.fixed_dictionaries(
        {"do": st.just("batch"), "requests": st.lists(st.fixed_dictionaries(PARTS), min_size=1, max_size=5)}
    ),
    st.fixed_dictionaries({"do": st.sampled_from(("commit", "fail")), "id": NAMED}),
    st.fixed_dictionaries({"do": st.just("outcome"), "id": NAMED, "outcome": st.sampled_from(OUTCOMES)}),
    st.fixed_dictionaries({"do": st.just("outcome"), "id": NAMED, "outcome": st.sampled_from(OUTCOMES)}),
    st.fixed_dictionaries(
        {
            "do": st.just("consent"),
            "customer": st.sampled_from(CUSTOMERS),
            "purpose": st.sampled_from(("marketing", "undeclared")),
            "channel": st.sampled_from(("*", *CHANNELS)),
            "granted": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {"do": st.just("merge"), "from": st.sampled_from(CUSTOMERS), "into": st.sampled_from(CUSTOMERS)}
    ),
    st.fixed_dictionaries({"do": st.just("split"), "customer": st.sampled_from(CUSTOMERS)}),
)
MORE = settings(max_examples=60, deadline=None, derandomize=True, database=None)


class Reference:
    """Answers from a diary of what happened, in order."""

    def __init__(self, config: Mapping[str, Any], zones: Mapping[str, str | None]) -> None:
        self.config = config
        self.zones = zones
        self.requests: dict[str, Step] = {}  # by id: the request, its time and answer, and what ended it
        self.outcomes: list[Step] = []
        self.consents: list[Step] = []
        self.parent: dict[str, str] = {}

    def take(self, step: Step, now: datetime) -> list[dict[str, Any]]:
        kind = step["do"]
        if kind == "request":
            return [self.request(step, now)]
        if kind == "batch":
            order = sorted(step["requests"], key=lambda one: one["id"])
            answers = {}
            for one in sorted(order, key=lambda one: one["priority"], reverse=True):
                answers[one["id"]] = self.request(one, now)
            return [answers[one["id"]] for one in step["requests"]]
        if kind == "commit":
            return [self.commit(step["id"], now)]
        if kind == "fail" and self.is_active(step["id"], now):
            self.requests[step["id"]]["released"] = now
        if kind == "outcome" and step["id"] in self.requests and self.requests[step["id"]]["allowed"]:
            noted = {"id": step["id"], "outcome": step["outcome"], "at": now}
            if noted not in self.outcomes:
                self.outcomes.append(noted)
        if kind == "consent":
            self.consents.append({**step, "at": now})
        if kind == "merge" and self.root(step["from"]) != self.root(step["into"]):
            self.parent[self.root(step["from"])] = step["into"]
        if kind == "split":
            one = step["customer"]
            alone = [one] if one in self.parent else [c for c in self.parent if self.root(c) == one]
            for customer in alone:
                del self.parent[customer]
        return []

    def request(self, one: Step, now: datetime) -> dict[str, Any]:
        if one["id"] not in self.requests:
            reasons, retry = self.judge(one, now)
            answer: dict[str, Any] = {"expect": "allowed"}
            if reasons:
                answer = {"expect": "denied", "reason": reasons[0], "reasons": reasons, "retry_at": retry}
            self.requests[one["id"]] = {**one, "at": now, "allowed": not reasons, "answer": answer}
        answered: dict[str, Any] = self.requests[one["id"]]["answer"]
        return answered

    def judge(self, one: Step, now: datetime) -> tuple[list[str], datetime | None]:
        reasons: list[str] = []
        retry = None
        if not self.may(one, now):
            reasons.append(f"no_consent:{one['purpose']}/{one['channel']}")
        if self.is_quiet(one, now):
            reasons.append("quiet_hours")
            retry = self.open_at(one, now)
        reasons += [
            f"cooldown:{rule['name']}" for rule in self.config["cooldowns"] if self.is_silent(rule, one, now)
        ]
        reasons += [f"cap:{cap['name']}" for cap in self.config["caps"] if not self.fits(cap, one, now)]
        return reasons, retry

    def commit(self, name: str, now: datetime) -> dict[str, Any]:
        one = self.requests.get(name)
        if one is None or not one["allowed"]:
            return {"expect": "refused", "reason": "denied"}
        if "refused" in one:
            return {"expect": "refused", "reason": one["refused"]}
        if "released" in one:
            return {"expect": "refused", "reason": "released"}
        if "committed" in one:
            return {"expect": "committed"}
        if not self.is_active(name, now):
            return {"expect": "refused", "reason": "lapsed"}
        if not self.may(one, now):
            one["released"] = now
            one["refused"] = f"no_consent:{one['purpose']}/{one['channel']}"
            return {"expect": "refused", "reason": one["refused"]}
        one["committed"] = now
        return {"expect": "committed"}

    def is_active(self, name: str, now: datetime) -> bool:
        one = self.requests.get(name)
        if one is None or not one["allowed"] or "released" in one:
            return False
        ttl = self.config.get("reservation_ttl")
        return "committed" in one or ttl is None or now - one["at"] < DURATIONS[ttl]

    def root(self, customer: str) -> str:
        return self.root(self.parent[customer]) if customer in self.parent else customer

    def is_same(self, a: str, b: str) -> bool:
        return self.root(a) == self.root(b)

    def zone(self, customer: str) -> ZoneInfo:
        own = self.root(customer)
        order = [own, *(one for one in self.parent if self.root(one) == own)]
        for one in order:
            if self.zones[one] in REAL_ZONES:
                return ZoneInfo(str(self.zones[one]))
        return ZoneInfo(self.config["default_tz"])

    def may(self, one: Step, now: datetime) -> bool:
        purpose = self.config["purposes"].get(one["purpose"], {"consent": "required"})
        if purpose["consent"] == "not_required":
            return True
        heard = [
            each
            for each in self.consents
            if self.is_same(each["customer"], one["customer"])
            and each["purpose"] == one["purpose"]
            and each["channel"] in ("*", one["channel"])
            and each["at"] <= now
        ]
        if not heard:
            return False
        latest = max(each["at"] for each in heard)
        return all(each["granted"] for each in heard if each["at"] == latest)

    def is_quiet(self, one: Step, now: datetime) -> bool:
        local = now.astimezone(self.zone(one["customer"])).time()
        for rule in self.config["quiet_hours"]:
            if concerns(rule["applies_to"], one):
                start, end = time.fromisoformat(rule["from"]), time.fromisoformat(rule["to"])
                if start <= end and start <= local < end:
                    return True
                if start > end and (local >= start or local < end):
                    return True
        return False

    def open_at(self, one: Step, now: datetime) -> datetime | None:
        """Borders lie on whole minutes, so it is enough to look at each."""
        minute = now.replace(second=0, microsecond=0)
        for _ in range(3 * 24 * 60):
            minute += timedelta(minutes=1)
            if not self.is_quiet(one, minute):
                return minute
        return None

    def is_silent(self, rule: Step, one: Step, now: datetime) -> bool:
        def is_in_scope(outcome: Step) -> bool:
            contact = self.requests[outcome["id"]]
            return (
                outcome["outcome"] == rule["outcome"]
                and self.is_same(contact["customer"], one["customer"])
                and (rule["scope"] == "all" or contact[rule["scope"]] == one[rule["scope"]])
                and outcome["at"] <= now
            )

        mine = [each["at"] for each in self.outcomes if is_in_scope(each)]
        within = DURATIONS[rule["within"]] if "within" in rule else timedelta(days=99999)
        return any(
            sum(last - within < at <= last for at in mine) >= rule.get("times", 1)
            and last <= now < last + DURATIONS[rule["for"]]
            for last in mine
        )

    def counted(self, cap: Step, one: Step, now: datetime) -> int:
        zone = self.zone(one["customer"])
        return sum(
            self.is_active(name, now)
            and self.is_same(each["customer"], one["customer"])
            and concerns(cap["applies_to"], each)
            and all(each[part] == one[part] for part in cap.get("each", ()))
            and is_inside(cap, each["at"], now, zone)
            for name, each in self.requests.items()
        )

    def fits(self, cap: Step, one: Step, now: datetime) -> bool:
        if not concerns(cap["applies_to"], one):
            return True
        limit = cap["limit"]
        if "keep" in cap and one["priority"] < cap["keep"]["min_priority"]:
            limit -= cap["keep"]["slots"]
        return bool(self.counted(cap, one, now) + 1 <= limit)


def concerns(scope: Mapping[str, Any], one: Step) -> bool:
    return all(one[part] in ([names] if isinstance(names, str) else names) for part, names in scope.items())


def is_inside(cap: Step, at: datetime, now: datetime, zone: ZoneInfo) -> bool:
    if "rolling" in cap:
        return bool(at > now - DURATIONS[cap["rolling"]])
    then, today = at.astimezone(zone).date(), now.astimezone(zone).date()
    if cap["calendar"] == "day":
        return then == today
    if cap["calendar"] == "week":
        return bool(then.isocalendar()[:2] == today.isocalendar()[:2])
    return (then.year, then.month) == (today.year, today.month)


def named(config: dict[str, Any]) -> dict[str, Any]:
    """Give every rule a name of its own."""
    for key in ("caps", "cooldowns"):
        config[key] = [{**one, "name": f"{key}{number}"} for number, one in enumerate(config[key])]
    return config


class Ids:
    """Gives requests their ids: mostly new ones, some of them those of earlier requests."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.given = 0

    def resolved(self, step: Step) -> Step:
        if step["do"] == "batch":
            return {**step, "requests": [self.requested(one) for one in step["requests"]]}
        if step["do"] == "request":
            return self.requested(step)
        return {**step, "id": self.earlier(step["id"])} if "id" in step else step

    def requested(self, one: Step) -> Step:
        if one["id"] == 0 and self.given:
            return {**one, "id": f"r{self.given // 2}"}
        self.given += 1
        return {**one, "id": f"r{self.given}"}

    def earlier(self, back: int) -> str:
        """The latest allowed request but `back`; with the last number, one that may have been denied."""
        allowed = [name for name, one in self.reference.requests.items() if one["allowed"]]
        if back == 5 or back >= len(allowed):
            return f"r{self.given // 2}"
        return allowed[-1 - back]


def differences(
    config: dict[str, Any], zones: tuple[str | None, ...], start: str, steps: list[tuple[Step, timedelta]]
) -> tuple[list[Any], Counter[str]]:
    config = named(config)
    customers = {name: {"tz": zone} for name, zone in zip(CUSTOMERS, zones, strict=True)}
    ledger, reference = Steps(config, customers), Reference(config, dict(zip(CUSTOMERS, zones, strict=True)))
    now = datetime.fromisoformat(start)
    grants: list[tuple[Step, timedelta]] = [
        (
            {"do": "consent", "customer": name, "purpose": "marketing", "channel": "*", "granted": True},
            WAITS[0],
        )
        for name in CUSTOMERS[:2]
    ]
    found, seen, ids = [], Counter[str](), Ids(reference)
    for number, (drawn, wait) in enumerate([*grants, *steps]):
        now += wait
        step = ids.resolved(drawn)
        got = [answer for _, answer in ledger.take({**step, "at": now.astimezone(UTC).isoformat()})]
        wanted = reference.take(step, now)
        if got != wanted:
            found.append((number, step, now, wanted, got))
        for one in wanted:
            seen.update([one["expect"], *(reason.split(":")[0] for reason in one.get("reasons", ()))])
    return found, seen


TIMED = st.lists(st.tuples(STEPS, st.sampled_from(WAITS)), min_size=12, max_size=40)
HOMES = st.tuples(*(st.sampled_from(ZONES) for _ in CUSTOMERS))


@MORE
@given(CONFIGS, HOMES, st.sampled_from(STARTS), TIMED)
def test_the_ledger_answers_as_the_rules_say(
    config: dict[str, Any],
    zones: tuple[str | None, ...],
    start: str,
    steps: list[tuple[Step, timedelta]],
) -> None:
    found, _ = differences(config, zones, start, steps)
    assert found == []


def test_the_drawn_diaries_have_something_of_everything() -> None:
    """Guards the test above: every kind of answer and of reason occurs."""
    total = Counter[str]()

    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(CONFIGS, HOMES, st.sampled_from(STARTS), TIMED)
    def draw(config: Any, zones: Any, start: str, steps: Any) -> None:
        total.update(differences(config, zones, start, steps)[1])

    draw()
    answers = ("allowed", "denied", "committed", "refused")
    assert all(total[kind] >= 5 for kind in (*answers, "no_consent", "quiet_hours", "cooldown", "cap")), total


def some_request(rng: random.Random, number: int) -> Step:
    return {
        "do": "request", "id": f"r{number}", "customer": "c1", "purpose": "service",
        "channel": rng.choice(CHANNELS), "group": rng.choice(GROUPS), "action": rng.choice(ACTIONS),
        "priority": rng.choice((40, 50, 60)),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_no_cap_is_ever_exceeded(seed: int) -> None:
    """Bursts of requests of one instant, some of which fail: after every answer no window holds too many."""
    rng = random.Random(seed)
    caps: list[Step] = [
        {"name": "day", "limit": 2, "calendar": "day", "applies_to": {}},
        {"name": "week", "limit": 6, "calendar": "week", "applies_to": {}, "each": ["group"]},
        {"name": "hour", "limit": 1, "rolling": "PT1H", "applies_to": {"channel": "sms"}},
        {"name": "kept", "limit": 5, "rolling": "P7D", "applies_to": {},
         "keep": {"min_priority": 50, "slots": 2}},
    ]  # fmt: skip
    config = {"caps": caps, "purposes": {"service": {"consent": "not_required"}}, "default_tz": "Asia/Tokyo"}
    steps, zone = Steps(config, {"c1": {"tz": ZONES[seed % 3]}}), ZoneInfo(str(ZONES[seed % 3]))
    now, made, granted = datetime.fromisoformat(STARTS[seed % len(STARTS)]), 0, 0
    active: dict[str, Step] = {}
    for _ in range(60):
        now += rng.choice(WAITS[:9])
        burst = [some_request(rng, made + number) for number in range(rng.randrange(1, 6))]
        made += len(burst)
        for one, answer in steps.take({"do": "batch", "at": now.isoformat(), "requests": burst}):
            if answer["expect"] == "allowed":
                active[one["id"]] = {**one, "at": now}
                granted += 1
        for cap in caps:
            held = [each for each in active.values() if concerns(cap["applies_to"], each)]
            inside = [each for each in held if is_inside(cap, each["at"], now, zone)]
            groups = Counter(tuple(each[part] for part in cap.get("each", ())) for each in inside)
            assert all(count <= cap["limit"] for count in groups.values()), (cap, now, inside)
        if active and rng.random() < 0.3:
            gone = rng.choice(list(active))
            assert list(steps.take({"do": "fail", "at": now.isoformat(), "id": gone})) == []
            del active[gone]
    assert 15 < granted < made  # caps were reached, and contacts made
