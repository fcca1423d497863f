"""A customer's state: what waits, what moves when, and what is left of merges."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from tests.live_bank import ZONE, live_workspace

from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.pending import Fact, packed, unpacked
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.live.profile import Moved, ProfileProgram, ProfileState, Reference
from tilltal.customers.live.traits.families import Family
from tilltal.customers.traits.online import Event
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.segments import Audience
from tilltal.workspace.definitions.sources import Read
from tilltal.workspace.workspace import Workspace

NOON = datetime(2026, 6, 3, 10, tzinfo=UTC)
CONTACTS = Family(types=("look",), is_whole=True, is_endless=True, fields=("city",))


def clock(at: datetime) -> Clock:
    return Clock(at, ZONE)


def look(at: datetime, number: int = 1, *, received: datetime | None = None, city: str = "Lund") -> Event:
    return Event(
        type="look", at=at, received=received or at, event_id=f"{number:032x}", fields={"city": city}
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return live_workspace(tmp_path_factory.mktemp("livebank"))


@pytest.fixture(scope="module")
def program(workspace: Workspace) -> ProfileProgram:
    return ProfileProgram(workspace, Reference(), (CONTACTS,))


def after(program: ProfileProgram, *facts: Fact, at: datetime = NOON) -> ProfileState:
    """Return the state of a customer who had nothing before these facts, evaluated."""
    state = program.new()
    for fact in facts:
        program.add(state, 1, fact, clock(at))
    program.advance(state, clock(at))
    return state


def test_a_window_of_minutes_ends_at_its_instant(program: ProfileProgram) -> None:
    state = after(program, look(NOON - timedelta(minutes=4), 1), look(NOON, 2))
    assert "busy" in held(program, state)
    moved = program.advance(state, clock(NOON + timedelta(hours=1)))
    left = [each.at for each in moved if "busy" in each.left]
    assert left == [NOON + timedelta(minutes=6)]


def held(program: ProfileProgram, state: ProfileState) -> set[str]:
    return {name for bit, name in enumerate(program.audience_names) if state.audiences >> bit & 1}


def test_what_has_not_happened_yet_counts_from_its_instant_on(program: ProfileProgram) -> None:
    soon = NOON + timedelta(minutes=2)
    state = after(program, look(NOON, 1), look(soon, 2, received=NOON))
    assert program.values(state, clock(NOON), ["visits_ever"]) == {"visits_ever": 1}
    state = program.decode(program.encode(state))
    assert state.due is not None
    assert state.due <= soon.timestamp() * 1_000_000
    moved = program.advance(state, clock(NOON + timedelta(minutes=3)))
    assert [each.at for each in moved if "busy" in each.entered] == [soon]
    assert program.values(state, clock(NOON + timedelta(minutes=3)), ["visits_ever"]) == {"visits_ever": 2}


def test_what_comes_after_a_due_instant_does_not_count_there(program: ProfileProgram) -> None:
    state = after(program, look(NOON - timedelta(minutes=4), 1), look(NOON, 2))
    late = NOON + timedelta(minutes=30)
    program.add(state, 1, look(NOON + timedelta(minutes=7), 3, received=late), clock(late))
    moved = program.advance(state, clock(late))
    assert [each.at for each in moved if "busy" in each.left] == [NOON + timedelta(minutes=6)]


def test_values_ask_a_copy_where_the_state_is_behind(program: ProfileProgram) -> None:
    state = after(program, look(NOON))
    data = program.encode(state)
    later = clock(NOON + timedelta(days=4))
    assert program.values(state, later, ["idle_days", "audience.sleepy", "visits_3h"]) == {
        "idle_days": 4,
        "audience.sleepy": True,
        "visits_3h": 0,
    }
    assert program.encode(state) == data


def test_all_names_have_a_value_and_others_are_refused(program: ProfileProgram) -> None:
    state = after(program)
    assert program.values(state, clock(NOON)).keys() == program.names.keys()
    with pytest.raises(KeyError, match="visits_1d"):
        program.values(state, clock(NOON), ["visits_1d"])


def test_fragments_taken_apart_are_what_they_were(program: ProfileProgram) -> None:
    one, other = after(program, look(NOON, 1)), after(program, look(NOON, 2))
    before = program.values(one, clock(NOON))
    fragment = program.take(other, 1)
    assert fragment is not None
    assert program.take(other, 1) is None
    assert program.tokens(other) == ()
    program.give(one, 2, fragment)
    program.advance(one, clock(NOON))
    assert program.values(one, clock(NOON), ["visits_ever"]) == {"visits_ever": 2}
    assert held(program, one) >= {"busy"}
    assert program.tokens(one) == (1, 2)
    program.take(one, 2)
    program.advance(one, clock(NOON))
    assert program.values(one, clock(NOON)) == before


def test_a_fragment_brings_what_waits_in_it(program: ProfileProgram) -> None:
    soon = NOON + timedelta(minutes=2)
    one, other = after(program, look(NOON, 1)), after(program, look(soon, 2, received=NOON))
    fragment = program.take(other, 1)
    assert fragment is not None
    program.give(one, 2, fragment)
    moved = [*program.advance(one, clock(NOON)), *program.advance(one, clock(soon))]
    assert [each.at for each in moved if "busy" in each.entered] == [soon]


def test_families_of_others_are_kept_and_given_back(program: ProfileProgram) -> None:
    state = after(program, look(NOON, 2, city="Umeå"), look(NOON - timedelta(days=9), 1))
    other = after(program, look(NOON - timedelta(days=1), 3))
    fragment = program.take(other, 1)
    assert fragment is not None
    program.give(state, 7, fragment)
    found = program.occurrences(program.decode(program.encode(state)), CONTACTS)
    assert [each.fields for each in found] == [("Lund",), ("Lund",), ("Umeå",)]
    spending = Family(types=("buy",), of="amount")
    assert program.days(state, spending) == {}


def test_nobody_is_woken_for_what_no_audience_reads(workspace: Workspace) -> None:
    """An age in days is not compared with anything yet to come; so no midnight matters after the window."""
    wanted = {"sleepy": workspace.audiences["sleepy"], "busy": workspace.audiences["busy"]}
    traits = {name: each for name, each in workspace.traits.items() if name != "wealthy"}
    quiet = msgspec.structs.replace(workspace, audiences=wanted, traits=traits, lifecycle=None)
    program = ProfileProgram(quiet, Reference())
    state = after(program, look(NOON))
    dues = []
    while state.due is not None:
        dues.append(datetime.fromtimestamp(state.due / 1_000_000, ZONE).isoformat())
        program.advance(state, clock(datetime.fromtimestamp(state.due / 1_000_000, UTC)))
    assert dues == [
        "2026-06-03T12:10:00+02:00",  # out of ten minutes
        "2026-06-03T15:00:00+02:00",  # and of three hours
        "2026-06-06T00:00:00+02:00",  # idle for three days
        "2026-06-07T00:00:00+02:00",  # and for more than three
    ]
    assert held(program, state) == {"sleepy"}


@pytest.mark.parametrize(
    ("birth", "due"),
    [
        (date(2008, 6, 4), "2026-06-04"),
        (date(2008, 6, 3), "2027-06-03"),
        (date(2008, 2, 29), "2027-03-01"),
        (None, None),
    ],
)
def test_an_age_matters_on_birthdays(workspace: Workspace, birth: date | None, due: str | None) -> None:
    quiet = msgspec.structs.replace(
        workspace,
        audiences={"adult": workspace.audiences["adult"]},
        traits={"age": workspace.traits["age"]},
        lifecycle=None,
        value=None,
    )
    program = ProfileProgram(quiet, Reference())
    told = RecordFact(source="crm", at=NOON, received=NOON, event_id="2" * 32, fields={"birth": birth})
    state = after(program, told)
    assert (state.due and str(datetime.fromtimestamp(state.due / 1_000_000, ZONE).date())) == due


def test_a_day_leaves_its_window_at_midnight(workspace: Workspace) -> None:
    """The event comes to a customer who was looked at before, so only what it changes is found anew."""
    weekly = Audience(condition="visits_7d >= 1")
    quiet = msgspec.structs.replace(
        workspace,
        audiences={"weekly": weekly},
        traits={"visits": workspace.traits["visits"]},
        lifecycle=None,
        value=None,
    )
    program = ProfileProgram(quiet, Reference())
    state = after(program)
    program.add(state, 1, look(NOON), clock(NOON))
    assert program.advance(state, clock(NOON)) == (Moved(NOON, entered=("weekly",)),)
    midnight = datetime(2026, 6, 10, tzinfo=ZONE)
    (moved,) = program.advance(state, clock(NOON + timedelta(days=30)))
    assert moved == Moved(midnight.astimezone(UTC), left=("weekly",))
    assert state.due is None


def test_the_stage_moves_by_itself(program: ProfileProgram) -> None:
    opened = Event(type="open", at=NOON, received=NOON, event_id="1" * 32)
    state = after(program, opened)
    moved = program.advance(state, clock(NOON + timedelta(days=30)))
    turns = [(each.at.astimezone(ZONE).isoformat(), each.stage) for each in moved if each.stage]
    assert turns == [("2026-06-08T00:00:00+02:00", ("New", "Loyal"))]


def test_a_state_of_another_edition_is_found_anew(workspace: Workspace, program: ProfileProgram) -> None:
    state = after(program, look(NOON - timedelta(minutes=1), 1), look(NOON, 2))
    audiences = {name: each for name, each in workspace.audiences.items() if name != "busy"}
    fewer = ProfileProgram(msgspec.structs.replace(workspace, audiences=audiences), Reference(), (CONTACTS,))
    assert fewer.edition != program.edition
    assert fewer.fingerprint == program.fingerprint
    seen = fewer.decode(program.encode(state))
    assert fewer.advance(seen, clock(NOON)) == ()
    again = program.decode(fewer.encode(seen))
    assert program.advance(again, clock(NOON)) == (Moved(NOON, entered=("busy",)),)


def test_state_of_records_is_not_read_as_that_of_messages(
    workspace: Workspace, program: ProfileProgram
) -> None:
    name, source = next(one for one in workspace.sources.items() if one[1].kind == "record")
    read = Read(files="x.csv") if source.read.collector else Read(collector=("identify",))
    sources = {**workspace.sources, name: msgspec.structs.replace(source, read=read)}
    other = ProfileProgram(msgspec.structs.replace(workspace, sources=sources), Reference(), (CONTACTS,))
    assert other.fingerprint != program.fingerprint


def test_lookalikes_and_being_known_come_from_outside(workspace: Workspace, program: ProfileProgram) -> None:
    state = after(program)
    state.is_known = True
    moved = program.advance(state, clock(NOON))
    assert moved == (Moved(NOON, entered=("known",)),)


@pytest.mark.parametrize(
    "fact",
    [
        Event(
            type="buy",
            at=NOON,
            received=NOON + timedelta(seconds=1),
            event_id="1" * 32,
            fields={"amount": 12, "due": date(2026, 6, 4), "seen": datetime(2026, 6, 3, 1, 2, 3, 4)},
        ),
        RecordFact(
            source="crm", at=NOON, received=NOON, event_id="2" * 32, fields={"birth": date(2001, 1, 1)}
        ),
        ConsentFact(purpose="ads", channel="*", granted=True, at=NOON, received=NOON),
        HoldingFact(source="h", product="card", opened=date(2026, 1, 1), closed=None, received=NOON),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_a_fact_that_waits_stays_what_it_is(fact: Fact) -> None:
    assert unpacked(packed(fact)) == fact
