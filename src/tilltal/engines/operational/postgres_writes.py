"""A transaction of a PostgreSQL store: what it locks, and one statement per table for a batch of rows.

Several processes write at once, so a transaction takes its locks in one order: profiles by number, then
table by table in order of keys, and last the counters of positions, which everybody needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from operator import itemgetter

from tilltal.core.errors import EngineError
from tilltal.core.operational import ApiKey, Decided, Owned, State, Writes
from tilltal.engines.operational import making, rows
from tilltal.engines.operational.postgres_faults import Connection, explained
from tilltal.engines.operational.postgres_reads import LAST, Questions

PORTION = 500  # rows of a table that one call removes
ADAPTIVE_LOCK = 0x7469_6C6C_7461_6C02
KEYS_LOCK = 0x7469_6C6C_7461_6C03
_MARKS_LOCK = 0x7469_6C6D  # of two numbers of 32 bits, which are apart from those of 64
_CONTACTS_LOCK = 0x7469_6C6E  # likewise
_CONTACT_LOCKS = 256  # tokens share so many: the server needs memory for each that is held

_LOCK = """
    SELECT profile, state, due FROM profiles WHERE profile = ANY($1::bigint[])
    ORDER BY profile FOR UPDATE"""
_DROP = """
    DELETE FROM log WHERE position <= (
      SELECT max(position) FROM (
        SELECT position FROM log WHERE position <= $1 ORDER BY position LIMIT $2) AS portion)"""
_FORGET = """
    DELETE FROM changes WHERE position <= $1 AND position < (
      SELECT coalesce(min(position) FILTER (WHERE at >= $2), max(position) + 1)
      FROM (SELECT position, at FROM changes ORDER BY position LIMIT $3) AS portion)"""
_TOKENS = "SELECT token, place FROM owners WHERE profile = ANY($1::bigint[]) ORDER BY token, place"
_FORGET_CONTACTS = """
    DELETE FROM contacts WHERE id IN (
      SELECT id FROM contacts WHERE at < $1 AND coalesce(last, at) < $1 ORDER BY at LIMIT $2)"""
_LEASE = """
    INSERT INTO leases VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ends = excluded.ends
    WHERE leases.owner = excluded.owner OR leases.ends <= clock_timestamp()"""
_TYPES = {
    "log": "bytea, bigint, bytea, text, text, text, bigint, bigint, bytea",
    "changes": "bigint, bigint, text, text, bytea",
    "seen": "bytea",
    "observations": "bytea, integer, text, bigint, bigint",
    "identities": "bigint, text, bytea",
    "owners": "bigint, integer, bigint, bigint, bigint, boolean",
    "profiles": "bigint, bytea, bigint",
    "members": "text, bigint, bigint",
    "decisions": "bytea, bigint, bigint, bytea",
    "responses": "bytea, bytea, text, text, text, bigint, bigint",
    "waiting": "bytea, text, bigint",
    "contacts": "bytea, bigint, bigint, bigint, bytea",
    "adaptive": "text, bytea",
    "marks": "text, bytea",
    "api_keys": "text, text, bytea, bytea, bigint, bigint, bigint",
}


@cache
def _unnest(table: str) -> str:
    kinds = _TYPES[table].split(", ")
    return f"unnest({', '.join(f'${place}::{kind}[]' for place, kind in enumerate(kinds, start=1))})"


@cache
def _numbered(table: str, columns: str) -> str:
    """Append rows at the next positions; the counter's row lock holds until the commit."""
    count = f"cardinality($1::{_TYPES[table].split(', ')[0]}[])"
    return f"""
        WITH taken AS (
          UPDATE counters SET value = value + {count} WHERE name = '{table}'
          RETURNING value - {count} AS last)
        INSERT INTO {table} (position, {columns})
        SELECT taken.last + item.place, {columns}
        FROM taken, {_unnest(table)} WITH ORDINALITY AS item ({columns}, place)"""


class Writing(Questions):
    """An open transaction on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = self._plain = connection
        self._owners: dict[int, tuple[Owned, ...]] = {}
        self._asked: set[int] = set()
        self._absent: set[int] = set()
        self._held: dict[int, list[Owned]] = {}

    async def _run(self, query: str, *args: object) -> int:
        """Run a statement; returns how many rows it touched."""
        with explained():
            tag = await self._connection.execute(query, *args)
        return int(tag.rpartition(" ")[2])

    async def _put(self, table: str, columns: str, items: Sequence[rows.Row], conflict: str = "") -> int:
        if not items:
            return 0
        query = f"INSERT INTO {table} ({columns}) SELECT * FROM {_unnest(table)} {conflict}"
        return await self._run(query, *map(list, zip(*items, strict=True)))

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        """Return each known token's spans; `lock_states` makes sure that they still hold."""
        asked = set(tokens)
        found = await super().owners(asked)
        self._asked |= asked
        self._owners.update(found)
        return found

    async def tokens_of(self, profile: int) -> list[Owned]:
        """Return every span that a profile owns; `lock_states` makes sure that they still are all."""
        found = self._held[profile] = await super().tokens_of(profile)
        return found

    async def lock_states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return states and keep them from others until the end.

        Raises:
            EngineError: E531 if meanwhile another process gave a token that was asked for to somebody else.
        """
        asked = sorted(set(profiles))
        found = {row[0]: State(*row) for row in await self._rows(_LOCK, asked)}
        self._absent.update(profile for profile in asked if profile not in found)
        await self._look_again()
        return found

    async def lock_contacts(self, profiles: Collection[int], tokens: Iterable[int]) -> None:
        """Keep others from locking contacts of profiles and tokens until the end; always in the same order.

        Raises:
            EngineError: E531 if meanwhile another process gave a token that was asked for to somebody else.
        """
        owned = await self._rows(_TOKENS, list(profiles))
        locks = sorted({token % _CONTACT_LOCKS for token in (*tokens, *(row[0] for row in owned))})
        query = "SELECT pg_advisory_xact_lock($1, number) FROM unnest($2::integer[]) AS number"
        await self._rows(query, _CONTACTS_LOCK, locks)
        await self._look_again()
        if await self._rows(_TOKENS, list(profiles)) != owned:
            raise _overtaken("a profile gained or lost a token")

    async def _look_again(self) -> None:
        """Make sure that nobody changed whose a token is after it was asked here."""
        if self._asked and await super().owners(self._asked) != self._owners:
            raise _overtaken("a token changed hands")
        for profile, held in self._held.items():
            if await super().tokens_of(profile) != held:
                raise _overtaken("a profile gained or lost a token")

    async def adaptive(self) -> dict[str, bytes]:
        """Return all states of adaptive models, and keep other transactions from learning until the end."""
        await self._rows("SELECT pg_advisory_xact_lock($1)", ADAPTIVE_LOCK)
        return await super().adaptive()

    async def lock_mark(self, name: str) -> bytes | None:
        """Return a mark, and keep other transactions from locking it until the end."""
        await self._rows("SELECT pg_advisory_xact_lock($1, hashtext($2))", _MARKS_LOCK, name)
        return await super().mark(name)

    async def api_keys(self) -> list[ApiKey]:
        """Return all API keys, and keep other transactions from doing the same until the end."""
        await self._rows("SELECT pg_advisory_xact_lock($1)", KEYS_LOCK)
        return await super().api_keys()

    async def write(self, writes: Writes) -> None:
        """Write everything of a batch, the rows with positions last."""
        await self._put_identities(writes)
        await self._put_profiles(writes)
        await self._put_answers(writes)
        await self._put_new("seen", "event_id", rows.seen_rows(writes))
        await self._append("changes", rows.CHANGE, [rows.change_row(item) for item in writes.changes])
        await self._append("log", rows.LOG, [rows.log_row(item) for item in writes.log])

    async def _put_identities(self, writes: Writes) -> None:
        found = rows.observation_rows(writes.observations)
        await self._put("observations", rows.OBSERVATION, found, "ON CONFLICT DO NOTHING")
        named = rows.identity_rows(writes.identities)
        await self._put("identities", rows.IDENTITY, named, "ON CONFLICT DO NOTHING")
        known = [token for token in writes.owners if token not in self._asked or token in self._owners]
        await self._remove("owners", "token", known)
        await self._put("owners", rows.OWNER, rows.owner_rows(writes.owners))
        self._asked |= writes.owners.keys()
        self._owners.update(writes.owners)
        if writes.owners:  # who changes owners has made sure of them before, and holds what they depend on
            self._held.clear()

    async def _put_profiles(self, writes: Writes) -> None:
        await self._remove("profiles", "profile", writes.gone)
        await self._remove("members", "profile", writes.gone)
        await self._put_states({state.profile: state for state in writes.states})
        entered, left = rows.last_memberships(writes.members)
        conflict = "ON CONFLICT (audience, profile) DO UPDATE SET since = excluded.since"
        await self._put("members", "audience, profile, since", entered, conflict)
        if left:
            query = """
                DELETE FROM members USING unnest($1::text[], $2::bigint[]) AS gone (audience, profile)
                WHERE members.audience = gone.audience AND members.profile = gone.profile"""
            await self._run(query, *map(list, zip(*left, strict=True)))

    async def _put_states(self, last: dict[int, State]) -> None:
        """Write states; one that was absent when it was locked must still be absent."""
        items = [(profile, last[profile].data, last[profile].due) for profile in sorted(last)]
        fresh = [item for item in items if item[0] in self._absent]
        kept = [item for item in items if item[0] not in self._absent]
        conflict = "ON CONFLICT (profile) DO UPDATE SET state = excluded.state, due = excluded.due"
        await self._put("profiles", "profile, state, due", kept, conflict)
        await self._put_new("profiles", "profile, state, due", fresh)
        self._absent.difference_update(last)

    async def _put_answers(self, writes: Writes) -> None:
        decisions = sorted(map(rows.decision_row, writes.decisions), key=itemgetter(0))
        await self._put("decisions", rows.DECISION, decisions, "ON CONFLICT DO NOTHING")
        await self._put_new(
            "responses", rows.RESPONSE, [rows.response_row(item) for item in writes.responses]
        )
        await self._put_waiting(writes)
        conflict = "ON CONFLICT (id) DO UPDATE SET last = excluded.last, body = excluded.body"
        await self._put("contacts", rows.CONTACT, rows.contact_rows(writes.contacts), conflict)
        conflict = "ON CONFLICT (name) DO UPDATE SET state = excluded.state"
        await self._put("adaptive", "name, state", sorted(writes.adaptive.items()), conflict)
        conflict = "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self._put("marks", "name, value", sorted(writes.marks.items()), conflict)

    async def _put_waiting(self, writes: Writes) -> None:
        waits, over = rows.last_waiting(writes.waiting)
        conflict = "ON CONFLICT (decision, action) DO UPDATE SET ends = excluded.ends"
        await self._put("waiting", rows.WAITING, waits, conflict)
        if over:
            query = """
                DELETE FROM waiting USING unnest($1::bytea[], $2::text[]) AS over (decision, action)
                WHERE waiting.decision = over.decision AND waiting.action = over.action"""
            await self._run(query, *map(list, zip(*over, strict=True)))

    async def _put_new(self, table: str, columns: str, items: Sequence[rows.Row]) -> None:
        """Insert rows that nobody may have inserted before."""
        ordered = sorted(items, key=itemgetter(0))
        if await self._put(table, columns, ordered, "ON CONFLICT DO NOTHING") != len(items):
            raise _overtaken(f"a row of {table} is there already")

    async def _append(self, table: str, columns: str, items: Sequence[rows.Row]) -> None:
        if items:
            await self._run(_numbered(table, columns), *map(list, zip(*items, strict=True)))

    async def _remove(self, table: str, column: str, keys: Collection[int]) -> None:
        if keys:
            await self._run(f"DELETE FROM {table} WHERE {column} = ANY($1::bigint[])", sorted(keys))

    async def put_api_key(self, key: ApiKey) -> None:
        """Add or replace an API key."""
        columns = rows.API_KEY.split(", ")[1:]
        conflict = (
            f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns)}"
        )
        await self._put("api_keys", rows.API_KEY, [rows.api_key_row(key)], conflict)

    async def hold_customers(self) -> None:
        """Keep everybody else from owners and states until the end."""
        with explained():
            await self._plain.execute(making.HOLD_POSTGRES)

    async def swap(self) -> None:
        """Put what is in the making into use."""
        with explained():
            for statement in making.SWAP_POSTGRES:
                await self._plain.execute(statement)

    async def former(self, profiles: Iterable[int]) -> dict[int, bytes]:
        """Return states of before the last swap."""
        found = await Questions(making.NextStatements(self._plain)).states(profiles)
        return {state.profile: state.data for state in found.values()}

    async def clear(self) -> int:
        """Remove what is in the making, all at once; 0 once nothing is left."""
        with explained():
            ((is_left,),) = await self._plain.fetch(making.LEFT_POSTGRES)
            if is_left:
                await self._plain.execute(making.CLEAR_POSTGRES)
        return int(is_left)

    async def drop_log(self, until: int) -> int:
        """Remove the first log rows up to a position, at most PORTION; returns how many."""
        return await self._run(_DROP, until, PORTION)

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take some work for a while; True unless another owner holds it."""
        return await self._run(_LEASE, name, owner, seconds) == 1

    async def decision(self, decision_id: bytes) -> Decided | None:
        """Return a logged decision; whoever locks it waits until the end."""
        query = f"SELECT {rows.DECISION} FROM decisions WHERE id = $1 FOR KEY SHARE"
        found = await self._rows(query, decision_id)
        return rows.decided(found[0]) if found else None

    async def lock_decisions(self, ids: Sequence[bytes]) -> None:
        """Let nobody else who reads one of these decisions in a transaction pass until the end."""
        await self._rows("SELECT id FROM decisions WHERE id = ANY($1::bytea[]) ORDER BY id FOR UPDATE", ids)

    async def drop_decisions(self, ids: Sequence[bytes]) -> None:
        """Remove decisions with all that came of them."""
        for table, column in (("responses", "decision"), ("waiting", "decision"), ("decisions", "id")):
            await self._run(f"DELETE FROM {table} WHERE {column} = ANY($1::bytea[])", ids)

    async def forget(self, changes: int, *, told: int | None = None, contacts: int | None = None) -> int:
        """Remove the oldest changes and contacts, at most PORTION of each."""
        gone = 0
        if contacts is not None:
            gone += await self._run(_FORGET_CONTACTS, contacts, PORTION)
        return gone + await self._run(_FORGET, LAST if told is None else told, changes, PORTION)


class WritingNext(Writing):
    """The same over what is in the making."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(making.NextConnection(connection))
        self._plain = connection

    async def write(self, writes: Writes) -> None:
        """Write what concerns customers in the making."""
        await super().write(making.alone(writes))


def _overtaken(what: str) -> EngineError:
    text = f"The operational store was written at the same time by another process: {what}."
    return EngineError.of("E531", text, hint="Try again.")
