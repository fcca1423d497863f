"""A live service that remembers what it was given: what the HTTP face is tested against."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from tilltal.core.errors import DataError
from tilltal.decisions.explanation import Chosen, NotChosen
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.advice import Advised, Factors, Treatment
from tilltal.runtime.live.contacts.contract import (
    ContactAnswer,
    ContactAnswers,
    ContactOutcome,
    ContactRequest,
    ContactStep,
    PermitAnswer,
)
from tilltal.runtime.live.contract import (
    ChangeNotice,
    Collected,
    DecideAnswer,
    DecideRequest,
    KeyInfo,
    KnownBy,
    Member,
    MemberPage,
    Message,
    NewKey,
    ProfileAnswer,
    Readiness,
    Refused,
    Rejection,
    Response,
    ResponseOutcome,
    Sample,
    Scope,
    Timeline,
    TimelineEntry,
)

MOMENT = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
PROFILE = "p0000000000abc"
SCOPES: tuple[Scope, ...] = ("collect", "decide", "read", "read-identity", "admin")


class FakeService:
    """Keeps messages by id, decides the same for all, and fails when told to."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.messages: dict[str, Message] = {}
        self.refused: list[Refused] = []
        self.responses: dict[str, Response] = {}
        self.contacts: dict[str, ContactRequest] = {}
        self.decided: list[DecideRequest] = []
        self.asked: list[tuple[object, ...]] = []
        self.failures: list[Exception] = []
        self.calls = 0
        self.is_ready = True
        self.secrets: dict[str, KeyInfo] = {
            f"key-{scope}": KeyInfo(id=f"id-{scope}", name=scope, scopes=(scope,), created=MOMENT)
            for scope in SCOPES
        }
        self.changes: list[ChangeNotice] = [
            ChangeNotice(position=at, at=MOMENT, profile=PROFILE, kind="entered", name="vip")
            for at in (1, 2, 3)
        ]
        self.changed = asyncio.Event()
        self.open_subscriptions = 0

    def _fail(self) -> None:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)

    async def collect(
        self, messages: Sequence[Message], received: datetime, refused: Sequence[Refused] = ()
    ) -> Collected:
        self._fail()
        self.asked.append(("collect", received))
        new = {each.message_id: each for each in messages if each.message_id not in self.messages}
        self.messages |= new
        self.refused += refused
        rejected = tuple(
            Rejection(index=each.index, message_id=each.message_id, code=each.code, reason=each.reason)
            for each in refused
        )
        return Collected(accepted=len(new), duplicates=len(messages) - len(new), rejected=rejected)

    async def decide(self, request: DecideRequest) -> DecideAnswer:
        self._fail()
        self.decided.append(request)
        if "martian" in request.identity:
            raise DataError.of("P350", "there is no namespace 'martian'", valid=("crm", "email"))
        is_known = request.identity.get("crm") == "c1"
        return DecideAnswer(
            decision_id="d1",
            at=MOMENT,
            profile=PROFILE if is_known else None,
            is_known=is_known,
            actions=(
                Advised(
                    rank=1,
                    action="gold_card",
                    title="Gold card",
                    channel="app",
                    priority=12.5,
                    factors=Factors(0.25, 1.0, 50.0, 1.0),
                    treatment=Treatment(channel="app", language="en", content={"title": "Gold"}),
                    reasons=("spends more than most",),
                ),
            ),
            definitions="abc",
        )

    async def respond(self, responses: Sequence[Response], received: datetime) -> list[ResponseOutcome]:
        self._fail()
        outcomes = []
        for each in responses:
            is_known = each.id in self.responses
            self.responses.setdefault(each.id, each)
            outcomes.append(ResponseOutcome(id=each.id, outcome="duplicate" if is_known else "accepted"))
        return outcomes

    async def contact(self, requests: Sequence[ContactRequest]) -> ContactAnswers:
        self._fail()
        permit = PermitAnswer(purpose="marketing", channel="email", basis="required", answered=MOMENT)
        self.contacts.update({one.id: one for one in requests})
        return ContactAnswers(
            contacts=tuple(
                ContactAnswer(id=one.id, allowed=True, permit=permit)
                if one.channel == "email"
                else ContactAnswer(
                    id=one.id, allowed=False, reason="cap:week", reasons=("cap:week",), retry_at=MOMENT
                )
                for one in requests
            )
        )

    async def commit_contact(self, contact_id: str) -> ContactStep | None:
        self._fail()
        return ContactStep(id=contact_id, state="committed") if contact_id in self.contacts else None

    async def fail_contact(self, contact_id: str) -> ContactStep | None:
        self._fail()
        return ContactStep(id=contact_id, state="released") if contact_id in self.contacts else None

    async def contact_outcome(self, outcome: ContactOutcome) -> ContactStep | None:
        self._fail()
        return ContactStep(id=outcome.id, state="committed") if outcome.id in self.contacts else None

    async def explain(self, decision_id: str, language: str = "en") -> DecisionAccount | None:
        self._fail()
        if decision_id != "d1":
            return None
        chosen = Chosen(
            rank=1, action="a", title="A", channel=None, priority=1.0, P=0.1, C=1.0, V=10.0, L=1.0
        )
        lost = NotChosen(action="b", title="B", reason="outranked:a", words="a has a higher priority.")
        return DecisionAccount(
            decision_id="d1",
            at=MOMENT,
            profile=PROFILE,
            is_fallback=False,
            definitions="abc",
            language=language,
            chosen=(chosen,),
            not_chosen=(lost,),
        )

    async def decisions(
        self, namespace: str, value: str, *, limit: int = 10, language: str = "en"
    ) -> list[DecisionAccount] | None:
        self._fail()
        self.asked.append(("decisions", namespace, value, limit, language))
        account = await self.explain("d1", language)
        return None if value != "c1" or account is None else [account]

    async def profile(
        self,
        namespace: str,
        value: str,
        *,
        as_of: datetime | None = None,
        names: Sequence[str] = (),
        with_identity: bool = False,
    ) -> ProfileAnswer | None:
        self._fail()
        self.asked.append(("profile", namespace, value, as_of, tuple(names), with_identity))
        if value != "c1":
            return None
        return ProfileAnswer(
            profile=PROFILE,
            as_of=as_of or MOMENT,
            definitions="abc",
            traits={"spend_30d": 12.5},
            audiences={"vip": MOMENT},
            identities=(KnownBy(namespace="crm", count=1, values=("c1",) if with_identity else None),),
        )

    async def timeline(
        self, namespace: str, value: str, *, before: datetime | None = None, limit: int = 100
    ) -> Timeline | None:
        self._fail()
        self.asked.append(("timeline", namespace, value, before, limit))
        if value != "c1":
            return None
        entry = TimelineEntry(at=MOMENT, kind="event", name="purchase", fields={"amount": 1250})
        return Timeline(profile=PROFILE, entries=(entry,), next_before=MOMENT)

    async def members(
        self, audience: str, *, after: str | None = None, limit: int = 1000
    ) -> MemberPage | None:
        self._fail()
        self.asked.append(("members", audience, after, limit))
        if audience != "vip":
            return None
        return MemberPage(audience="vip", members=(Member(profile=PROFILE, since=MOMENT),))

    async def subscribe(self, after: int | None = None) -> AsyncIterator[ChangeNotice]:
        seen = len(self.changes) if after is None else after
        self.open_subscriptions += 1
        try:
            while True:
                for notice in self.changes[seen:]:
                    yield notice
                seen = len(self.changes)
                self.changed.clear()
                await self.changed.wait()
        finally:
            self.open_subscriptions -= 1

    def authenticate(self, secret: str) -> KeyInfo | None:
        found = None
        for known, key in self.secrets.items():
            if hmac.compare_digest(known.encode(), secret.encode()):
                found = key
        return found if found and found.revoked is None else None

    async def keys(self) -> list[KeyInfo]:
        return list(self.secrets.values())

    async def create_key(self, name: str, scopes: Sequence[Scope], expires: datetime | None = None) -> NewKey:
        number = len(self.secrets)
        key = KeyInfo(id=f"k{number}", name=name, scopes=tuple(scopes), created=MOMENT, expires=expires)
        self.secrets[f"secret-{number}"] = key
        return NewKey(key=key, secret=f"secret-{number}")

    async def rotate_key(self, key_id: str, overlap_seconds: float = 0.0) -> NewKey | None:
        old = next((key for key in self.secrets.values() if key.id == key_id), None)
        if old is None:
            return None
        made = await self.create_key(old.name, old.scopes, MOMENT + timedelta(seconds=overlap_seconds))
        await self.revoke_key(key_id)
        return made

    async def revoke_key(self, key_id: str) -> bool:
        for secret, key in self.secrets.items():
            if key.id == key_id:
                self.secrets[secret] = KeyInfo(
                    id=key.id, name=key.name, scopes=key.scopes, created=key.created, revoked=MOMENT
                )
                return True
        return False

    async def readiness(self) -> Readiness:
        reasons = () if self.is_ready else ("the store does not answer",)
        return Readiness(is_ready=self.is_ready, reasons=reasons, lag_seconds={"log": 0.1})

    def metrics(self) -> Iterable[Sample]:
        yield Sample(name="tilltal_events_total", kind="counter", help="Events.", value=len(self.messages))
