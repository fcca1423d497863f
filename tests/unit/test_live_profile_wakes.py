"""When a customer is looked at again although nothing comes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.instants import instant_of
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.live.traits.readers import Frames
from tilltal.customers.live.wakes import ClockWake, limits_of
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.python import to_python
from tilltal.rules.types import Type

SCHEMA = {"age": Type.INTEGER, "other": Type.INTEGER}
TICK = timedelta(microseconds=1)
STOCKHOLM, NEW_YORK = "Europe/Stockholm", "America/New_York"


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("age >= 30 OR age = 5", (5, 6, 30, 31)),
        ("age BETWEEN 3 AND 4 AND other > 7", (3, 4, 5)),
        ("age IN (1, 9)", (1, 2, 9, 10)),
        ("COALESCE(age, 99) > 2.5", (2, 3)),
        ("age IS NULL OR NOT 4 < age", (4, 5)),
        ("other > 1", ()),
        ("age > other", None),
        ("age + 1 > 3", None),
        ("age", None),
        ("COALESCE(age, other) > 3", None),
        ("age > 3 OR ABS(age) < 2", None),
    ],
)
def test_a_number_matters_where_it_is_compared_with_constants_only(
    text: str, limits: tuple[int, ...] | None
) -> None:
    assert limits_of("age", [parse(text, SCHEMA)]) == limits


@pytest.mark.parametrize(
    ("text", "zone", "born", "turn"),
    [
        ("NOW() >= TIMESTAMP '2026-05-04 12:00:00'", STOCKHOLM, None, "2026-05-04T10:00"),
        ("NOW() >= TIMESTAMP '2026-01-04 12:00:00'", STOCKHOLM, None, "2026-01-04T11:00"),
        ("NOW() >= TIMESTAMP '2026-01-04 12:00:00'", NEW_YORK, None, "2026-01-04T17:00"),
        ("NOW() >= TIMESTAMP '2026-01-04 12:00:00Z'", STOCKHOLM, None, "2026-01-04T12:00"),
        ("YEARS_BETWEEN(born, TODAY()) >= 26", STOCKHOLM, date(2000, 2, 28), "2026-02-27T23:00"),
        ("YEARS_BETWEEN(born, TODAY()) >= 26", STOCKHOLM, date(2000, 2, 29), "2026-02-28T23:00"),
        ("YEARS_BETWEEN(TODAY(), born) < 4", STOCKHOLM, date(2030, 2, 27), "2026-02-27T23:00"),
        ("YEARS_BETWEEN(TODAY(), born) < 4", STOCKHOLM, date(2030, 2, 28), "2026-02-28T23:00"),
        ("YEARS_BETWEEN(TODAY(), born) < 2", STOCKHOLM, date(2030, 2, 28), "2028-02-28T23:00"),
        ("YEARS_BETWEEN(TODAY(), born) < 6", STOCKHOLM, date(2032, 2, 29), "2026-02-28T23:00"),
        ("YEARS_BETWEEN(TODAY(), born) < 4", STOCKHOLM, date(2030, 12, 31), "2026-12-31T23:00"),
    ],
)
def test_whoever_looks_again_when_told_to_is_in_time(
    text: str, zone: str, born: date | None, turn: str
) -> None:
    """As sweeps do, and nobody is woken day by day."""
    turns = datetime.fromisoformat(turn).replace(tzinfo=UTC)
    condition, days = parse(text, {"born": Type.DATE}), LocalDays(ZoneInfo(zone))
    holds = to_python(condition)
    wake = ClockWake([condition], ["born"], {"born": Type.DATE}, days)
    frames = Frames([], days)

    def is_held(at: datetime) -> object:
        return holds({"born": born}, Clock(at, days.zone))

    assert (is_held(turns - TICK), is_held(turns)) == (False, True)
    for ahead in (1, 50, 400, 1000):
        looks = 0
        at = turns - timedelta(hours=ahead)
        while not is_held(at):
            assert at < turns
            at = instant_of(min(wake.next_changes([born], frames.at(Clock(at, days.zone)))))
            looks += 1
        assert at == turns
        assert looks < 5
