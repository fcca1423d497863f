"""Questions to a PostgreSQL store: the reading half of the port, over whatever runs statements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

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
from tilltal.engines.operational.postgres_faults import Statements, explained

FIRST, LAST = -(2**63), 2**63 - 1

_COMPONENT = f"""
    WITH RECURSIVE reached (token) AS (
      SELECT unnest($1::bigint[])
      UNION
      SELECT there.token FROM reached
      JOIN observations AS here ON here.token = reached.token
      JOIN observations AS there ON there.id = here.id
      WHERE $2::text[] IS NULL OR (there.namespace = ANY($2) AND NOT EXISTS (
        SELECT 1 FROM owners WHERE owners.token = there.token AND place = 0
        AND profile IS NULL AND is_plain)))
    SELECT {rows.OBSERVATION} FROM observations WHERE id IN (
      SELECT here.id FROM reached JOIN observations AS here ON here.token = reached.token)
    ORDER BY id, place"""
_WHOSE = """
    SELECT o.profile, p.state, p.due
    FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (token, rank)
    CROSS JOIN LATERAL (
      SELECT owners.profile FROM owners
      WHERE owners.token = asked.token AND (place = 0 OR valid_from IS NULL OR valid_from <= $2)
      ORDER BY place DESC LIMIT 1) AS o
    LEFT JOIN profiles AS p ON p.profile = o.profile
    WHERE o.profile IS NOT NULL ORDER BY asked.rank LIMIT 1"""
_CONTACT = ", ".join(f"c.{name}" for name in rows.CONTACT.split(", "))
_CONTACTS_OF = f"""
    SELECT o.profile, {_CONTACT} FROM owners AS o JOIN contacts AS c ON c.token = o.token AND c.last >= $2
    WHERE o.profile = ANY($1::bigint[]) AND (o.place = 0 OR o.valid_from IS NULL OR o.valid_from <= c.at)
      AND (o.valid_to IS NULL OR o.valid_to > c.at)
    ORDER BY o.profile, c.at, c.id"""
_CONTACTS_UNDER = f"""
    SELECT c.token, {_CONTACT} FROM contacts AS c WHERE c.token = ANY($1::bigint[]) AND c.last >= $2
    ORDER BY c.token, c.at, c.id"""
_EVENTS = f"""
    SELECT position, {rows.LOG} FROM log WHERE token = ANY($1::bigint[]) AND at >= $2 AND at < $3
    ORDER BY at DESC, position DESC LIMIT $4"""
_SIZES = """
    SELECT coalesce((SELECT max(position) FROM log) - (SELECT min(position) FROM log) + 1, 0),
           (SELECT value FROM counters WHERE name = 'changes'),
           (SELECT reltuples::bigint FROM pg_class WHERE oid = 'profiles'::regclass)"""


class Questions:
    """The reading half of the port."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def _rows(self, query: str, *args: object) -> list[rows.Row]:
        with explained():
            return await self._statements.fetch(query, *args)

    async def known_ids(self, event_ids: Sequence[bytes]) -> set[bytes]:
        """Return which message ids were accepted before."""
        query = "SELECT event_id FROM seen WHERE event_id = ANY($1::bytea[])"
        return {row[0] for row in await self._rows(query, event_ids)}

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        """Return each known token's spans."""
        query = f"SELECT {rows.OWNER} FROM owners WHERE token = ANY($1::bigint[]) ORDER BY token, place"
        return rows.spans(await self._rows(query, list(tokens)))

    async def whose(self, tokens: Sequence[int], at: int) -> tuple[int | None, State | None]:
        """Return who owns the first of these tokens that is somebody's, and the state."""
        for row in await self._rows(_WHOSE, list(tokens), at):
            return row[0], None if row[1] is None else State(*row)
        return None, None

    async def tokens_of(self, profile: int) -> list[Owned]:
        """Return every span that a profile owns."""
        query = f"SELECT {rows.OWNER} FROM owners WHERE profile = $1 ORDER BY token, place"
        return [rows.owned(row) for row in await self._rows(query, profile)]

    async def identities(self, tokens: Iterable[int]) -> dict[int, Identified]:
        """Return what is known of tokens."""
        query = f"SELECT {rows.IDENTITY} FROM identities WHERE token = ANY($1::bigint[])"
        return rows.identified(await self._rows(query, list(tokens)))

    async def component(
        self, tokens: Iterable[int], through: Collection[str] | None = None
    ) -> list[Observed]:
        """Return all observations reachable from tokens."""
        names = None if through is None else list(through)
        return rows.observed(await self._rows(_COMPONENT, list(tokens), names))

    async def observations_named(self, ids: Sequence[str]) -> list[Observed]:
        """Return those of these observations that are known."""
        query = f"SELECT {rows.OBSERVATION} FROM observations WHERE id = ANY($1::bytea[]) ORDER BY id, place"
        return rows.observed(await self._rows(query, [name.encode() for name in ids]))

    async def states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return the states of those profiles that have one."""
        query = "SELECT profile, state, due FROM profiles WHERE profile = ANY($1::bigint[])"
        return {row[0]: State(*row) for row in await self._rows(query, list(profiles))}

    async def profiles_after(self, profile: int | None, limit: int) -> list[int]:
        """Return profiles that have a state."""
        query = "SELECT profile FROM profiles WHERE profile > $1 ORDER BY profile LIMIT $2"
        return [row[0] for row in await self._rows(query, FIRST if profile is None else profile, limit)]

    async def events_of(
        self,
        tokens: Iterable[int],
        *,
        since: int | None = None,
        until: int | None = None,
        limit: int = 1_000_000,
    ) -> list[Logged]:
        """Return the latest log rows led by tokens."""
        begin, end = FIRST if since is None else since, LAST if until is None else until
        found = await self._rows(_EVENTS, list(tokens), begin, end, limit)
        return [rows.logged(row) for row in reversed(found)]

    async def log_after(self, position: int, limit: int) -> list[Logged]:
        """Return log rows after a position."""
        query = f"SELECT position, {rows.LOG} FROM log WHERE position > $1 ORDER BY position LIMIT $2"
        return [rows.logged(row) for row in await self._rows(query, position, limit)]

    async def log_ends(self, limit: int) -> tuple[int, int] | None:
        """Return the positions of the log's first rows."""
        query = """
            SELECT min(position), max(position)
            FROM (SELECT position FROM log ORDER BY position LIMIT $1) AS portion"""
        ((first, last),) = await self._rows(query, limit)
        return None if first is None else (first, last)

    async def due(self, until: int, limit: int) -> list[int]:
        """Return profiles that are due."""
        query = "SELECT profile FROM profiles WHERE due <= $1 ORDER BY due, profile LIMIT $2"
        return [row[0] for row in await self._rows(query, until, limit)]

    async def members(
        self, audience: str, *, after: int | None = None, limit: int = 1000
    ) -> list[tuple[int, int]]:
        """Return an audience's members."""
        query = """
            SELECT profile, since FROM members WHERE audience = $1 AND profile > $2
            ORDER BY profile LIMIT $3"""
        found = await self._rows(query, audience, FIRST if after is None else after, limit)
        return [(profile, since) for profile, since in found]

    async def memberships(self, profile: int) -> dict[str, int]:
        """Return a profile's audiences."""
        query = "SELECT audience, since FROM members WHERE profile = $1 ORDER BY audience"
        return {row[0]: row[1] for row in await self._rows(query, profile)}

    async def changes_after(self, position: int, limit: int) -> list[Change]:
        """Return changes after a position."""
        query = f"SELECT position, {rows.CHANGE} FROM changes WHERE position > $1 ORDER BY position LIMIT $2"
        return [rows.changed(row) for row in await self._rows(query, position, limit)]

    async def decision(self, decision_id: bytes) -> Decided | None:
        """Return a logged decision."""
        found = await self._rows(f"SELECT {rows.DECISION} FROM decisions WHERE id = $1", decision_id)
        return rows.decided(found[0]) if found else None

    async def decisions_before(self, before: int, limit: int) -> list[Decided]:
        """Return the oldest decisions of before an instant."""
        query = f"SELECT {rows.DECISION} FROM decisions WHERE at < $1 ORDER BY at, id LIMIT $2"
        return [rows.decided(row) for row in await self._rows(query, before, limit)]

    async def decisions_after(self, after: bytes, limit: int, profile: int | None = None) -> list[Decided]:
        """Return decisions after an id."""
        of, given = (
            ("", (after, limit)) if profile is None else ("profile = $3 AND ", (after, limit, profile))
        )
        query = f"SELECT {rows.DECISION} FROM decisions WHERE {of}id > $1 ORDER BY id LIMIT $2"
        return [rows.decided(row) for row in await self._rows(query, *given)]

    async def responses(self, decision_id: bytes) -> list[Answered]:
        """Return the responses to a decision."""
        query = f"SELECT {rows.RESPONSE} FROM responses WHERE decision = $1 ORDER BY at, id"
        return [rows.answered(row) for row in await self._rows(query, decision_id)]

    async def responses_to(self, decisions: Sequence[bytes]) -> list[Answered]:
        """Return the responses to any of these decisions."""
        query = f"SELECT {rows.RESPONSE} FROM responses WHERE decision = ANY($1::bytea[])"
        return [rows.answered(row) for row in await self._rows(query, list(decisions))]

    async def known_responses(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which response ids were accepted before."""
        query = "SELECT id FROM responses WHERE id = ANY($1::bytea[])"
        return {row[0] for row in await self._rows(query, ids)}

    async def waiting(self, until: int, limit: int) -> list[Waiting]:
        """Return what waits until an instant or shorter."""
        query = f"""
            SELECT {rows.WAITING} FROM waiting WHERE ends <= $1
            ORDER BY ends, decision, action COLLATE "C" LIMIT $2"""
        return [Waiting(*row) for row in await self._rows(query, until, limit)]

    async def waits(self, decision_id: bytes) -> set[str]:
        """Return the actions of a decision that wait."""
        found = await self._rows("SELECT action FROM waiting WHERE decision = $1", decision_id)
        return {row[0] for row in found}

    async def contacts_of(self, profiles: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return contacts of the tokens that profiles own."""
        return rows.contacts_by(await self._rows(_CONTACTS_OF, list(profiles), since))

    async def contacts_under(self, tokens: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return contacts asked for under tokens."""
        return rows.contacts_by(await self._rows(_CONTACTS_UNDER, list(tokens), since))

    async def contacts_named(self, ids: Sequence[bytes]) -> dict[bytes, Contacted]:
        """Return those of these contacts that are known."""
        query = f"SELECT {rows.CONTACT} FROM contacts WHERE id = ANY($1::bytea[])"
        return {row[0]: rows.contacted(row) for row in await self._rows(query, list(ids))}

    async def adaptive(self) -> dict[str, bytes]:
        """Return all states of adaptive models."""
        return {row[0]: row[1] for row in await self._rows("SELECT name, state FROM adaptive")}

    async def mark(self, name: str) -> bytes | None:
        """Return a mark."""
        found = await self._rows("SELECT value FROM marks WHERE name = $1", name)
        return found[0][0] if found else None

    async def api_keys(self) -> list[ApiKey]:
        """Return all API keys."""
        query = f"SELECT {rows.API_KEY} FROM api_keys ORDER BY created, id"
        return [rows.api_key(row) for row in await self._rows(query)]

    async def sizes(self) -> Mapping[str, int]:
        """Return row counts; profiles as PostgreSQL estimates them, counted while it has no estimate."""
        ((log, changes, profiles),) = await self._rows(_SIZES)
        if profiles < 0:
            ((profiles,),) = await self._rows("SELECT count(*) FROM profiles")
        return {"log": log, "profiles": profiles, "changes": changes}
