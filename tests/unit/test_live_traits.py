from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import Unit, Window, day_start, local_date, months_before
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.families import Family, family_of
from tilltal.customers.live.traits.live_traits import LiveTraits, Occurrence
from tilltal.customers.live.traits.local_days import LocalDays, leaves
from tilltal.customers.traits.compiled import CompiledTrait, compile_traits
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Trait

STOCKHOLM = ZoneInfo("Europe/Stockholm")
SCHEMAS = {
    "buy": EventType(
        {"amount": Type.NUMBER, "category": Type.TEXT, "due": Type.DATE, "seen": Type.TIMESTAMP},
        {"amount": 100},
    ),
    "message": EventType({"action": Type.TEXT, "channel": Type.TEXT}),
}
NOW = datetime(2026, 3, 30, 10, tzinfo=UTC)


def compiled(**traits: Trait) -> tuple[CompiledTrait, ...]:
    return compile_traits(traits, SCHEMAS)


def kept(**traits: Trait) -> LiveTraits:
    return LiveTraits(compiled(**traits), SCHEMAS, STOCKHOLM)


def event(at: datetime, number: int = 0, kind: str = "buy", **fields: object) -> Event:
    return Event(type=kind, at=at, received=at, event_id=f"{number:08}", fields=fields)


def filled(live: LiveTraits, *events: Event) -> TraitState:
    state = live.empty()
    for each in events:
        live.add(state, each)
    return live.decode(live.encode(state))


def count(window: str | None = None, where: str | None = None) -> Trait:
    return Trait(measure="count", from_=("buy",), window=window, where=where)


def test_traits_that_differ_in_measure_and_window_share_a_family() -> None:
    live = kept(
        week=Trait(measure="sum", of="amount", from_=("buy",), window="7 days"),
        hour=Trait(measure="avg", of="amount", from_=("buy",), window="1 hour"),
        top=Trait(measure="max", of="amount", from_=("buy",), where="amount > 1"),
        age=Trait(measure="recency", of="amount", from_=("buy",)),
    )
    assert live.families == (
        Family(
            types=("buy",),
            of="amount",
            of_type=Type.NUMBER,
            divisor=100,
            needs=("numbers", "sum"),
            windows=(Window(1, Unit.HOURS), Window(7, Unit.DAYS)),
        ),
        Family(
            types=("buy",),
            where="amount > 1",
            of="amount",
            of_type=Type.NUMBER,
            divisor=100,
            needs=("most",),
            is_endless=True,
        ),
        Family(types=("buy",), needs=("latest",), is_endless=True),
    )


def test_the_mask_names_the_families_and_they_the_traits() -> None:
    live = kept(
        all=count(), large=count(where="amount > 10"), of=Trait(measure="last", of="due", from_=("buy",))
    )
    state = live.empty()
    assert live.add(state, event(NOW, amount=500)) == 0b001
    assert live.add(state, event(NOW, 1, amount=5000, due=date(2026, 1, 1))) == 0b111
    assert live.add(state, event(NOW, 2, kind="message")) == 0
    assert live.traits_of(0b101) == (0, 2)
    assert live.values(state, Clock(NOW, STOCKHOLM), 0b110) == {"large": 1, "of": date(2026, 1, 1)}


def test_the_fingerprint_changes_with_windows_and_fields_and_not_with_names() -> None:
    one = kept(a=count("7 days")).fingerprint
    assert kept(b=count("7 days")).fingerprint == one
    assert kept(a=count("8 days")).fingerprint != one
    assert LiveTraits(compiled(a=count("7 days")), SCHEMAS, ZoneInfo("UTC")).fingerprint != one
    other = {**SCHEMAS, "buy": EventType(SCHEMAS["buy"].fields, {"amount": 1000})}
    assert LiveTraits(compiled(a=count("7 days")), other, STOCKHOLM).fingerprint != one


def test_families_that_are_asked_for_keep_days_and_occurrences() -> None:
    (total,) = compiled(total=Trait(measure="sum", of="amount", from_=("buy",), window="2 days"))
    days = family_of(total, keeps_days=True)
    messages = Family(
        types=("message",), is_whole=True, fields=("action", "channel"), windows=(Window(1, Unit.HOURS),)
    )
    live = LiveTraits([total], SCHEMAS, STOCKHOLM, [days, messages])
    long_ago, yesterday = NOW - timedelta(days=400), NOW - timedelta(days=1)
    state = filled(
        live,
        event(yesterday, 1, amount=250),
        event(long_ago, 2, amount=100),
        event(yesterday, 3, amount=50),
        event(NOW - timedelta(hours=2), 4, kind="message", action="loan", channel="email"),
        event(NOW, 5, kind="message", action="card", channel="push"),
    )
    live.prune(state, Clock(NOW, STOCKHOLM))
    found = live.days(state, live.index_of(days))
    assert {day: (each.numbers, each.sum) for day, each in found.items()} == {
        long_ago.toordinal(): (1, 100),
        yesterday.toordinal(): (2, 300),
    }
    assert live.occurrences(state, live.index_of(messages)) == [
        Occurrence(micros(NOW), None, ("card", "push"))
    ]
    with pytest.raises(KeyError):
        live.index_of(Family(types=("message",)))


def test_pruning_forgets_days_but_not_all_of_time() -> None:
    live = kept(
        ever=Trait(measure="distinct", of="category", from_=("buy",)),
        week=Trait(measure="distinct", of="category", from_=("buy",), window="7 days"),
        first=Trait(measure="first", of="category", from_=("buy",)),
    )
    clock = Clock(NOW, STOCKHOLM)
    events = [event(NOW - timedelta(days=age), age, category=f"c{age % 40}") for age in range(200)]
    state = filled(live, *events)
    size = len(live.encode(state))
    live.prune(state, clock)
    assert live.values(state, clock) == {"ever": 40, "week": 7, "first": "c39"}
    assert len(live.encode(state)) < size / 4
    live.add(state, event(NOW - timedelta(days=900), 999, category="older"))  # late, before all that is kept
    live.prune(state, clock)
    assert live.values(state, clock) == {"ever": 41, "week": 7, "first": "older"}


def test_a_state_in_which_nothing_is_left_is_as_small_as_an_empty_one() -> None:
    live = kept(hour=count("1 hour"), day=count("1 day"))
    state = filled(live, event(NOW))
    live.prune(state, Clock(NOW + timedelta(days=2), STOCKHOLM))
    assert live.encode(state) == live.encode(live.empty())


def test_fragments_are_read_together_and_stay_apart() -> None:
    live = kept(
        ever=count(),
        last=Trait(measure="last", of="category", from_=("buy",)),
        hour=Trait(measure="last", of="category", from_=("buy",), window="1 hour"),
    )
    parts = [
        filled(live, event(NOW, number, category=text)) for number, text in ((2, "b"), (3, "c"), (1, "a"))
    ]
    before = [live.encode(part) for part in parts]
    clock = Clock(NOW, STOCKHOLM)
    assert live.values(live.merged(parts), clock) == {"ever": 3, "last": "c", "hour": "c"}
    nested = live.merged([live.merged(parts[:2]), parts[2]])
    assert live.values(nested, clock) == {"ever": 3, "last": "c", "hour": "c"}
    assert [live.encode(part) for part in parts] == before
    assert live.merged([parts[0]]) is parts[0]


@pytest.mark.parametrize(
    ("trait", "expected"),
    [
        (count("30 minutes"), NOW + timedelta(minutes=30)),
        (count("7 days"), day_start(date(2026, 4, 6), STOCKHOLM)),
        (count("1 month"), day_start(date(2026, 4, 30), STOCKHOLM)),
        (count(), None),
        (Trait(measure="recency", from_=("buy",)), day_start(date(2026, 3, 31), STOCKHOLM)),
        (Trait(measure="recency", from_=("buy",), unit="hours"), NOW + timedelta(hours=1)),
        (count(where="due < TODAY()"), day_start(date(2026, 3, 31), STOCKHOLM)),
        (count(where="seen <= NOW()"), datetime(2026, 3, 30, 10, 7, 7, tzinfo=UTC)),
    ],
)
def test_a_change_without_an_event_is_foreseen_to_the_microsecond(
    trait: Trait, expected: datetime | None
) -> None:
    live = kept(it=trait)
    state = filled(live, event(NOW, due=date(2026, 4, 2), seen=datetime(2026, 3, 30, 10, 7, 7)))
    assert live.next_change(state, Clock(NOW, STOCKHOLM)) == expected
    assert live.next_change(live.empty(), Clock(NOW, STOCKHOLM)) is None
    assert live.next_change(state, Clock(NOW, STOCKHOLM), 0) is None


def test_sums_beyond_64_bits_are_stored() -> None:
    live = kept(total=Trait(measure="sum", of="amount", from_=("buy",)))
    state = filled(live, *(event(NOW, number, amount=2**63 - 1) for number in range(4)))
    assert live.values(state, Clock(NOW, STOCKHOLM)) == {"total": pytest.approx(2**65 / 100)}


@pytest.mark.parametrize(
    "zone", ["Europe/Stockholm", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo"]
)
def test_days_of_instants_are_those_of_the_zone(zone: str) -> None:
    days, random = LocalDays(ZoneInfo(zone)), Random(5)
    for _ in range(3000):
        at = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=random.randrange(50 * 365 * 86400 * 10**6)
        )
        assert date.fromordinal(days.day(micros(at))) == local_date(at, ZoneInfo(zone))
        assert instant_of(micros(at)) == at
    for day in range(date(2011, 1, 1).toordinal(), date(2013, 1, 1).toordinal()):
        start = days.start(day)
        skipped = (zone, date.fromordinal(day)) == ("Pacific/Apia", date(2011, 12, 30))  # never was
        assert days.day(start) == day + skipped
        assert days.day(start + 3_600_000_000) == day + skipped  # as the one before
        assert days.day(start - 1) < day


@pytest.mark.parametrize("months", [1, 2, 11, 12, 13, 48])
def test_a_day_leaves_a_window_of_months_on_the_first_day_that_is_too_late(months: int) -> None:
    window = Window(months, Unit.MONTHS)
    for day in range(date(2023, 12, 1).toordinal(), date(2025, 1, 31).toordinal()):
        left = leaves(window, day)
        assert months_before(date.fromordinal(left), months).toordinal() >= day
        assert months_before(date.fromordinal(left - 1), months).toordinal() < day
