"""The query that turns a file as it was read into rows that keep their promise, and reasons for the others.

Its columns:

    k               position in the file, from 0
    reasons         why the row is turned away, NULL if it is not (see `reasons`)
    event_id        UUID of source and message id, or of source and content
    message         the message id, NULL where the source has none
    at, received    UTC
    identity        token of the leading identifier
    token_<n>       token of the n-th namespace of the source
    <role>          event, product, opened, closed, purpose, channel, granted: as the kind asks
    field_<n>       the n-th field, typed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from tilltal.core.names import literal
from tilltal.core.time import parse_instant, sql_timestamp
from tilltal.sources import clock
from tilltal.sources.casts import Cast, Context, cast, is_untyped
from tilltal.sources.cells import RawTable, read
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.reasons import SEPARATOR, written
from tilltal.workspace.definitions.sources import Source

FUTURE_ALLOWED = timedelta(minutes=5)
_NAME = "[A-Za-z_][A-Za-z0-9_]*"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the query about one file depends on.

    `tokens` are the names of relations (text, token) with the usable identifiers of each namespace of the
    source, in its order; `ranks` the same namespaces' positions, highest priority first.
    """

    name: str
    source: Source
    table: RawTable
    tokens: tuple[str, ...]
    ranks: tuple[int, ...]
    context: Context
    now: datetime


def identifier_texts(plan_table: RawTable, one: Input) -> str:
    """Return SQL of the distinct texts of an identifier, as column `text`."""
    cell = read(plan_table, one).as_text
    return f"SELECT DISTINCT {cell} AS text FROM {plan_table.relation} WHERE {cell} IS NOT NULL"


def checked(plan: Plan) -> str:
    """Return the query: one row for each row of the file, in its order of positions."""
    inputs = inputs_of(plan.source)
    identities = [one for one in inputs if one.role.startswith("identities.")]
    others = [one for one in inputs if not one.role.startswith("identities.")]
    cells = {one.role: read(plan.table, one) for one in others}
    casts = {
        one.role: cast(one, cells[one.role].type, f"c{n}", f"v{n}", plan.context, f"t{n}")
        for n, one in enumerate(others)
    }
    return (
        f"WITH cells AS ({_cells(plan, identities, others)}), "
        f"valued AS (SELECT *, {_listed(f'{casts[one.role].value} AS v{n}' for n, one in enumerate(others))} "
        f"FROM cells), "
        f"timed AS (SELECT *, {_times(plan, others)} FROM valued), "
        f"known AS ({_known(plan)}) "
        f"SELECT {_outputs(plan, others, casts)} FROM known"
    )


def rejected(table: RawTable, checked_rows: str) -> str:
    """Return the query of rejected rows as the file has them: k, reasons, raw."""
    return (
        f"SELECT k, reasons, {table.content} AS raw FROM {table.relation} "
        f"JOIN (SELECT k, reasons FROM {checked_rows} WHERE reasons IS NOT NULL) ON {table.number} = k "
        "ORDER BY k"
    )


def _cells(plan: Plan, identities: Sequence[Input], others: Sequence[Input]) -> str:
    table = plan.table
    columns = [f"{table.number} AS k", f"{table.problem} AS problem", f"{table.fingerprint} AS fingerprint"]
    columns += [f"{read(table, one).as_text} AS i{n}" for n, one in enumerate(identities)]
    columns += [f"{read(table, one).sql} AS c{n}" for n, one in enumerate(others)]
    columns += [f"{read(table, one).says_text} AS t{n}" for n, one in enumerate(others) if is_untyped(one)]
    return f"SELECT {', '.join(columns)} FROM {table.relation}"


def _times(plan: Plan, others: Sequence[Input]) -> str:
    places = {one.role: f"v{n}" for n, one in enumerate(others)}
    if "at" in places:
        at = places["at"]
    elif plan.source.kind == "holding":
        at = clock.to_utc(f"CAST({places['opened']} AS TIMESTAMP)", plan.context.zone)
    elif plan.source.effective is not None:
        at = sql_timestamp(parse_instant(plan.source.effective, plan.context.zone))
    else:
        at = sql_timestamp(plan.now)
    received = f"coalesce({places['received']}, {at})" if "received" in places else at
    return f'{at} AS "at", {received} AS received'


def _known(plan: Plan) -> str:
    """Join the tokens; a LEFT JOIN keeps rows without, to be told why they are turned away."""
    joins = " ".join(
        f"LEFT JOIN {relation} AS known{n} ON timed.i{n} = known{n}.text"
        for n, relation in enumerate(plan.tokens)
    )
    tokens = _listed(f"known{n}.token AS token_{n}" for n in range(len(plan.tokens)))
    return f"SELECT timed.*, {tokens} FROM timed {joins}"


def _outputs(plan: Plan, others: Sequence[Input], casts: dict[str, Cast]) -> str:
    faults = _faults(plan, others, casts)
    is_good = " AND ".join(f"coalesce(NOT ({condition}), true)" for condition, _ in faults)
    # The list of reasons stands in a branch of its own: only rows with a fault pay for it.
    reasons = _listed(f"CASE WHEN {condition} THEN {reason} END" for condition, reason in faults)
    identity = ", ".join(f"token_{rank}" for rank in plan.ranks)
    message = next((f"c{n}" for n, one in enumerate(others) if one.role == "id"), None)
    text = f"CAST({message} AS VARCHAR)" if message else "NULL"
    own = text if message else "fingerprint"
    columns = [
        "k",
        f"CASE WHEN {is_good} THEN NULL ELSE list_filter([{reasons}], lambda o: o IS NOT NULL) END reasons",
        f"CAST(md5({literal(plan.name + SEPARATOR)} || {own}) AS UUID) AS event_id",
        f"CAST({text} AS VARCHAR) AS message",
        '"at"',
        "received",
        f"coalesce({identity}) AS identity",
        *(f"token_{n}" for n in range(len(plan.tokens))),
        *_values(others, casts),
    ]
    return ", ".join(columns)


def _values(others: Sequence[Input], casts: dict[str, Cast]) -> list[str]:
    roles = [one for one in others if one.role not in ("id", "at", "received")]
    fields = [one for one in roles if one.role.startswith("fields.")]
    named = {one.role: one.role for one in roles if one not in fields}
    named |= {one.role: f"field_{n}" for n, one in enumerate(fields)}
    return [f"{casts[role].final} AS {name}" for role, name in named.items()]


def _faults(plan: Plan, others: Sequence[Input], casts: dict[str, Cast]) -> list[tuple[str, str]]:
    faults = [("problem IS NOT NULL", "problem")]
    intact = "problem IS NULL"
    for one in others:
        faults += [(f"{intact} AND ({condition})", reason) for condition, reason in casts[one.role].faults]
    for n, one in enumerate(others):
        faults += [
            (f"{intact} AND ({condition})", reason) for condition, reason in _role_faults(plan, n, one)
        ]
    if plan.source.kind == "holding" and "closed" in casts:
        faults.append(_closed_fault(others))
    identity = ", ".join(f"token_{n}" for n in range(len(plan.tokens)))
    faults.append((f"{intact} AND coalesce({identity}) IS NULL", written("S337")))
    return faults


def _role_faults(plan: Plan, n: int, one: Input) -> list[tuple[str, str]]:
    cell, value = f"c{n}", f"v{n}"
    if one.role in ("at", "received"):
        latest = sql_timestamp(plan.now + FUTURE_ALLOWED)
        return [
            (f"{value} > {latest}", written("S338", one.name, cell)),
            (f"{value} < {clock.EARLIEST}", written("S339", one.name, cell)),
        ]
    if one.role == "opened":
        return [(f"{value} < CAST({clock.EARLIEST} AS DATE)", written("S339", one.name, cell))]
    if one.role == "event":
        is_odd = f"{value} IS NOT NULL AND NOT regexp_full_match({value}, '{_NAME}')"
        return [(is_odd, written("S340", one.name, cell))]
    return []


def _closed_fault(others: Sequence[Input]) -> tuple[str, str]:
    places = {one.role: n for n, one in enumerate(others)}
    opened, closed = places["opened"], places["closed"]
    return f"v{closed} < v{opened}", written("S328", "closed", f"c{closed}")


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
