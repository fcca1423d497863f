"""A case's history as a server lives it: events that come as they happen, the state as bytes in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from tests.cases.audience_live import bare_workspace, event_source

from tilltal.core.time import day_start, local_date
from tilltal.customers.lifecycle.stage import Entry, What
from tilltal.customers.live.profile import Moved, ProfileProgram, Reference
from tilltal.customers.traits.online import Event
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments

_ZONE = ZoneInfo("Europe/Stockholm")  # days of 23 and 25 hours too
_TICK = timedelta(microseconds=1)
_TOKEN = 1
_TYPES = {
    What.OPEN: "opened",
    What.CLOSE: "closed",
    What.NOTICE: "notice",
    What.WITHDRAWN: "withdrawn",
    What.READING: "reading",
}
Change = tuple[date, str | None, str]
Step = tuple[datetime, Event | date]


def lived(
    lifecycle: Lifecycle, history: Sequence[Entry], days: Sequence[date], until: date | None
) -> tuple[dict[date, str | None], list[Change]]:
    """Return the stage at the end of some days, and every change of it by the day."""
    program = _program(lifecycle)
    last = max([*days, *([until] if until else [])], default=None)
    if last is None:
        return {}, []
    ends = {day: day_start(day + timedelta(days=1), _ZONE) - _TICK for day in {*days, last}}
    stages: dict[date, str | None] = {}
    moved: list[Moved] = []
    data = program.encode(program.new())
    steps: list[Step] = [*_arrivals(history, ends[last]), *((end, day) for day, end in ends.items())]
    for at, what in sorted(steps, key=_at):
        state, clock = program.decode(data), Clock(at, _ZONE)
        if isinstance(what, Event):
            program.add(state, _TOKEN, what, clock)
        moved += program.advance(state, clock)
        data = program.encode(state)
        if not isinstance(what, Event):
            stages[what] = _text(program.values(program.decode(data), clock, ["lifecycle.stage"]))
    return stages, [one for one in _daily(moved) if until and one[0] <= until]


def _program(lifecycle: Lifecycle) -> ProfileProgram:
    whole = msgspec.structs.replace(
        lifecycle,
        closed=Moments(events=("closed",)),
        notice=Moments(events=("notice",)),
        notice_withdrawn=Moments(events=("withdrawn",)),
        engagement=Engagement(from_=("reading",), of="value"),
    )
    sources = {name: event_source(name, {"value": Type.NUMBER}) for name in _TYPES.values()}
    return ProfileProgram(
        msgspec.structs.replace(bare_workspace(_ZONE), sources=sources, lifecycle=whole), Reference()
    )


def _arrivals(history: Sequence[Entry], until: datetime) -> list[tuple[datetime, Event]]:
    """Date entries within their day, a second apart in their order, up to an instant."""
    found = []
    for place, entry in enumerate(history):
        at = day_start(entry.on, _ZONE) + timedelta(seconds=place)
        fields = {} if entry.value is None else {"value": float(entry.value)}
        event = Event(type=_TYPES[entry.what], at=at, received=at, event_id=f"{place:032x}", fields=fields)
        found.append((at, event))
    return [one for one in found if one[0] <= until]


def _at(step: Step) -> datetime:
    return step[0]


def _text(values: dict[str, object]) -> str | None:
    stage = values["lifecycle.stage"]
    return stage if isinstance(stage, str) else None


def _daily(moved: Sequence[Moved]) -> list[Change]:
    """Return what each day changed in the end."""
    by_day: dict[date, tuple[str | None, str]] = {}
    for one in moved:
        if one.stage is not None:
            day = local_date(one.at, _ZONE)
            before = by_day[day][0] if day in by_day else one.stage[0]
            by_day[day] = before, one.stage[1]
    return [(day, before, after) for day, (before, after) in by_day.items() if before != after]
