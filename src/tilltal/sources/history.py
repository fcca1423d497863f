"""Queries from checked rows to history: which rows are new, and what each view of history keeps of them.

They speak of relations that `runtime.intake.prepare` makes: `checked` (see `checked`), `repeats` (k,
occurrence), `good`, `known` (k), `taken`, and `tokens_<n>` (text, value, token) for each namespace.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.sources import clock
from tilltal.sources.inputs import Input, fields_of
from tilltal.workspace.definitions.identity import Namespace
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.names import IDENTITY_LABEL

REPEATS = """
SELECT k, occurrence FROM (
  SELECT k, row_number() OVER (PARTITION BY event_id ORDER BY k) AS occurrence FROM checked
  WHERE reasons IS NULL AND event_id IN (
    SELECT event_id FROM checked WHERE reasons IS NULL GROUP BY event_id HAVING count(*) > 1))
WHERE occurrence > 1
"""

COUNTS = """
SELECT count(*), count(*) FILTER (WHERE reasons IS NOT NULL) FROM checked
"""

TAKEN = "SELECT * FROM good ANTI JOIN known USING (k)"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of history and the query that fills it."""

    folder: str
    query: str


def good(source: Source) -> str:
    """Return the query of rows that keep their promise, each under its own event id.

    A message id seen again in one file is the same message. Without ids, equal rows of one file are told
    apart by counting them, so that both count, and count once when a grown file brings them again.
    """
    kept = "SELECT checked.* FROM checked ANTI JOIN repeats USING (k) WHERE reasons IS NULL"
    if source.id is not None:
        return kept
    again = "CAST(md5(CAST(event_id AS VARCHAR) || '#' || occurrence) AS UUID)"
    return (
        f"SELECT checked.* REPLACE (CASE WHEN occurrence IS NULL THEN event_id ELSE {again} END AS event_id) "
        "FROM checked LEFT JOIN repeats USING (k) WHERE reasons IS NULL"
    )


def known(files: Sequence[str]) -> str:
    """Return the query of good rows that history has already, given the source's files."""
    if not files:
        return "SELECT k FROM good WHERE false"
    return f"SELECT k FROM good SEMI JOIN (SELECT event_id FROM {parquet(files)}) USING (event_id)"


def restated(files: Sequence[str]) -> str:
    """Return the query of taken holdings that history knows already in another state, given its files."""
    if not files:
        return "SELECT k FROM taken WHERE false"
    return f"SELECT k FROM taken SEMI JOIN {parquet(files)} USING (identity, product, opened)"


def restated_arrival(now: datetime, zone: ZoneInfo) -> str:
    """Return SQL of when a holding arrived of which the file does not say it.

    A holding told for the first time was known from its opening on. Told again, the news is its closing,
    known from that day on; any other news is known from now on.
    """
    closing = clock.to_utc("CAST(closed AS TIMESTAMP)", zone)
    news = f"CASE WHEN {closing} <= {sql_timestamp(now)} THEN {closing} ELSE {sql_timestamp(now)} END"
    return f"CASE WHEN k IN (SELECT k FROM restated) THEN {news} ELSE received END"


def views(
    name: str, source: Source, event_types: Sequence[str], *, now: datetime, zone: ZoneInfo
) -> list[View]:
    """Return the views of history that taken rows go to; holdings also read `restated`."""
    common = 'event_id, "at", received'
    origin = f"{literal(name)} AS source, identity"
    fields = "".join(f", field_{n} AS {quote(one.name)}" for n, one in kept_fields(source))
    if source.kind == "event":
        return [
            _view(f"events/{kind}", f"{common}, {origin}{fields}", f"WHERE event = {literal(kind)}")
            for kind in event_types
        ]
    if source.kind == "record":
        return [_view(f"records/{name}", f"{common}, identity{fields}")]
    if source.kind == "holding":
        closed = "closed" if source.closed is not None else "CAST(NULL AS DATE) AS closed"
        is_told = source.received is not None or source.closed is None
        arrival = "received" if is_told else f"{restated_arrival(now, zone)} AS received"
        return [_view("holdings", f"event_id, {arrival}, {origin}, product, opened, {closed}")]
    channel = "coalesce(channel, '*') AS channel" if source.channel is not None else "'*' AS channel"
    return [_view("consents", f"{common}, {origin}, purpose, {channel}, granted")]


def _view(folder: str, columns: str, where: str = "") -> View:
    return View(folder=folder, query=f'SELECT {columns} FROM taken {where} ORDER BY "at", event_id')


def kept_fields(source: Source) -> list[tuple[int, Input]]:
    """Return the fields that history keeps, with their positions: all but those that name a person."""
    return [(n, one) for n, one in enumerate(fields_of(source)) if IDENTITY_LABEL not in one.labels]


def personal_fields(source: Source) -> list[tuple[int, Input]]:
    """Return the fields that only the vault keeps, with their positions."""
    return [(n, one) for n, one in enumerate(fields_of(source)) if IDENTITY_LABEL in one.labels]


def personal(position: int) -> str:
    """Return the query of a personal field: identity, at, value; the latest of each identity."""
    field = f"CAST(field_{position} AS VARCHAR)"
    return (
        f'SELECT identity, max("at") AS "at", arg_max({field}, "at") AS value FROM taken '
        f"WHERE field_{position} IS NOT NULL GROUP BY identity"
    )


def observations(name: str, kind: str, namespaces: Sequence[str]) -> str:
    """Return the query of identifiers seen together, and of each seen alone with its first and last time.

    A holding tells of its customer when it opens, or when it is told of if that is before.
    """
    count = " + ".join(f"CAST(token_{n} IS NOT NULL AS INTEGER)" for n in range(len(namespaces)))
    ids = ", ".join(
        f"CASE WHEN token_{n} IS NOT NULL THEN {{'namespace': {literal(namespace)}, 'token': token_{n}}} END"
        for n, namespace in enumerate(namespaces)
    )
    moment = ' REPLACE (LEAST("at", received) AS "at")' if kind == "holding" else ""
    listed = f"SELECT *{moment}, list_filter([{ids}], lambda one: one IS NOT NULL) AS ids FROM taken"
    message = f"{literal(name + ':')} || coalesce(message, CAST(event_id AS VARCHAR))"
    together = f'SELECT {message} AS observation, "at", "at" AS last_at, ids'
    alone = 'SELECT NULL, min("at"), max("at"), ids'
    return (
        f"{together} FROM ({listed} WHERE {count} > 1) "
        f"UNION ALL {alone} FROM ({listed} WHERE {count} = 1) GROUP BY ids"
    )


def identities(namespaces: Sequence[Namespace], files: Sequence[str]) -> str:
    """Return the query of identifiers seen for the first time, given the files of those known.

    Its columns are token, namespace, value and is_direct; the value is in clear, see `identities_kept`.
    """
    seen = " UNION ALL ".join(
        f"SELECT DISTINCT token, {literal(one.name)} AS namespace, value, "
        f"{str(one.direct).lower()} AS is_direct FROM tokens_{n} WHERE token IN (SELECT token_{n} FROM taken)"
        for n, one in enumerate(namespaces)
    )
    if not files:
        return seen
    return f"SELECT * FROM ({seen}) ANTI JOIN (SELECT token FROM {parquet(files)}) USING (token)"


def identities_kept(relation: str) -> str:
    """Return the query of what history keeps of new identifiers: direct ones without their value."""
    value = "CASE WHEN is_direct THEN NULL ELSE value END AS value"
    return f"SELECT token, namespace, {value} FROM {relation} ORDER BY token"


def parquet(files: Sequence[str]) -> str:
    """Return SQL that reads Parquet files as one relation."""
    return f"read_parquet([{', '.join(map(literal, files))}], union_by_name = true)"
