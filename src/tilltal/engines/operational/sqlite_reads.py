"""Questions to a SQLite store: each a function of a connection.

Many keys go in as one JSON array or in lists of a few fixed lengths, so that SQLite prepares each text once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice

import msgspec

from tilltal.core.operational import (
    Answered,
    ApiKey,
    Change,
    Contacted,
    Decided,
    Identified,
    Logged,
    Observed,
    Owned,
    State,
    Waiting,
)
from tilltal.engines.operational import rows

_encode = msgspec.json.Encoder().encode
_spans = msgspec.json.Decoder(list[tuple[int, int, int | None, int | None, int | None, int]]).decode


def _json(numbers: Iterable[int]) -> str:
    return _encode(sorted(set(numbers))).decode()


@cache
def _where_in(table: str, columns: str, key: str, count: int) -> str:
    return f"SELECT {columns} FROM {table} WHERE {key} IN ({','.join('?' * count)})"


def _chunks(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut keys into lists of a few fixed lengths; the last key is repeated to fill one."""
    for begin in range(0, len(keys), 512):
        chunk = list(keys[begin : begin + 512])
        length = 1 << (len(chunk) - 1).bit_length()
        yield chunk + chunk[-1:] * (length - len(chunk))


def known_responses(connection: sqlite3.Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Return which response ids were accepted."""
    found: set[bytes] = set()
    for chunk in _chunks(ids):
        found.update(
            name for (name,) in connection.execute(_where_in("responses", "id", "id", len(chunk)), chunk)
        )
    return found


def known_ids(connection: sqlite3.Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Return which message ids were accepted."""
    if not ids:
        return set()
    query = "SELECT asked.value FROM json_each(?) AS asked CROSS JOIN seen_ids ON seen_ids MATCH asked.value"
    asked = _encode([name.hex() for name in ids]).decode()
    return {bytes.fromhex(name) for (name,) in connection.execute(query, (asked,))}


def seen(connection: sqlite3.Connection) -> int:
    """Return how many messages were accepted."""
    (count,) = connection.execute("SELECT value FROM counters WHERE name = 'seen'").fetchone()
    return int(count)


def ids_after(connection: sqlite3.Connection, term: str, limit: int) -> list[str]:
    """Return ids of accepted messages after one, in order, as hexadecimal digits."""
    query = "SELECT term FROM seen_terms WHERE term > ? ORDER BY term LIMIT ?"
    return [found for (found,) in connection.execute(query, (term, limit))]


def owners(connection: sqlite3.Connection, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
    """Return each known token's spans; as one JSON row, which costs one step instead of one per span."""
    query = f"""
        SELECT json_group_array(json_array({rows.OWNER})) FROM (
          SELECT o.* FROM json_each(?) AS asked CROSS JOIN owners AS o ON o.token = asked.value
          ORDER BY o.token, o.place)"""
    (found,) = connection.execute(query, (_json(tokens),)).fetchone()
    return rows.spans(_spans(found))


_WHOSE = """
    SELECT o.profile, p.state, p.due, o.place = 0 AND NOT EXISTS (
      SELECT 1 FROM owners AS later WHERE later.token = ?1 AND later.place = 1)
    FROM owners AS o LEFT JOIN profiles AS p ON p.profile = o.profile
    WHERE o.token = ?1 AND (o.place = 0 OR o.valid_from IS NULL OR o.valid_from <= ?2)
    ORDER BY o.place DESC LIMIT 1"""


class Whose(msgspec.Struct, frozen=True):
    """Whose some tokens are: `token` is the first of them, if it is that profile's at all times."""

    profile: int | None = None
    state: State | None = None
    token: int | None = None


def whose(connection: sqlite3.Connection, tokens: Sequence[int], at: int) -> Whose:
    """Return who owns the first of these tokens that is somebody's at an instant, and the state."""
    for token in tokens:
        found = connection.execute(_WHOSE, (token, at)).fetchone()
        if found is not None and found[0] is not None:
            profile, data, due, is_always = found
            state = None if data is None else State(profile, data, due)
            return Whose(profile, state, token if is_always and token == tokens[0] else None)
    return Whose()


def owned_after(connection: sqlite3.Connection, token: int, limit: int) -> list[tuple[int, State]]:
    """Return tokens after one that are one profile's at all times, and the states of these, in order."""
    query = """
        SELECT o.token, p.profile, p.state, p.due FROM owners AS o JOIN profiles AS p USING (profile)
        WHERE o.token > ? AND o.place = 0 AND NOT EXISTS (
          SELECT 1 FROM owners AS later WHERE later.token = o.token AND later.place = 1)
        ORDER BY o.token LIMIT ?"""
    found = connection.execute(query, (token, limit)).fetchall()
    return [(token, State(*state)) for token, *state in found]


def tokens_of(connection: sqlite3.Connection, profile: int, most: int) -> list[Owned]:
    """Return the first so many spans that a profile owns."""
    query = f"SELECT {rows.OWNER} FROM owners WHERE profile = ? ORDER BY token, place LIMIT ?"
    return [rows.owned(row) for row in connection.execute(query, (profile, most))]


def identities(connection: sqlite3.Connection, tokens: Iterable[int]) -> dict[int, Identified]:
    """Return what is known of tokens."""
    query = """
        SELECT i.token, i.namespace, i.value
        FROM json_each(?) AS asked CROSS JOIN identities AS i ON i.token = asked.value"""
    return rows.identified(connection.execute(query, (_json(tokens),)))


_LEADS_ON = """
          AND there.namespace IN (SELECT value FROM json_each(?2)) AND NOT EXISTS (
            SELECT 1 FROM owners WHERE owners.token = there.token AND place = 0
            AND profile IS NULL AND is_plain)"""


@cache
def _component(leads_on: str) -> str:
    return f"""
        WITH RECURSIVE reached (token) AS (
          SELECT value FROM json_each(?1)
          UNION
          SELECT there.token FROM reached
          CROSS JOIN observations AS here ON here.token = reached.token
          CROSS JOIN observations AS there ON there.id = here.id {leads_on})
        SELECT {rows.OBSERVATION} FROM observations WHERE id IN (
          SELECT here.id FROM reached CROSS JOIN observations AS here ON here.token = reached.token)
        ORDER BY id, place"""


def component(
    connection: sqlite3.Connection, tokens: Iterable[int], through: Collection[str] | None
) -> list[Observed]:
    """Return all observations reachable from tokens, through all namespaces or some."""
    if through is None:
        return rows.observed(connection.execute(_component(""), (_json(tokens),)))
    names = _encode(sorted(through)).decode()
    return rows.observed(connection.execute(_component(_LEADS_ON), (_json(tokens), names)))


def observations_named(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Observed]:
    """Return those of these observations that are known."""
    found: list[tuple[bytes, int, str, int, int]] = []
    for chunk in _chunks(sorted({name.encode() for name in ids})):
        found += connection.execute(_where_in("observations", rows.OBSERVATION, "id", len(chunk)), chunk)
    return rows.observed(sorted(found))


def states(connection: sqlite3.Connection, profiles: Iterable[int]) -> dict[int, State]:
    """Return the states of those profiles that have one."""
    query = """
        SELECT p.profile, p.state, p.due
        FROM json_each(?) AS asked CROSS JOIN profiles AS p ON p.profile = asked.value"""
    return {row[0]: State(*row) for row in connection.execute(query, (_json(profiles),)).fetchall()}


def profiles_after(connection: sqlite3.Connection, profile: int, limit: int) -> list[int]:
    """Return profiles that have a state, in order, after one."""
    query = "SELECT profile FROM profiles WHERE profile > ? ORDER BY profile LIMIT ?"
    return [found for (found,) in connection.execute(query, (profile, limit))]


_LOG = ", ".join(f"log.{name}" for name in rows.LOG.split(", "))


def events_of(
    connection: sqlite3.Connection, tokens: Iterable[int], since: int, until: int, limit: int
) -> list[Logged]:
    """Return the latest rows led by tokens, at `since` or later and before `until`."""
    query = f"""
        SELECT position, {_LOG} FROM json_each(?) AS asked
        CROSS JOIN log_tokens ON log_tokens MATCH printf('%x', asked.value)
        CROSS JOIN log ON position = log_tokens.rowid AND at >= ? AND at < ?
        ORDER BY at DESC, position DESC LIMIT ?"""
    found = connection.execute(query, (_json(tokens), since, until, limit)).fetchall()
    return [rows.logged(row) for row in reversed(found)]


def log_after(connection: sqlite3.Connection, position: int, limit: int) -> list[Logged]:
    """Return log rows after a position."""
    query = f"SELECT position, {rows.LOG} FROM log WHERE position > ? ORDER BY position LIMIT ?"
    return [rows.logged(row) for row in connection.execute(query, (position, limit))]


def log_ends(connection: sqlite3.Connection, limit: int) -> tuple[int, int] | None:
    """Return the first and the last position of the log's first rows."""
    query = "SELECT min(position), max(position) FROM (SELECT position FROM log ORDER BY position LIMIT ?)"
    first, last = connection.execute(query, (limit,)).fetchone()
    return None if first is None else (first, last)


def due(connection: sqlite3.Connection, until: int, limit: int) -> list[int]:
    """Return profiles whose `due` is at or before an instant."""
    query = "SELECT profile FROM profiles WHERE due <= ? ORDER BY due, profile LIMIT ?"
    return [profile for (profile,) in connection.execute(query, (until, limit))]


def members(connection: sqlite3.Connection, audience: str, after: int, limit: int) -> list[tuple[int, int]]:
    """Return (profile, since) of members after a profile."""
    query = "SELECT profile, since FROM members WHERE audience = ? AND profile > ? ORDER BY profile LIMIT ?"
    return connection.execute(query, (audience, after, limit)).fetchall()


def memberships(connection: sqlite3.Connection, profile: int) -> dict[str, int]:
    """Return audience → since."""
    query = "SELECT audience, since FROM members WHERE profile = ? ORDER BY audience"
    return dict(connection.execute(query, (profile,)).fetchall())


def changes_after(connection: sqlite3.Connection, position: int, limit: int) -> list[Change]:
    """Return changes after a position."""
    query = f"SELECT position, {rows.CHANGE} FROM changes WHERE position > ? ORDER BY position LIMIT ?"
    return [rows.changed(row) for row in connection.execute(query, (position, limit))]


def decision(connection: sqlite3.Connection, decision_id: bytes) -> Decided | None:
    """Return a logged decision."""
    row = connection.execute(f"SELECT {rows.DECISION} FROM decisions WHERE id = ?", (decision_id,)).fetchone()
    return rows.decided(row) if row else None


def decisions_before(connection: sqlite3.Connection, before: int, limit: int) -> list[Decided]:
    """Return the oldest decisions of before an instant."""
    query = f"SELECT {rows.DECISION} FROM decisions WHERE at < ? ORDER BY at, id LIMIT ?"
    return [rows.decided(row) for row in connection.execute(query, (before, limit))]


def decisions_after(
    connection: sqlite3.Connection, after: bytes, limit: int, profile: int | None
) -> list[Decided]:
    """Return decisions after an id, of one profile if it is given."""
    if profile is not None:
        return list(islice(_decisions_of(connection, profile, after), limit))
    query = f"SELECT {rows.DECISION} FROM decisions WHERE id > ? ORDER BY id LIMIT ?"
    return [rows.decided(row) for row in connection.execute(query, (after, limit))]


def _decisions_of(connection: sqlite3.Connection, profile: int, after: bytes) -> Iterator[Decided]:
    """Return decisions of one profile after an id; a number may be that of others too."""
    numbers = """
        SELECT rowid FROM decision_profiles
        WHERE decision_profiles MATCH printf('%x', ?) AND rowid >= ? ORDER BY rowid"""
    query = f"""
        SELECT {rows.DECISION} FROM decisions
        WHERE id > ? AND id >= ? AND id < ? AND profile = ? ORDER BY id"""
    for (number,) in connection.execute(numbers, (profile, rows.decision_number(after))):
        first, end = rows.numbered_from(number), rows.numbered_from(number + 1)
        yield from map(rows.decided, connection.execute(query, (after, first, end, profile)))


def responses(connection: sqlite3.Connection, decision_id: bytes) -> list[Answered]:
    """Return the responses to a decision."""
    query = f"SELECT {rows.RESPONSE} FROM responses WHERE decision = ? ORDER BY at, id"
    return [rows.answered(row) for row in connection.execute(query, (decision_id,))]


def responses_to(connection: sqlite3.Connection, decisions: Sequence[bytes]) -> list[Answered]:
    """Return the responses to any of some decisions."""
    found: list[Answered] = []
    for chunk in _chunks(sorted(set(decisions))):
        text = _where_in("responses", rows.RESPONSE, "decision", len(chunk))
        found += (rows.answered(row) for row in connection.execute(text, chunk))
    return found


def waiting(connection: sqlite3.Connection, until: int, limit: int) -> list[Waiting]:
    """Return what waits until an instant or shorter."""
    query = f"SELECT {rows.WAITING} FROM waiting WHERE ends <= ? ORDER BY ends, decision, action LIMIT ?"
    return [Waiting(*row) for row in connection.execute(query, (until, limit))]


def waits(connection: sqlite3.Connection, decision_id: bytes) -> set[str]:
    """Return the actions of a decision that wait."""
    query = "SELECT action FROM waiting WHERE decision = ?"
    return {action for (action,) in connection.execute(query, (decision_id,))}


_CONTACT = ", ".join(f"c.{name}" for name in rows.CONTACT.split(", "))
_CONTACTS_OF = f"""
    SELECT o.profile, {_CONTACT} FROM owners AS o
    CROSS JOIN contacts AS c ON c.token = o.token AND c.last >= ?2
    WHERE o.profile {{}} AND (o.place = 0 OR o.valid_from IS NULL OR o.valid_from <= c.at)
      AND (o.valid_to IS NULL OR o.valid_to > c.at)
    ORDER BY o.profile, c.at, c.id"""
_CONTACTS_OF_ONE = _CONTACTS_OF.format("= ?1")
_CONTACTS_OF_MANY = _CONTACTS_OF.format("IN (SELECT value FROM json_each(?1))")


def contacts_of(
    connection: sqlite3.Connection, profiles: Collection[int], since: int
) -> dict[int, list[Contacted]]:
    """Return contacts of the tokens that profiles own; of one profile at the least cost."""
    if len(profiles) == 1:
        return rows.contacts_by(connection.execute(_CONTACTS_OF_ONE, (*profiles, since)))
    return rows.contacts_by(connection.execute(_CONTACTS_OF_MANY, (_json(profiles), since)))


def contacts_under(
    connection: sqlite3.Connection, tokens: Collection[int], since: int
) -> dict[int, list[Contacted]]:
    """Return contacts asked for under tokens."""
    query = f"""
        SELECT c.token, {_CONTACT} FROM json_each(?) AS asked
        CROSS JOIN contacts AS c ON c.token = asked.value AND c.last >= ? ORDER BY c.token, c.at, c.id"""
    return rows.contacts_by(connection.execute(query, (_json(tokens), since)))


def contacts_named(connection: sqlite3.Connection, ids: Sequence[bytes]) -> dict[bytes, Contacted]:
    """Return those of these contacts that are known."""
    found: dict[bytes, Contacted] = {}
    for chunk in _chunks(ids):
        text = _where_in("contacts", rows.CONTACT, "id", len(chunk))
        found.update((row[0], rows.contacted(row)) for row in connection.execute(text, chunk))
    return found


def adaptive(connection: sqlite3.Connection) -> dict[str, bytes]:
    """Return all states of adaptive models."""
    return dict(connection.execute("SELECT name, state FROM adaptive ORDER BY name").fetchall())


def mark(connection: sqlite3.Connection, name: str) -> bytes | None:
    """Return a mark."""
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
    return bytes(row[0]) if row else None


def api_keys(connection: sqlite3.Connection) -> list[ApiKey]:
    """Return all API keys."""
    query = f"SELECT {rows.API_KEY} FROM api_keys ORDER BY created, id"
    return [rows.api_key(row) for row in connection.execute(query)]


def sizes(connection: sqlite3.Connection) -> dict[str, int]:
    """Return row counts; positions leave no gaps, and rows leave the log from its beginning."""
    query = """
        SELECT coalesce((SELECT max(position) FROM log) - (SELECT min(position) FROM log) + 1, 0),
               (SELECT value FROM counters WHERE name = 'profiles'),
               (SELECT value FROM counters WHERE name = 'changes')"""
    return dict(zip(("log", "profiles", "changes"), connection.execute(query).fetchone(), strict=True))
