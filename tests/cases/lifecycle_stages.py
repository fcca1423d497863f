"""Cases of kind `stage`: a history, the stage on dates, and every transition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from tests.cases.lifecycle_live import lived
from tests.cases.report import Mismatch, case_id, unknown_keys

from tilltal.core.time import local_date, parse_instant
from tilltal.customers.lifecycle import transitions as sql
from tilltal.customers.lifecycle.days import day_number
from tilltal.customers.lifecycle.plan import relation_steps, stage_steps
from tilltal.customers.lifecycle.stage import Entry, Terms, Timeline, What
from tilltal.customers.lifecycle.trends import dated_turn_steps
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.segments import Lifecycle, Moments, StageNames

NAMES = StageNames()
CODES = {What.OPEN: sql.OPEN, What.CLOSE: sql.CLOSE, What.NOTICE: sql.NOTICE, What.WITHDRAWN: sql.WITHDRAWN}
Change = tuple[date, str | None, str]


def read_history(lines: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> list[Entry]:
    """Read a history; instants become local dates."""
    return [
        Entry(read_date(line["on"], zone), What(line["what"]), line.get("value"))
        for line in _in_order(lines, zone)
    ]


def _in_order(lines: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> list[Mapping[str, Any]]:
    """Put what happened on one date in order of time, if each has one; a date alone says nothing of it."""
    by_date: dict[date, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_date.setdefault(read_date(line["on"], zone), []).append(line)
    return [
        line
        for same in by_date.values()
        for line in (
            sorted(same, key=lambda line: parse_instant(line["on"], zone))
            if all(len(line["on"]) > len("2026-01-01") for line in same)
            else same
        )
    ]


def read_date(text: str, zone: ZoneInfo) -> date:
    """Read a date, or the local date of an instant."""
    return local_date(parse_instant(text, zone), zone)


def history_tables(histories: Mapping[int, Sequence[Entry]]) -> tuple[pa.Table, pa.Table]:
    """Return `lifecycle_moments` and `lifecycle_readings` of many customers' histories."""
    moments: list[tuple[int, int, int, int]] = []
    readings: dict[tuple[int, int], float] = {}
    for profile, entries in histories.items():
        for seq, entry in enumerate(entries):
            day = day_number(entry.on)
            if entry.what is not What.READING:
                moments.append((profile, day, seq, CODES[entry.what]))
            elif entry.value is not None and abs(entry.value) < float("inf"):
                readings[profile, day] = entry.value
    kinds = {"profile": pa.int64(), "day": pa.int32(), "seq": pa.int64(), "what": pa.int8()}
    columns = {name: [moment[place] for moment in moments] for place, name in enumerate(kinds)}
    return (
        pa.table({name: pa.array(columns[name], kind) for name, kind in kinds.items()}),
        pa.table(
            {
                "profile": pa.array([profile for profile, _ in readings], pa.int64()),
                "day": pa.array([day for _, day in readings], pa.int32()),
                "value": pa.array(list(readings.values()), pa.float64()),
            }
        ),
    )


def run_batch(
    engine: DuckDBEngine, lifecycle: Lifecycle, histories: Mapping[int, Sequence[Entry]], until: date
) -> None:
    """Make the tables `transitions`, `relations` and `lifecycle` as of a date."""
    moments, readings = history_tables(histories)
    engine.register("lifecycle_moments", moments)
    engine.register("lifecycle_readings", readings)
    today = day_number(until)
    turn_steps = dated_turn_steps(Terms.of(lifecycle), today)
    for step in (*relation_steps(today), *turn_steps, *stage_steps(lifecycle, today)):
        engine.run(f"CREATE OR REPLACE TABLE {step.name} AS {step.sql}")


def stage_mismatches(
    case: Mapping[str, Any], defaults: Mapping[str, Any], zone: ZoneInfo
) -> Iterator[Mismatch]:
    """Yield what differs, in all forms."""
    name = case_id(case)
    config = {**defaults, **(case.get("config") or {})}
    yield from unknown_keys(name, "config", config, {"new_days", "trend_days", "tolerance"})
    lines = case.get("history") or ()
    for line in lines:
        yield from unknown_keys(name, "history", line, {"on", "what", "value", "note"})
    lifecycle = Lifecycle(opened=Moments(events=("opened",)), **config)
    history = read_history(lines, zone)
    expected = {read_date(line["date"], zone): line["stage"] for line in case.get("stages") or ()}
    changes = sorted(
        (read_date(line["date"], zone), line["from"], line["to"]) for line in case.get("transitions") or ()
    )
    until = read_date(case["transitions_until"], zone) if "transitions" in case else None
    for form, ask in (("python", _in_python), ("sql", _in_sql), ("live", lived)):
        stages, found = ask(lifecycle, history, list(expected), until)
        for day, stage in expected.items():
            if stages[day] != stage:
                yield Mismatch(case=name, what=f"stage on {day} ({form})", expected=stage, got=stages[day])
        if until and found != changes:
            yield Mismatch(
                case=name, what=f"transitions ({form})", expected=_shown(changes), got=_shown(found)
            )


def _shown(changes: Sequence[Change]) -> list[str]:
    return [f"{day}: {before} -> {after}" for day, before, after in changes]


def _in_python(
    lifecycle: Lifecycle, history: Sequence[Entry], days: Sequence[date], until: date | None
) -> tuple[dict[date, str | None], list[Change]]:
    timeline = Timeline(history, Terms.of(lifecycle))
    stages = {day: stage.called(NAMES) if (stage := timeline.stage(day)) else None for day in days}
    changes = timeline.transitions(until) if until else ()
    return stages, [
        (change.on, change.before.called(NAMES) if change.before else None, change.after.called(NAMES))
        for change in changes
    ]


def _in_sql(
    lifecycle: Lifecycle, history: Sequence[Entry], days: Sequence[date], until: date | None
) -> tuple[dict[date, str | None], list[Change]]:
    stages: dict[date, str | None] = {}
    changes: list[Change] = []
    with DuckDBEngine(threads=1) as engine:
        for day in days:
            run_batch(engine, lifecycle, {1: history}, day)
            rows = engine.rows('SELECT "lifecycle.stage" FROM lifecycle')
            stages[day] = rows[0][0] if rows else None
        if until:
            run_batch(engine, lifecycle, {1: history}, until)
            changes = engine.rows("SELECT date, from_stage, to_stage FROM transitions ORDER BY date")
    return stages, changes
