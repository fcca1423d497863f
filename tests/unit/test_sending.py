"""When a message is sent: local hours, slots that are allowed, the best of them, and what is too late."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.bank import Bank

from tilltal.core.instants import instant_of, micros
from tilltal.customers.live.traits.partials import QUARTER
from tilltal.customers.rhythms.local_hours import hours_of, spans
from tilltal.customers.rhythms.rhythm import FLAT, HOURS, Rhythm, counts_of
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.policy import ContactPolicy, Moment, Past
from tilltal.decisions.contacting.quiet_hours import Hours
from tilltal.decisions.contacting.reservations import reserve
from tilltal.decisions.sending.choosing import WEIGHT, Closing, Habit, Sender, habit_of
from tilltal.decisions.sending.slots import slots
from tilltal.workspace.check import check
from tilltal.workspace.definitions.contact import AppliesTo, QuietHours
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent, Purpose
from tilltal.workspace.definitions.sending import Sending

STOCKHOLM, KOLKATA = ZoneInfo("Europe/Stockholm"), ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 5, 4, 15, 20, tzinfo=UTC)  # 17:20 in Stockholm
PUSH = Contact(action="card", group="offers", issue="sales", channel="push", purpose="service")
NIGHT = QuietHours(from_="21:00", to="08:30", applies_to=AppliesTo(channel="push"))
RULES = Sending(channels=("push",), events=("login",), horizon="24 hours")
NIGHTLY = Terms(quiet_hours=(NIGHT,), reservation_ttl="15 minutes")


def hours_between(start: str, end: str) -> Hours:
    """Return quiet hours."""
    return Hours(time.fromisoformat(start), time.fromisoformat(end))


def quarter(text: str) -> int:
    """Return the quarter of an instant."""
    return micros(datetime.fromisoformat(text)) // QUARTER


def habit(**seen: int) -> Habit:
    """Return the habit of somebody who was there so often at `h18=3` of a flat population."""
    counts = [seen.get(f"h{hour}", 0) for hour in range(HOURS)]
    return habit_of(counts, Rhythm((1.0,) * HOURS, customers=10))


def chosen(sender: Sender, of: Habit, now: datetime = NOW, ends: datetime | None = None) -> str | None:
    """Return the moment on the clock in Stockholm."""
    found = sender.choose(PUSH, ends, micros(now), STOCKHOLM, of)
    return None if found is None else f"{instant_of(found.at).astimezone(STOCKHOLM):%d %H:%M}"


@pytest.mark.parametrize(
    ("zone", "at", "hour"),
    [
        (STOCKHOLM, "2026-05-04T15:59:59+00:00", 17),
        (STOCKHOLM, "2026-01-04T15:59:59+00:00", 16),
        (KOLKATA, "2026-05-04T15:20:00+00:00", 20),
        (KOLKATA, "2026-05-04T15:30:00+00:00", 21),
        (ZoneInfo("Pacific/Chatham"), "2026-05-04T00:15:00+00:00", 13),
    ],
)
def test_an_hour_is_that_of_the_clock_on_the_wall(zone: ZoneInfo, at: str, hour: int) -> None:
    (found,) = hours_of([quarter(at)], zone)
    assert found % HOURS == hour


def test_hours_are_counted_once_and_by_the_clock_of_their_day() -> None:
    visits = ["2026-03-28T07:00+00:00", "2026-03-28T07:50+00:00", "2026-03-29T06:10+00:00"]
    found = hours_of(map(quarter, visits), STOCKHOLM)
    assert counts_of(found)[8] == 2  # 8 in winter and 8 in summer, one hour of UTC apart
    assert sum(counts_of(found)) == 2
    assert hours_of([], STOCKHOLM) == set()


def test_clocks_change_to_the_quarter() -> None:
    first, end = quarter("2026-03-28T00:00+00:00"), quarter("2026-03-31T00:00+00:00")
    winter, summer = spans(STOCKHOLM, first, end)
    assert (winter.offset, summer.offset) == (4, 8)
    assert winter.end == summer.first == quarter("2026-03-29T01:00+00:00")


def test_the_best_hour_of_the_next_day_is_chosen_and_now_if_it_is_this_one() -> None:
    sender = Sender(RULES, Terms())
    assert chosen(sender, habit(h18=1)) == "04 18:00"
    assert chosen(sender, habit(h9=2, h18=1)) == "05 09:00"
    assert chosen(sender, habit(h17=1)) == "04 17:20"
    assert chosen(sender, habit()) == "04 17:20"  # all are equal: the first


def test_a_message_waits_for_the_end_of_quiet_hours_but_not_for_one_inside() -> None:
    sender = Sender(RULES, NIGHTLY)
    assert chosen(sender, habit(h23=9, h20=1)) == "04 20:00"
    assert chosen(sender, habit(h8=9)) == "05 08:30"
    late = datetime(2026, 5, 4, 20, 0, tzinfo=UTC)
    assert chosen(sender, habit(), late) == "05 08:30"
    assert chosen(sender, habit(h23=9), late) == "05 08:30"


def test_nothing_is_sent_after_the_end_of_the_action_or_the_horizon() -> None:
    sender = Sender(RULES, NIGHTLY)
    ends = datetime(2026, 5, 4, 16, 0, tzinfo=UTC)
    assert chosen(sender, habit(h18=9), ends=ends) == "04 17:20"
    assert chosen(sender, habit(h18=9), ends=ends + timedelta(microseconds=1)) == "04 18:00"
    short = Sender(Sending(channels=("push",), events=("login",), horizon="1 hour"), NIGHTLY)
    assert chosen(short, habit(h19=9)) == "04 17:20"
    late = datetime(2026, 5, 4, 20, 0, tzinfo=UTC)
    assert chosen(short, habit(), late) is None


def test_what_is_remembered_of_slots_changes_nothing() -> None:
    sender = Sender(Sending(channels=("push",), events=("login",), horizon="30 hours"), NIGHTLY)
    night = [hours_between(NIGHT.from_, NIGHT.to)]
    for zone in (STOCKHOLM, KOLKATA, ZoneInfo("Australia/Lord_Howe")):
        for start in (datetime(2026, 3, 28, 9, tzinfo=UTC), datetime(2026, 10, 24, 9, tzinfo=UTC), NOW):
            for minutes in range(0, 40 * 60, 47):
                now = micros(start + timedelta(minutes=minutes))
                for ends in (None, start + timedelta(hours=20)):
                    until = sender.until(now, ends)
                    assert sender.slots(PUSH, ends, now, zone) == slots(night, zone, now, until)


def test_what_can_no_longer_be_sent_stands_against_it_only_while_it_is_quiet() -> None:
    sender = Sender(RULES, NIGHTLY)
    ends = datetime(2026, 5, 5, 6, 0, tzinfo=UTC)  # 8:00
    asked = [(PUSH, ends), (PUSH, ends + timedelta(hours=1)), (PUSH, None)]
    (mine,), (longer,), (endless,) = (sender.checks(*one) for one in asked)
    closing = Closing(sender, asked)
    late = micros(datetime(2026, 5, 4, 20, 0, tzinfo=UTC))
    assert closing.readings(late, STOCKHOLM) == {mine.name: 1}
    assert closing.readings(micros(NOW), STOCKHOLM) == {}
    assert mine.reason == "quiet_hours"
    assert len({mine.name, longer.name, endless.name}) == 3
    assert sender.checks(PUSH, None)
    assert not Sender(RULES, Terms()).checks(PUSH, None)


def test_a_reservation_is_of_the_moment_it_is_sent() -> None:
    policy = ContactPolicy(NIGHTLY, Consent(purposes={"service": Purpose(consent="not_required")}))
    night = Moment(micros(datetime(2026, 5, 4, 20, 0, tzinfo=UTC)), STOCKHOLM)
    morning = micros(datetime(2026, 5, 5, 7, 0, tzinfo=UTC))
    refused, nothing = reserve(policy, "a", 1, PUSH, Past(), night)
    assert refused.reasons == ("quiet_hours",)
    assert nothing is None
    _, made = reserve(policy, "a", 1, PUSH, Past(), night, morning)
    assert made is not None
    assert (made.at, made.expires) == (night.now, morning + 15 * 60_000_000)
    back, _ = reserve(policy, "a", 1, PUSH, Past(), Moment(morning, STOCKHOLM), night.now)
    assert back.reasons == ("quiet_hours",)


def test_own_hours_weigh_as_much_as_the_population_does() -> None:
    alpha = [0.1] * HOURS
    alpha[19] = 5.0
    population = Rhythm(tuple(alpha), customers=50)
    counts = [0] * HOURS
    weights = np.frombuffer(habit_of(counts, population).weights, WEIGHT)
    assert int(weights.argmax()) == 19
    counts[7] = 4
    assert int(np.frombuffer(habit_of(counts, population).weights, WEIGHT).argmax()) == 19
    counts[7] = 5
    found = habit_of(counts, population)
    assert int(np.frombuffer(found.weights, WEIGHT).argmax()) == 7
    assert (found.because, habit_of([0] * HOURS, population).because) == ("own_rhythm", "population_rhythm")
    assert habit_of([0] * HOURS, FLAT).because == "first_allowed"


def test_faulty_rules_are_told_with_their_place(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.write("policies/sending.yaml", "{channels: [pigeon], events: [fly], horizon: 9 days}\n")
    found = [fault for fault in check(bank.workspace) if fault.place.file == "policies/sending.yaml"]
    assert [fault.code for fault in found] == ["W130", "W130", "W122"]
    bank.write("policies/sending.yaml", "channels: [email]\n")
    (fault,) = (one for one in check(bank.workspace) if one.place.file == "policies/sending.yaml")
    assert (fault.code, fault.place.line) == ("W121", 1)
