"""Questions to a SQLite store: the reading half of the port, over whatever reaches a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

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
from tilltal.engines.operational import sqlite_reads

FEW = 8  # keys that are looked up at once; more go to a reader's thread
_SHORT = 32  # rows of an answer that is given at once
FIRST, LAST = -(2**63), 2**63 - 1


Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Question = Callable[Concatenate[sqlite3.Connection, Given], Answer]


class Questions:
    """The reading half of the port; how a question reaches a connection is the subclass's."""

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        raise TypeError("a store or a transaction asks")

    async def _look(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Ask something that takes some 20 µs."""
        return await self._ask(question, *args, **kwargs)

    async def _look_up(
        self, question: Callable[[sqlite3.Connection, Collection[int]], Answer], keys: Iterable[int]
    ) -> Answer:
        """Ask about keys."""
        asked = set(keys)
        return await (self._look if len(asked) <= FEW else self._ask)(question, asked)

    async def known_ids(self, event_ids: Sequence[bytes]) -> set[bytes]:
        """Return which message ids were accepted before."""
        return await self._ask(sqlite_reads.known_ids, event_ids)

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        """Return each known token's spans."""
        return await self._look_up(sqlite_reads.owners, tokens)

    async def whose(self, tokens: Sequence[int], at: int) -> tuple[int | None, State | None]:
        """Return who owns the first of these tokens that is somebody's, and the state."""
        found = await self._look(sqlite_reads.whose, tokens, at)
        return found.profile, found.state

    async def tokens_of(self, profile: int) -> list[Owned]:
        """Return every span that a profile owns."""
        spans = await self._look(sqlite_reads.tokens_of, profile, _SHORT)
        return spans if len(spans) < _SHORT else await self._ask(sqlite_reads.tokens_of, profile, LAST)

    async def identities(self, tokens: Iterable[int]) -> dict[int, Identified]:
        """Return what is known of tokens."""
        return await self._look_up(sqlite_reads.identities, tokens)

    async def component(
        self, tokens: Iterable[int], through: Collection[str] | None = None
    ) -> list[Observed]:
        """Return all observations reachable from tokens."""
        return await self._ask(sqlite_reads.component, tokens, through)

    async def observations_named(self, ids: Sequence[str]) -> list[Observed]:
        """Return those of these observations that are known."""
        return await (self._look if len(ids) <= FEW else self._ask)(sqlite_reads.observations_named, ids)

    async def states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return the states of those profiles that have one."""
        return await self._look_up(sqlite_reads.states, profiles)

    async def profiles_after(self, profile: int | None, limit: int) -> list[int]:
        """Return profiles that have a state."""
        return await self._ask(sqlite_reads.profiles_after, FIRST if profile is None else profile, limit)

    async def events_of(
        self,
        tokens: Iterable[int],
        *,
        since: int | None = None,
        until: int | None = None,
        limit: int = 1_000_000,
    ) -> list[Logged]:
        """Return the latest log rows led by tokens."""
        first, last = FIRST if since is None else since, LAST if until is None else until
        return await self._ask(sqlite_reads.events_of, tokens, first, last, limit)

    async def log_after(self, position: int, limit: int) -> list[Logged]:
        """Return log rows after a position."""
        return await self._ask(sqlite_reads.log_after, position, limit)

    async def log_ends(self, limit: int) -> tuple[int, int] | None:
        """Return the positions of the log's first rows."""
        return await self._ask(sqlite_reads.log_ends, limit)

    async def due(self, until: int, limit: int) -> list[int]:
        """Return profiles that are due."""
        return await self._ask(sqlite_reads.due, until, limit)

    async def members(
        self, audience: str, *, after: int | None = None, limit: int = 1000
    ) -> list[tuple[int, int]]:
        """Return an audience's members."""
        first = FIRST if after is None else after
        return await self._ask(sqlite_reads.members, audience, first, limit)

    async def memberships(self, profile: int) -> dict[str, int]:
        """Return a profile's audiences."""
        return await self._look(sqlite_reads.memberships, profile)

    async def changes_after(self, position: int, limit: int) -> list[Change]:
        """Return changes after a position."""
        return await self._ask(sqlite_reads.changes_after, position, limit)

    async def decision(self, decision_id: bytes) -> Decided | None:
        """Return a logged decision."""
        return await self._look(sqlite_reads.decision, decision_id)

    async def decisions_before(self, before: int, limit: int) -> list[Decided]:
        """Return the oldest decisions of before an instant."""
        return await self._ask(sqlite_reads.decisions_before, before, limit)

    async def decisions_after(self, after: bytes, limit: int, profile: int | None = None) -> list[Decided]:
        """Return decisions after an id."""
        return await self._ask(sqlite_reads.decisions_after, after, limit, profile)

    async def responses(self, decision_id: bytes) -> list[Answered]:
        """Return the responses to a decision."""
        return await self._ask(sqlite_reads.responses, decision_id)

    async def responses_to(self, decisions: Sequence[bytes]) -> list[Answered]:
        """Return the responses to any of these decisions."""
        return await self._ask(sqlite_reads.responses_to, decisions)

    async def known_responses(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which response ids were accepted before."""
        return await self._ask(sqlite_reads.known_responses, ids)

    async def waiting(self, until: int, limit: int) -> list[Waiting]:
        """Return what waits until an instant or shorter."""
        return await self._ask(sqlite_reads.waiting, until, limit)

    async def waits(self, decision_id: bytes) -> set[str]:
        """Return the actions of a decision that wait."""
        return await self._look(sqlite_reads.waits, decision_id)

    async def contacts_of(self, profiles: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return contacts of the tokens that profiles own."""
        return await (self._look if len(profiles) <= FEW else self._ask)(
            sqlite_reads.contacts_of, profiles, since
        )

    async def contacts_under(self, tokens: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return contacts asked for under tokens."""
        return await (self._look if len(tokens) <= FEW else self._ask)(
            sqlite_reads.contacts_under, tokens, since
        )

    async def contacts_named(self, ids: Sequence[bytes]) -> dict[bytes, Contacted]:
        """Return those of these contacts that are known."""
        return await self._ask(sqlite_reads.contacts_named, ids)

    async def adaptive(self) -> dict[str, bytes]:
        """Return all states of adaptive models."""
        return await self._ask(sqlite_reads.adaptive)

    async def mark(self, name: str) -> bytes | None:
        """Return a mark."""
        return await self._look(sqlite_reads.mark, name)

    async def api_keys(self) -> list[ApiKey]:
        """Return all API keys."""
        return await self._ask(sqlite_reads.api_keys)

    async def sizes(self) -> Mapping[str, int]:
        """Return row counts."""
        return await self._ask(sqlite_reads.sizes)
