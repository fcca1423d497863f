"""SQL that reads times: ISO 8601 or a stated format, in the zone of the source, to UTC.

A local time that a change of clocks makes ambiguous is the first of the two; one that it skips is read with
the offset before the change. Both are what Python's `datetime` does with `fold=0`, so that files and single
events agree.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tilltal.core.names import literal

_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_TIME = r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
_OFFSET = r"\s*([Zz]|[+-]\d{2}(:?\d{2})?)"
_SHORTEST_WITH_OFFSET = len("2026-5-4 1:00Z")
_NO_TIMES = r"(?i)[\s\v]*(epoch|-?infinity)[\s\v]*"  # words that DuckDB takes for 1900-01-01 in any format
EARLIEST = "TIMESTAMP '1900-01-01'"


def to_utc(local: str, zone: ZoneInfo) -> str:
    """Return SQL of the UTC timestamp of a naive local timestamp."""
    if zone.key in ("UTC", "Etc/UTC"):
        return local
    name = literal(zone.key)
    later = f"timezone('UTC', timezone({name}, {local}))"
    # DuckDB takes the later of two; where the hour before is written the same, that one came first.
    earlier = f"({later} - INTERVAL {_shift_minutes(zone)} MINUTE)"
    is_twice = f"timezone({name}, timezone('UTC', {earlier})) = {local}"
    return f"CASE WHEN {is_twice} THEN {earlier} ELSE {later} END"


def to_local_date(instant: str, zone: ZoneInfo) -> str:
    """Return SQL of the local date of a timestamp with time zone."""
    return f"CAST(timezone({literal(zone.key)}, {instant}) AS DATE)"


def timestamp(text: str, form: str | None, zone: ZoneInfo) -> str:
    """Return SQL of the UTC timestamp a text stands for, NULL where it is none."""
    if form is not None:
        parsed = _parsed(text, form)
        return f"timezone('UTC', {parsed})" if _has_offset(form) else to_utc(parsed, zone)
    is_time = f"regexp_full_match({text}, '{_DATE}({_TIME}({_OFFSET})?)?')"
    with_offset = f"length({text}) >= {_SHORTEST_WITH_OFFSET} AND regexp_matches({text}, ':.*{_OFFSET}$')"
    return (
        f"CASE WHEN NOT {is_time} THEN NULL "
        f"WHEN {with_offset} THEN timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ)) "
        f"ELSE {to_utc(f'TRY_CAST({text} AS TIMESTAMP)', zone)} END"
    )


def calendar_date(text: str, form: str | None, zone: ZoneInfo) -> str:
    """Return SQL of the date a text stands for; of a time, its local date; NULL where it is none."""
    if form is not None:
        parsed = _parsed(text, form)
        return to_local_date(parsed, zone) if _has_offset(form) else f"CAST({parsed} AS DATE)"
    with_offset = f"regexp_full_match({text}, '{_DATE}{_TIME}{_OFFSET}')"
    is_date = f"regexp_full_match({text}, '{_DATE}({_TIME})?')"
    return (
        f"CASE WHEN {is_date} THEN CAST(TRY_CAST({text} AS TIMESTAMP) AS DATE) "
        f"WHEN {with_offset} THEN {to_local_date(f'TRY_CAST({text} AS TIMESTAMPTZ)', zone)} END"
    )


def _parsed(text: str, form: str) -> str:
    parsed = f"try_strptime({text}, {literal(form)})"
    return f"(CASE WHEN NOT regexp_full_match({text}, '{_NO_TIMES}') THEN {parsed} END)"


def _has_offset(form: str) -> bool:
    return "%z" in form or "%Z" in form


def _shift_minutes(zone: ZoneInfo) -> int:
    """Minutes by which a zone's clocks change: 60, but 30 on Lord Howe Island."""
    offsets = [datetime(2025, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in range(1, 13)]
    known = [offset for offset in offsets if offset is not None]
    return int((max(known) - min(known)) / timedelta(minutes=1)) or 60
