"""What the HTTP face asks of the live service, and what comes back: values and one Protocol.

`tilltal.api` calls nothing else of the runtime. Instants are aware, in UTC; a profile is written as its
pseudonym. Errors: `Busy` (429), `Unavailable` (503), `TilltalError` (status: `tilltal.api.errors`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Literal, Protocol

import msgspec

from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.advice import Advised
from tilltal.runtime.live.contacts.contract import ContactCount, ContactService

MessageType = Literal["identify", "track", "page", "screen", "group", "alias"]
Scope = Literal["collect", "decide", "read", "read-identity", "admin"]
ResponseKind = Literal[
    "delivered", "failed", "impression", "click", "accept", "reject", "conversion", "dismiss"
]
Stored = Literal["accepted", "duplicate", "rejected"]
Scalar = str | int | float | bool
_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Busy(Exception):  # noqa: N818 - a state, not a fault: the caller comes back later
    """More came in than can be taken now. Nothing of this call was stored."""

    def __init__(self, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(f"busy, come back in {retry_after:g} s")


class Unavailable(Exception):  # noqa: N818 - likewise
    """The store cannot be reached, or the server is starting or stopping. Nothing of this call was stored."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the tracking protocol, normalised; its form is right, its content is not yet checked.

    Attributes:
        index: its place in the batch, from 0.
        message_id: the client's id, the same on every retry; given by the server where the client has none.
        user_id: the known user as text, or None; never empty. Junk such as `null` is left for the contract.
        anonymous_id: the device, likewise.
        previous_id: for alias: the id that is the same person as `user_id`.
        group_id: for group.
        event: for track: the event's name. For page and screen the name shown, if any.
        external_ids: (type, id) pairs of `context.externalIds`, in the order given, without repeats.
        timestamp: when it happened, by the server's clock: received − (sentAt − timestamp) where the message
            states both, else its timestamp, else `received`.
        document: the whole message. `context` and `integrations` of the batch are merged under the message's
            own, and traits of an identify stand in `traits` even if the client sent them in `context.traits`.
    """

    index: int
    type: MessageType
    message_id: str
    user_id: str | None
    anonymous_id: str | None
    timestamp: datetime
    document: Mapping[str, object]
    previous_id: str | None = None
    group_id: str | None = None
    event: str | None = None
    external_ids: tuple[tuple[str, str], ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose form is wrong: too large, too deep, no id. The service puts it into quarantine.

    `body` is the message as it came, cut at 32 KB; `message_id` is empty where it has none.
    """

    index: int
    message_id: str
    code: str
    reason: str
    body: bytes


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was put into quarantine, with the code of docs/reference/errors.md and why."""

    index: int
    message_id: str
    code: str
    reason: str


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, once durable. `accepted` counts what is new; all refused are `rejected`."""

    accepted: int
    duplicates: int = 0
    rejected: tuple[Rejection, ...] = ()


class DecideRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for what.

    `identity`: namespace → value, several are one person's. `placement` (where it is shown), `channel`: None
    = any. `context` is what is known of the moment. `count` is the most actions wanted and `budget_ms` the
    milliseconds after which the declared fallback is answered; None = as the workspace says. The budget
    stands still while the decisions that a request shares a portion with are made. `reserve`: are the
    contacts shown to be reserved? None = as the contact policy says of their channels.
    """

    identity: Annotated[dict[str, _Text], msgspec.Meta(max_length=20)]
    placement: str | None = None
    channel: str | None = None
    context: Annotated[dict[_Text, _Text | _Whole | float | bool], msgspec.Meta(max_length=100)] = {}
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    budget_ms: Annotated[float, msgspec.Meta(gt=0, le=60_000)] | None = None
    reserve: bool | None = None


class DecideAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. `profile` is None for somebody not known; `definitions` is the hash of those that decided.

    `is_fallback`: time was over before it was decided, so these are the mandatory and default actions.
    `is_logged`: it is on disk; else it could not be stored, so it can neither be answered to nor explained.
    """

    decision_id: str
    at: datetime
    profile: str | None
    is_known: bool
    actions: tuple[Advised, ...]
    definitions: str
    is_fallback: bool = False
    is_logged: bool = True


class Response(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a decision. The same `id` twice counts once; late is fine. `at` None = when received."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    decision_id: str
    action: str
    kind: ResponseKind
    channel: str | None = None
    at: datetime | None = None


class ResponseOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one response; `code` and `reason` where it was rejected."""

    id: str
    outcome: Stored
    code: str = ""
    reason: str = ""


class ConsentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The latest answer on one purpose and channel (None = every channel), and since when."""

    purpose: str
    channel: str | None
    is_granted: bool
    since: datetime


class HoldingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A product that the customer has or had; `closed` is the first day without it."""

    product: str
    opened: date
    closed: date | None


class KnownBy(msgspec.Struct, frozen=True, kw_only=True):
    """By how many identifiers of a namespace the profile is known; `values` only with the right scope."""

    namespace: str
    count: int
    values: tuple[str, ...] | None = None


class ProfileAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a customer as of an instant. `segments`: lifecycle, value, persona, micro-segment.

    Where names were asked for, other parts are empty. `audiences`: member since when, None = not known.
    """

    profile: str
    as_of: datetime
    definitions: str
    attributes: dict[str, object] = {}
    traits: dict[str, object] = {}
    segments: dict[str, object] = {}
    scores: dict[str, float] = {}
    consents: tuple[ConsentAnswer, ...] = ()
    holdings: tuple[HoldingAnswer, ...] = ()
    audiences: dict[str, datetime | None] = {}
    identities: tuple[KnownBy, ...] = ()
    contacts: dict[str, ContactCount] = {}


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a message told: an event, a record, a consent, a holding; or a contact made here.

    `fields` are typed as history keeps them; amounts of money are numbers of the workspace's currency.
    """

    at: datetime
    kind: str
    name: str
    source: str = ""
    fields: dict[str, object] = {}


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, latest first. `next_before` continues; None = nothing earlier. No instant is on two pages."""

    profile: str
    entries: tuple[TimelineEntry, ...]
    next_before: datetime | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of an audience, and since when."""

    profile: str
    since: datetime


class MemberPage(msgspec.Struct, frozen=True, kw_only=True):
    """Members in order of profile. `next_after` continues; None = that was all."""

    audience: str
    members: tuple[Member, ...]
    next_after: str | None = None


class ChangeNotice(msgspec.Struct, frozen=True, kw_only=True):
    """An entry, an exit, a transition of stage, a merge, a split. `position` rises; a subscriber keeps it."""

    position: int
    at: datetime
    profile: str
    kind: Literal["entered", "left", "stage", "merged", "split"]
    name: str
    details: dict[str, object] = {}


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret. A rotation makes a new one, and the old one's `revoked` is its end."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made. `secret` is shown this once; only its hash is kept."""

    key: KeyInfo
    secret: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be served now, why not, and how far each stage is behind, in seconds."""

    is_ready: bool
    reasons: tuple[str, ...] = ()
    lag_seconds: dict[str, float] = {}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One figure for monitoring; `name` begins with `tilltal_`, a counter's ends with `_total`.

    A histogram gives samples ending in `_bucket` (label `le`, cumulative, `+Inf` last), `_sum`, `_count`.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    value: float
    labels: dict[str, str] = {}
    suffix: Literal["", "_bucket", "_sum", "_count"] = ""


class LiveService(ContactService, Protocol):
    """The running server without its HTTP face."""

    async def collect(
        self, messages: Sequence[Message], received: datetime, refused: Sequence[Refused] = ()
    ) -> Collected:
        """Take messages in and return once they are durable; those refused go to quarantine with the rest.

        Raises Busy if too much is under way, Unavailable if nothing can be stored now; nothing was stored.
        """

    async def decide(self, request: DecideRequest) -> DecideAnswer:
        """Decide for somebody, known or not, and log it; raises as `collect`, and TilltalError for a name."""

    async def respond(self, responses: Sequence[Response], received: datetime) -> list[ResponseOutcome]:
        """Store responses and return, once durable, what became of each, in order. Raises as `collect`."""

    async def explain(self, decision_id: str, language: str = "en") -> DecisionAccount | None:
        """Return why a logged decision came out as it did, or None if there is no such decision.

        Raises TilltalError for a language without words.
        """

    async def decisions(
        self, namespace: str, value: str, *, limit: int = 10, language: str = "en"
    ) -> list[DecisionAccount] | None:
        """Return a customer's latest decisions, explained, or None for nobody; raises as `profile`."""

    async def profile(
        self,
        namespace: str,
        value: str,
        *,
        as_of: datetime | None = None,
        names: Sequence[str] = (),
        with_identity: bool = False,
    ) -> ProfileAnswer | None:
        """Return what is known of a customer, or None if nobody is known by that identifier.

        The namespace `profile` takes a pseudonym; `as_of` None = now; no `names` = all; `with_identity` adds
        direct identifiers from the vault. Raises TilltalError for a namespace or name that does not exist.
        """

    async def timeline(
        self, namespace: str, value: str, *, before: datetime | None = None, limit: int = 100
    ) -> Timeline | None:
        """Return what happened before an instant (None = now), or None for nobody; raises as `profile`."""

    async def members(
        self, audience: str, *, after: str | None = None, limit: int = 1000
    ) -> MemberPage | None:
        """Return members in order of profile, after one, or None if there is no such audience."""

    def subscribe(self, after: int | None = None) -> AsyncIterator[ChangeNotice]:
        """Give changes after a position (None = from now on) as they happen, until the server stops."""

    def authenticate(self, secret: str) -> KeyInfo | None:
        """Return the key that a secret belongs to if it is in force now; from memory, in constant time."""

    async def keys(self) -> list[KeyInfo]:
        """Return all keys, those revoked or expired too."""

    async def create_key(self, name: str, scopes: Sequence[Scope], expires: datetime | None = None) -> NewKey:
        """Make a key."""

    async def rotate_key(self, key_id: str, overlap_seconds: float = 0.0) -> NewKey | None:
        """Make a key like another, which ends after the overlap. None if there is no such key in force."""

    async def revoke_key(self, key_id: str) -> bool:
        """End a key at once. False if there is no such key; True again if it was revoked before."""

    async def readiness(self) -> Readiness:
        """Say whether requests can be served now."""

    def metrics(self) -> Iterable[Sample]:
        """Return all figures as they stand now; samples of one name stand together."""
