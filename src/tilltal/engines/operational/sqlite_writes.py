"""What a transaction of a SQLite store writes: each a function of the writing connection.

Rows go in by the hundred in one statement. One statement is one step, and between steps another thread of
Python may keep the interpreter: row by row, a batch takes several times as long in a busy server.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Sequence
from functools import cache
from itertools import chain

from tilltal.core.errors import EngineError
from tilltal.core.operational import ApiKey, State, Writes
from tilltal.engines.operational import rows, sqlite_reads

PORTION = 500  # rows of a table that one call removes: a few milliseconds
_MOST, _STEP = 256, 16  # rows of one statement: a few lengths, so that SQLite prepares each text once
_TOKENS = "SELECT position, printf('%x', token) FROM log WHERE position"
_WORD = 2**64 - 1  # as SQLite prints a number in hexadecimal digits
_FORGET = """
    DELETE FROM changes WHERE position <= ? AND position < (
      SELECT coalesce(min(position) FILTER (WHERE at >= ?), max(position) + 1)
      FROM (SELECT position, at FROM changes ORDER BY position LIMIT ?))"""

_FORGET_CONTACTS = """
    DELETE FROM contacts WHERE id IN (
      SELECT id FROM contacts WHERE at < ?1 AND coalesce(last, at) < ?1 ORDER BY at LIMIT ?2)"""


@cache
def _values(head: str, width: int, count: int, tail: str) -> str:
    row = f"({','.join('?' * width)})"
    return f"{head} VALUES {','.join([row] * count)} {tail}"


def put(connection: sqlite3.Connection, head: str, items: Sequence[rows.Row], tail: str = "") -> int:
    """Insert rows: `head` VALUES ... `tail`; returns how many rows were inserted or changed."""
    done = begin = 0
    while left := len(items) - begin:
        length = min(left - left % _STEP or left, _MOST)
        chunk = items[begin : begin + length]
        text = _values(head, len(chunk[0]), length, tail)
        done += connection.execute(text, list(chain.from_iterable(chunk))).rowcount
        begin += length
    return done


def write(
    connection: sqlite3.Connection,
    writes: Writes,
    known_due: dict[int, int | None],
    unsure: Sequence[bytes] = (),
) -> None:
    """Write everything of a batch.

    Args:
        connection: in a transaction.
        writes: what is written.
        known_due: what states read in this transaction were due.
        unsure: those ids of messages that may have been accepted before, though none should be.

    Raises:
        EngineError: E531 if a message was accepted before.
    """
    seen = rows.all_seen(writes)
    if len(set(seen)) < len(seen) or sqlite_reads.known_ids(connection, unsure):
        raise EngineError.of("E531", "A message was accepted at the same time.", hint="Try again.")
    _put_identities(connection, writes)
    _put_profiles(connection, writes, known_due)
    _put_answers(connection, writes)
    changes = _numbered(connection, "changes", [rows.change_row(change) for change in writes.changes])
    put(connection, f"INSERT INTO changes (position, {rows.CHANGE})", changes)
    terms = [(event_id.hex(),) for event_id in seen]
    _list(connection, "seen_ids", "id", _numbered(connection, "seen", terms))
    _log(connection, [rows.log_row(item) for item in writes.log])


def _log(connection: sqlite3.Connection, items: Sequence[rows.Row]) -> None:
    if items:
        numbered = _numbered(connection, "log", items)
        put(connection, f"INSERT INTO log (position, {rows.LOG})", numbered)
        connection.execute(f"INSERT INTO log_tokens (rowid, token) {_TOKENS} >= ?", numbered[0][:1])
        _merge(connection, "log_tokens", len(items))


def _list(connection: sqlite3.Connection, table: str, column: str, items: Sequence[rows.Row]) -> None:
    """Put numbers and their terms into a table of FTS5."""
    if items:
        put(connection, f"INSERT INTO {table} (rowid, {column})", items)
        _merge(connection, table, len(items))


def _merge(connection: sqlite3.Connection, table: str, count: int) -> None:
    """Merge segments of a table of FTS5, about as much as that many more terms make due.

    Left to itself FTS5 merges nothing for a while, and then tens of milliseconds within one commit.
    """
    connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (8 + count // 8,))


def _numbered(connection: sqlite3.Connection, counter: str, items: Sequence[rows.Row]) -> list[rows.Row]:
    """Put its number before each row, the next of a counter."""
    if not items:
        return []
    (last,) = connection.execute("SELECT value FROM counters WHERE name = ?", (counter,)).fetchone()
    connection.execute("UPDATE counters SET value = ? WHERE name = ?", (last + len(items), counter))
    return [(number, *item) for number, item in enumerate(items, start=last + 1)]


def _put_identities(connection: sqlite3.Connection, writes: Writes) -> None:
    found = rows.observation_rows(writes.observations)
    put(connection, f"INSERT INTO observations ({rows.OBSERVATION})", found, "ON CONFLICT DO NOTHING")
    named = rows.identity_rows(writes.identities)
    put(connection, f"INSERT INTO identities ({rows.IDENTITY})", named, "ON CONFLICT DO NOTHING")
    _remove(connection, "owners", "token", writes.owners)
    put(connection, f"INSERT INTO owners ({rows.OWNER})", rows.owner_rows(writes.owners))


def _put_profiles(connection: sqlite3.Connection, writes: Writes, known_due: dict[int, int | None]) -> None:
    _remove(connection, "profiles", "profile", writes.gone)
    _remove(connection, "members", "profile", writes.gone)
    for profile in writes.gone:
        known_due.pop(profile, None)
    _put_states(connection, {state.profile: state for state in writes.states}, known_due)
    entered, left = rows.last_memberships(writes.members)
    tail = "ON CONFLICT DO UPDATE SET since = excluded.since"
    put(connection, "INSERT INTO members (audience, profile, since)", entered, tail)
    connection.executemany("DELETE FROM members WHERE audience = ? AND profile = ?", left)


def _put_states(
    connection: sqlite3.Connection, last: dict[int, State], known_due: dict[int, int | None]
) -> None:
    """Leave the index of `due` alone where it stays: SQLite rewrites an entry even if it is the same."""
    states = [last[profile] for profile in sorted(last)]
    kept = [state for state in states if known_due.get(state.profile, -1) == state.due]
    moved = [state for state in states if known_due.get(state.profile, -1) != state.due]
    head = "INSERT INTO profiles (profile, state, due)"
    tail = "ON CONFLICT DO UPDATE SET state = excluded.state"
    put(connection, head, [(state.profile, state.data, state.due) for state in kept], tail)
    tail = "ON CONFLICT DO UPDATE SET state = excluded.state, due = excluded.due"
    put(connection, head, [(state.profile, state.data, state.due) for state in moved], tail)
    known_due.update((state.profile, state.due) for state in moved)


def _put_answers(connection: sqlite3.Connection, writes: Writes) -> None:
    decisions = [rows.decision_row(item) for item in writes.decisions]
    put(connection, f"INSERT INTO decisions ({rows.DECISION})", decisions, "ON CONFLICT DO NOTHING")
    terms = [(rows.decision_number(one.id), one.profile) for one in writes.decisions]
    found = sorted((number, f"{of & _WORD:x}") for number, of in terms if of is not None)
    _list(connection, "decision_profiles", "profile", found)
    responses = [rows.response_row(item) for item in writes.responses]
    put(connection, f"INSERT INTO responses ({rows.RESPONSE})", responses)
    waits, over = rows.last_waiting(writes.waiting)
    put(connection, f"INSERT OR REPLACE INTO waiting ({rows.WAITING})", waits)
    connection.executemany("DELETE FROM waiting WHERE decision = ? AND action = ?", over)
    contacts = rows.contact_rows(writes.contacts)
    put(connection, f"INSERT OR REPLACE INTO contacts ({rows.CONTACT})", contacts)
    put(connection, "INSERT OR REPLACE INTO adaptive (name, state)", list(writes.adaptive.items()))
    put(connection, "INSERT OR REPLACE INTO marks (name, value)", list(writes.marks.items()))


def _remove(connection: sqlite3.Connection, table: str, column: str, keys: Collection[int]) -> None:
    connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(key,) for key in sorted(keys)])


def put_api_key(connection: sqlite3.Connection, key: ApiKey) -> None:
    """Add or replace an API key."""
    put(connection, f"INSERT OR REPLACE INTO api_keys ({rows.API_KEY})", [rows.api_key_row(key)])


def drop_log(connection: sqlite3.Connection, until: int) -> int:
    """Remove the first log rows up to a position, at most PORTION; returns how many."""
    query = (
        "SELECT max(position) FROM (SELECT position FROM log WHERE position <= ? ORDER BY position LIMIT ?)"
    )
    last = connection.execute(query, (until, PORTION)).fetchone()
    unlist = "INSERT INTO log_tokens (log_tokens, rowid, token)"
    connection.execute(f"{unlist} SELECT 'delete', * FROM ({_TOKENS} <= ?)", last)
    count = connection.execute("DELETE FROM log WHERE position <= ?", last).rowcount
    _merge(connection, "log_tokens", count)
    return count


def lease(connection: sqlite3.Connection, name: str, owner: str, seconds: float) -> bool:
    """Take some work for a while; True unless another owner holds it."""
    now = time.time_ns() // 1000
    query = """
        INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT DO UPDATE
        SET owner = excluded.owner, ends = excluded.ends
        WHERE leases.owner = excluded.owner OR leases.ends <= ?"""
    return connection.execute(query, (name, owner, now + round(seconds * 1e6), now)).rowcount == 1


def drop_decisions(connection: sqlite3.Connection, ids: Sequence[bytes]) -> None:
    """Remove decisions with all that came of them."""
    unlist = """
        INSERT INTO decision_profiles (decision_profiles, rowid, profile)
        SELECT 'delete', decision_number(id), printf('%x', profile) FROM decisions
        WHERE id = ? AND profile IS NOT NULL"""
    tables = (("responses", "decision"), ("waiting", "decision"), ("decisions", "id"))
    for query in (unlist, *(f"DELETE FROM {table} WHERE {column} = ?" for table, column in tables)):
        connection.executemany(query, [(one,) for one in ids])
    _merge(connection, "decision_profiles", len(ids))


def forget(connection: sqlite3.Connection, changes: int, told: int, contacts: int | None) -> int:
    """Remove the oldest changes and contacts, at most PORTION of each."""
    gone = 0
    if contacts is not None:
        gone += connection.execute(_FORGET_CONTACTS, (contacts, PORTION)).rowcount
    return gone + connection.execute(_FORGET, (told, changes, PORTION)).rowcount


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run several statements inside the open transaction (`executescript` would commit it)."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
