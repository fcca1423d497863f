"""The golden rows of the dialect: what they read and how they are written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tilltal.core.names import literal
from tilltal.rules.clock import Clock
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.sql import Dialect, sql_type
from tilltal.rules.types import Type

CLOCK = Clock(datetime(2026, 5, 4, 22, 30, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))

PROFILE: dict[str, tuple[Type, object]] = {
    "age": (Type.INTEGER, 42),
    "logins": (Type.INTEGER, 0),
    "spend": (Type.NUMBER, 1250.5),
    "city": (Type.TEXT, "Umeå"),
    "note": (Type.TEXT, None),
    "flag": (Type.BOOLEAN, True),
    "maybe": (Type.BOOLEAN, None),
    "born": (Type.DATE, date(1984, 2, 29)),
    "seen": (Type.TIMESTAMP, datetime.fromisoformat("2026-05-04 22:30:00")),
    "score": (Type.ANY, 12.5),
    "word": (Type.ANY, "abc"),
    "sure": (Type.ANY, True),
    "missing": (Type.ANY, None),
}
SCHEMA = {name: kind for name, (kind, _) in PROFILE.items()}
VALUES = {name: value for name, (_, value) in PROFILE.items()}
_JSON = {"score": "12.5", "word": '"abc"', "sure": "true", "missing": None}


def column(name: str, dialect: Dialect = "duckdb") -> str:
    """SQL for a name of the profile: its value, cast to its type."""
    kind, value = PROFILE[name]
    shown = _JSON.get(name, value)
    text = "NULL" if shown is None else literal(str(shown))
    return f"CAST({text} AS {sql_type(kind, dialect)})"


def golden_rows() -> list[tuple[str, str]]:
    """Pairs of an expression and another of the same value: the file's, then the reference page's."""
    lines = (Path(__file__).parent / "values.txt").read_text(encoding="utf-8").splitlines()
    rows = [tuple(line.split(" → ")) for line in lines if line and not line.startswith("#")]
    examples = [example for function in FUNCTIONS.values() for example in function.examples]
    return [(left, right) for left, right in rows] + examples
