"""The operational store as a port: the log, identities, states and outcomes that the server lives on.

Adapters: `tilltal.engines.sqlite` (default) and `tilltal.engines.postgres`; one conformance suite holds both.
Instants are integers: microseconds since 1970 in UTC. The store does not look into bodies and states.
The tables: docs/explanation/live.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from tilltal.core.errors import EngineError
from tilltal.core.making import Exchange

Kind = Literal["event", "record", "holding", "consent"]

_RETRYABLE = frozenset({"E530", "E531", "E536"})


def is_retryable(error: EngineError) -> bool:
    """True if the same transaction may succeed when it is tried again from its beginning."""
    return all(fault.code in _RETRYABLE for fault in error.faults)


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted message as a row of the log.

    `token` is the leading identifier, `ids` are all tokens, leading one first. `name` is the event type, or
    the source of a record. `body` is msgpack of message id and stored fields. `position` is the store's;
    0 = not yet.
    """

    event_id: bytes
    token: int
    ids: tuple[int, ...]
    kind: Kind
    name: str
    source: str
    at: int
    received: int
    body: bytes
    position: int = 0


class Observed(msgspec.Struct, frozen=True):
    """Two or more identifiers seen together in one message. `id` is `source:message id`."""

    id: str
    at: int
    ids: tuple[tuple[str, int], ...]  # namespace, token


class Identified(msgspec.Struct, frozen=True):
    """A token with its namespace, and its value unless it is direct (then the vault alone has it)."""

    token: int
    namespace: str
    value: str | None


class Owned(msgspec.Struct, frozen=True):
    """Whose a token is over a span of event time, half open; None = without bound.

    `profile` None: nobody's. `is_plain`: one person alone was ever near, so more of the same changes nothing.
    """

    token: int
    valid_from: int | None
    valid_to: int | None
    profile: int | None
    is_plain: bool = True


class State(msgspec.Struct, frozen=True, gc=False):
    """A profile's state, and the instant at which it changes without an event (None = never)."""

    profile: int
    data: bytes
    due: int | None = None


class Membership(msgspec.Struct, frozen=True):
    """A profile entered (`is_member`) or left an audience at an instant."""

    audience: str
    profile: int
    at: int
    is_member: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What subscribers are told: entries, exits, transitions of stage, merges. `position` is the store's."""

    at: int
    profile: int
    kind: Literal["entered", "left", "stage", "merged", "split"]
    name: str
    body: bytes = b""
    position: int = 0


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as logged; the store does not look into `body`."""

    id: bytes
    at: int
    profile: int | None
    body: bytes


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A response to a decision; the same `id` twice counts once."""

    id: bytes
    decision: bytes
    action: str
    channel: str
    kind: str
    at: int
    received: int


class Waiting(msgspec.Struct, frozen=True):
    """A shown action that was seen and not answered: at `ends` the silence counts as an answer."""

    decision: bytes
    action: str
    ends: int | None  # None, when written: it waits no more


class Contacted(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that was asked for, allowed or not; the store does not look into `body`.

    `token` is the identifier it was asked for: it counts for whoever owns that. `last` is the latest instant
    of the contact, of its sending and of what came of it; None = it was denied and counts nowhere.
    """

    id: bytes
    token: int
    at: int
    last: int | None
    body: bytes


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key: only its hash is kept. Instants; `expires` and `revoked` None = not."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    created: int
    expires: int | None = None
    revoked: int | None = None


class Writes(msgspec.Struct, kw_only=True):
    """Everything one transaction writes. Lists are filled by who prepares it.

    `identities` that are there already stay. `owners` replaces all spans of each token named; `gone` are
    profiles whose state (and memberships) go, before states and members are put. `seen` are ids of messages
    that were taken in without a row of the log. Ids of `log`, `seen` and `responses` must be new: see
    `known_ids` and `known_responses`. Of two rows of one key the last counts;
    observations and decisions that are there already stay.
    """

    log: list[Logged] = []
    seen: list[bytes] = []
    observations: list[Observed] = []
    identities: list[Identified] = []
    owners: dict[int, tuple[Owned, ...]] = {}
    states: list[State] = []
    gone: list[int] = []
    members: list[Membership] = []
    changes: list[Change] = []
    decisions: list[Decided] = []
    responses: list[Answered] = []
    waiting: list[Waiting] = []
    contacts: list[Contacted] = []
    adaptive: dict[str, bytes] = {}
    marks: dict[str, bytes] = {}


class Reads(Protocol):
    """What may be asked, inside a transaction (as of its writes) or outside (as of the last commit)."""

    async def known_ids(self, event_ids: Sequence[bytes]) -> set[bytes]:
        """Return which message ids were accepted before."""

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        """Return each known token's spans in order of time; unknown tokens are left out."""

    async def whose(self, tokens: Sequence[int], at: int) -> tuple[int | None, State | None]:
        """Return who owns, at an instant, the first of these tokens that is somebody's then, and the state.

        As `customers.identity.online.spans.owner_at`: before a token's first span the first counts.
        """

    async def tokens_of(self, profile: int) -> list[Owned]:
        """Return every span that a profile owns."""

    async def identities(self, tokens: Iterable[int]) -> dict[int, Identified]:
        """Return what is known of tokens; a known token's row never changes."""

    async def component(
        self, tokens: Iterable[int], through: Collection[str] | None = None
    ) -> list[Observed]:
        """Return all observations reachable from these tokens, however many steps away.

        `through`: only identifiers of these namespaces lead on, and of them none that is shared (its first
        span is nobody's and plain); `tokens` themselves always do. None: all do.
        """

    async def observations_named(self, ids: Sequence[str]) -> list[Observed]:
        """Return those of these observations that are known, by id."""

    async def states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return the states of those profiles that have one."""

    async def profiles_after(self, profile: int | None, limit: int) -> list[int]:
        """Return profiles that have a state, in order, after one (None = from the first)."""

    async def events_of(
        self,
        tokens: Iterable[int],
        *,
        since: int | None = None,
        until: int | None = None,
        limit: int = 1_000_000,
    ) -> list[Logged]:
        """Return the latest `limit` log rows of tokens by event time, then position; since <= at < until."""

    async def log_after(self, position: int, limit: int) -> list[Logged]:
        """Return log rows after a position, in order."""

    async def log_ends(self, limit: int) -> tuple[int, int] | None:
        """Return the first and the last position of the first rows of the log; None if it is empty."""

    async def due(self, until: int, limit: int) -> list[int]:
        """Return profiles whose `due` is at or before an instant, earliest first."""

    async def members(
        self, audience: str, *, after: int | None = None, limit: int = 1000
    ) -> list[tuple[int, int]]:
        """Return (profile, since) of an audience's members in order of profile, after one."""

    async def memberships(self, profile: int) -> dict[str, int]:
        """Return audience → since of one profile."""

    async def changes_after(self, position: int, limit: int) -> list[Change]:
        """Return changes after a position, in order."""

    async def decision(self, decision_id: bytes) -> Decided | None:
        """Return a logged decision."""

    async def decisions_before(self, before: int, limit: int) -> list[Decided]:
        """Return the oldest decisions of before an instant, by time, then id."""

    async def decisions_after(self, after: bytes, limit: int, profile: int | None = None) -> list[Decided]:
        """Return decisions after an id, in order of their ids; only a profile's, if one is given."""

    async def responses(self, decision_id: bytes) -> list[Answered]:
        """Return the responses to a decision, by time."""

    async def responses_to(self, decisions: Sequence[bytes]) -> list[Answered]:
        """Return the responses to any of these decisions, in no particular order."""

    async def known_responses(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which response ids were accepted before."""

    async def waiting(self, until: int, limit: int) -> list[Waiting]:
        """Return what waits until an instant or shorter, earliest first."""

    async def waits(self, decision_id: bytes) -> set[str]:
        """Return the actions of a decision that wait."""

    async def contacts_of(self, profiles: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return, by profile, contacts of the tokens it owned then, whose `last` is not before `since`.

        As `whose`: before a token's first span the first counts. In order of time, then id.
        """

    async def contacts_under(self, tokens: Collection[int], since: int) -> dict[int, list[Contacted]]:
        """Return, by token, contacts asked for under it, whosever it is; else as `contacts_of`."""

    async def contacts_named(self, ids: Sequence[bytes]) -> dict[bytes, Contacted]:
        """Return those of these contacts that are known, denied ones too."""

    async def adaptive(self) -> dict[str, bytes]:
        """Return all states of adaptive models."""

    async def mark(self, name: str) -> bytes | None:
        """Return a mark."""

    async def api_keys(self) -> list[ApiKey]:
        """Return all API keys."""

    async def sizes(self) -> Mapping[str, int]:
        """Return row counts: `log`, `profiles`, `changes` (last positions where counting is dear)."""


class Transaction(Reads, Exchange, Protocol):
    """Reads and one write that take effect together, at the end of the `async with` block, durably."""

    async def lock_states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return states as `states` does, and keep other processes from changing them until the end.

        Raises:
            EngineError: E531 if another process changed meanwhile what `owners` answered in this transaction.
        """

    async def lock_mark(self, name: str) -> bytes | None:
        """Return a mark, and let nobody else who asks so for it pass until the end."""

    async def lock_contacts(self, profiles: Collection[int], tokens: Iterable[int]) -> None:
        """Let nobody else who asks so pass until the end, for these tokens and those that profiles own.

        Once per transaction, so that locks are always taken in the same order.

        Raises:
            EngineError: E531 if another process changed meanwhile what `owners` answered in this transaction,
                or what the profiles own.
        """

    async def write(self, writes: Writes) -> None:
        """Write everything of a batch; may be called more than once.

        Raises:
            EngineError: E531 if a message or response was accepted before, or another process was faster.
        """

    async def put_api_key(self, key: ApiKey) -> None:
        """Add or replace an API key.

        Whoever read `api_keys` in this transaction is the only one who puts keys until its end.
        """

    async def drop_log(self, until: int) -> int:
        """Remove log rows up to a position, now in Parquet; their ids stay known.

        Returns how many; at most a portion, so that other writers need not wait: repeat, each in a
        transaction of its own, until it is 0.
        """

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep some work for a while by the store's clock (0 = give it back); False: another's."""

    async def lock_decisions(self, ids: Sequence[bytes]) -> None:
        """Let nobody else who reads one of these decisions in a transaction pass until the end."""

    async def drop_decisions(self, ids: Sequence[bytes]) -> None:
        """Remove decisions with all that came of them."""

    async def forget(self, changes: int, *, told: int | None = None, contacts: int | None = None) -> int:
        """Remove changes from the first on until one is not older than an instant.

        Whoever has subscribers gives in `told` the last position that all of them have heard of: no later
        change goes (None = all may go). Contacts go of which nothing is as late as `contacts` (None: none).

        Returns how many rows went; at most a portion of each table, as `drop_log`.
        """


class OperationalStore(Reads, Protocol):
    """An open store."""

    async def close(self) -> None:
        """Let go of everything. What was committed is on disk."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; commit at the end of the block, roll back if it raises.

        Raises:
            EngineError: E530 if the store cannot be reached. Nothing was written, unless the connection broke
                during the commit: then `known_ids` tells. E531 if another process was faster: nothing was
                written.
        """

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own: what needs no reading first is done at less cost.

        Raises:
            EngineError: as `transaction`.
        """

    async def warm(self) -> None:
        """Read customers into memory, beside other work, as far as the store keeps them there."""

    def making(self) -> OperationalStore:
        """Return the same store with other owners, states and marks: see `core.making`."""

    async def is_ready(self) -> bool:
        """True if the store answers now."""

    async def backup(self, target: str) -> None:
        """Write a consistent copy while in use (SQLite: one file). Raises EngineError where not offered."""
