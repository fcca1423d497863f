"""Where the moments of a relation come from: SELECT texts of profile, day, seq, what.

`seq` is the instant within the day. What is known by its date alone, and silence, counts from the start of
the day.
"""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Place, WorkspaceError
from tilltal.core.names import literal
from tilltal.customers.lifecycle.days import of_date
from tilltal.customers.lifecycle.occurrences import Past
from tilltal.customers.lifecycle.transitions import CLOSE, NOTICE, OPEN, WITHDRAWN
from tilltal.customers.step import Step
from tilltal.workspace.definitions.segments import Lifecycle, Moments

_DAY_START = "TIMESTAMP '0001-01-01 00:00:00'"
_NEVER = 2147483647
_SHIFT = 1_000_000  # makes every day number positive, so that integer division rounds down
_NEWS = f"{{'received': received, 'closed': COALESCE({of_date('closed')}, {_NEVER})}}"


def moment_steps(lifecycle: Lifecycle, past: Past) -> Iterator[Step]:
    """Yield the steps up to `lifecycle_moments`.

    Raises:
        WorkspaceError: if the moments do not fit each other.
    """
    _check(lifecycle)
    parts = ["lifecycle_openings"]
    if lifecycle.opened.first_event:
        yield from _endings("closings", CLOSE, lifecycle.closed, past, openings=False)
        yield Step("lifecycle_openings", _first_events(lifecycle, past))
    else:
        yield Step("lifecycle_openings", _beginnings(OPEN, lifecycle.opened, past))
        yield from _endings("closings", CLOSE, lifecycle.closed, past, openings=True)
    yield from _endings("notices", NOTICE, lifecycle.notice, past, openings=True)
    if lifecycle.notice and lifecycle.notice_withdrawn:
        yield Step("lifecycle_withdrawals", _withdrawals(lifecycle.notice_withdrawn, past))
        parts.append("lifecycle_withdrawals")
    parts += ["lifecycle_closings"] if lifecycle.closed else []
    parts += ["lifecycle_notices"] if lifecycle.notice else []
    yield Step("lifecycle_moments", "\nUNION ALL\n".join(f"SELECT * FROM {part}" for part in parts))


def _check(lifecycle: Lifecycle) -> None:
    for key, moments in (("opened", lifecycle.opened), ("notice_withdrawn", lifecycle.notice_withdrawn)):
        if moments and moments.silence:
            raise _fault(
                f"`{key}` cannot come from silence", "Name the `events` that begin it, or a `holding`."
            )
    opened, closed = lifecycle.opened, lifecycle.closed
    if not opened.first_event or closed is None or not closed.silence:
        return
    watched = set(opened.first_event) <= set(closed.silence) and closed.where in (None, opened.where)
    if not watched:
        raise _fault(
            "`closed.silence` does not watch the events that open the relation",
            "Name all types of `opened.first_event` in it, and give it no narrower `where`.",
        )


def _fault(message: str, hint: str) -> WorkspaceError:
    return WorkspaceError.of("W166", message, place=Place(file="lifecycle.yaml"), hint=hint)


def _endings(name: str, what: int, moments: Moments | None, past: Past, *, openings: bool) -> Iterator[Step]:
    """Yield the steps that make closings or notices; silence also counts from the openings made before."""
    if moments is None:
        return
    if moments.silence:
        yield Step(f"lifecycle_{name}_touches", _touches(moments, past, openings=openings))
        yield Step(f"lifecycle_{name}", _silences(f"lifecycle_{name}_touches", what, moments.days))
    elif moments.holding:
        yield Step(f"lifecycle_{name}", _holdings(moments.holding, "given_up", what))
    else:
        yield Step(f"lifecycle_{name}", _each(what, moments, past))


def _beginnings(what: int, moments: Moments, past: Past) -> str:
    if moments.holding:
        return _holdings(moments.holding, "taken", what)
    return _each(what, moments, past)


def _each(what: int, moments: Moments, past: Past) -> str:
    return _moments(past.events(moments.events or moments.first_event, moments.where), what, past)


def _moments(events: str, what: int, past: Past) -> str:
    return (
        f"SELECT profile, {past.local_day} AS day, instant AS seq, {what} AS what FROM ({events}) AS events"
    )


def _first_events(lifecycle: Lifecycle, past: Past) -> str:
    """Return the first event of each profile, and the first after each closing."""
    opened, closed = lifecycle.opened, lifecycle.closed
    if closed and set(closed.silence) == set(opened.first_event) and closed.where == opened.where:
        return _breaks("lifecycle_closings_touches", OPEN, closed.days)
    events = past.events(opened.first_event, opened.where)
    first = f"SELECT profile, MIN(instant) AS instant FROM ({events}) AS events GROUP BY profile"
    if closed is None:
        return _moments(first, OPEN, past)
    return _moments(f"{first}\nUNION ALL\n{_following(events, 'lifecycle_closings', past, '>')}", OPEN, past)


def _withdrawals(moments: Moments, past: Past) -> str:
    """Return what may take a notice back; of events, only the first from the notice's instant on can."""
    if moments.holding:
        return _holdings(moments.holding, "taken", WITHDRAWN)
    events = past.events(moments.events or moments.first_event, moments.where)
    return _moments(_following(events, "lifecycle_notices", past, ">="), WITHDRAWN, past)


def _following(events: str, moments: str, past: Past, later: str) -> str:
    """Return the first event after each moment (`later` is >), or from its instant on (>=)."""
    return f"""SELECT e.profile, MIN(e.instant) AS instant
FROM {moments} AS m JOIN (SELECT profile, instant, {past.local_day} AS day FROM ({events}) AS events) AS e
  ON e.profile = m.profile AND (e.day > m.day OR (e.day = m.day AND e.instant {later} m.seq))
GROUP BY e.profile, m.day, m.seq"""


def _touches(moments: Moments, past: Past, *, openings: bool) -> str:
    """Return first and last event per stretch of `days` + 1 days: within one there is no silence to find."""
    events = past.events(moments.silence, moments.where)
    touches = f"SELECT profile, instant, {past.local_day} AS day FROM ({events}) AS events"
    if openings:
        touches += " UNION ALL SELECT profile, NULL, day FROM lifecycle_openings"
    return f"""
SELECT profile, MIN(day) AS first_day, MAX(day) AS last_day, MIN(instant) AS first_at
FROM ({touches}) AS touches
GROUP BY profile, (day + {_SHIFT}) // {moments.days + 1}"""


def _silences(touches: str, what: int, days: int) -> str:
    """Return the first day after so many silent days, for each time they came together."""
    return f"""
SELECT profile, last_day + {days + 1} AS day, {_DAY_START} AS seq, {what} AS what
FROM (
  SELECT profile, last_day, LEAD(first_day) OVER (PARTITION BY profile ORDER BY first_day) AS next_day
  FROM {touches}) AS stretches
WHERE COALESCE(next_day, {_NEVER}) > last_day + {days}"""


def _breaks(touches: str, what: int, days: int) -> str:
    """Return the first event of each profile and the first after each silence."""
    return f"""
SELECT profile, first_day AS day, first_at AS seq, {what} AS what
FROM (
  SELECT profile, first_day, first_at,
    LAG(last_day) OVER (PARTITION BY profile ORDER BY first_day) AS previous_day
  FROM {touches}) AS stretches
WHERE previous_day IS NULL OR first_day > previous_day + {days}"""


def _holdings(products: tuple[str, ...], moment: str, what: int) -> str:
    """Return when a first product was taken, or the last one given up; touching holdings are one.

    As in `customers.holdings`, what arrived last about a product opened on a day decides; of equal arrivals,
    the one that says it is held longest.
    """
    chosen = "" if "any" in products else f" AND product IN ({', '.join(map(literal, products))})"
    return f"""
SELECT profile, {moment} AS day, {_DAY_START} AS seq, {what} AS what
FROM (
  SELECT profile, MIN(opened) AS taken, MAX(closed) AS given_up
  FROM (
    SELECT *, SUM(CASE WHEN opened <= reach THEN 0 ELSE 1 END) OVER (
      PARTITION BY profile ORDER BY opened ROWS UNBOUNDED PRECEDING) AS stretch
    FROM (
      SELECT *, MAX(closed) OVER (
        PARTITION BY profile ORDER BY opened ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
      FROM (
        SELECT profile, opened, MAX(closed) AS closed
        FROM (
          SELECT profile, {of_date("opened")} AS opened, (MAX({_NEWS})).closed AS closed
          FROM holdings WHERE opened IS NOT NULL{chosen}
          GROUP BY profile, product, opened) AS latest
        WHERE closed > opened
        GROUP BY profile, opened) AS held) AS reached) AS grouped
  GROUP BY profile, stretch) AS stretches"""
