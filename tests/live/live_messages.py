"""Messages of a small crowd, drawn by Hypothesis: few identifiers, so that they meet often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from tests.live_bank import ZONE

from tilltal.core.time import day_start

Document = dict[str, Any]

USERS = ("c1", "c2", "c3", "c4")
EMAILS = ("a@x.se", "b@x.se", "c@x.se")
DEVICES = ("d1", "d2", "d3")
_TOWNS = ("Umeå", "Lund", "")
_SECOND = timedelta(seconds=1)
LATE = tuple(
    _SECOND * seconds for seconds in (0, 0, 0, 0, 1, 600, 7_200, 86_400, 5 * 86_400, 35 * 86_400, 60 * 86_400)
)
EARLY = tuple(-_SECOND * seconds for seconds in (1, 30, 299))


class Draft(msgspec.Struct, frozen=True):
    """A message before it has a number and an instant."""

    kind: str
    ids: Mapping[str, str]
    late: timedelta
    fields: Mapping[str, object]

    def document(self, number: int, now: datetime) -> Document:
        """Return the message as the collector gives it."""
        at = now - self.late
        fields = {name: given(at) if callable(given) else given for name, given in self.fields.items()}
        type_, event = ("track", self.kind) if self.kind[0].isupper() else (self.kind, None)
        made: Document = {"type": type_, "messageId": f"m{number}", "timestamp": at}
        made |= {key: value for key, value in self.ids.items() if key != "email"}
        if event:
            made["event"] = event
        traits = {"email": self.ids["email"]} if "email" in self.ids else {}
        if type_ == "identify":
            return {**made, "traits": {**fields, **traits}}
        return {**made, "properties": fields, "traits": traits}


_IDS: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.fixed_dictionaries({"userId": st.sampled_from(USERS)}),
    st.fixed_dictionaries({"anonymousId": st.sampled_from(DEVICES)}),
    st.fixed_dictionaries({"userId": st.sampled_from(USERS), "anonymousId": st.sampled_from(DEVICES)}),
    st.fixed_dictionaries(
        {"email": st.sampled_from(EMAILS)},
        optional={"userId": st.sampled_from(USERS), "anonymousId": st.sampled_from(DEVICES)},
    ),
)


def _day(days: int) -> Callable[[datetime], str]:
    return lambda at: (at.astimezone(ZONE).date() + timedelta(days=days)).isoformat()


def _instant(minutes: int) -> Callable[[datetime], str]:
    return lambda at: (at + timedelta(minutes=minutes)).isoformat()


_DAY = st.integers(-2, 3).map(_day)
_MOMENT = st.sampled_from((-300, -1, 0, 60, 2_000)).map(_instant)
_BUY = {
    "amount": st.integers(-3, 30),
    "price": st.integers(-4, 40).map(lambda quarter: quarter / 4),
    "pieces": st.integers(-1, 4),
    "city": st.sampled_from(_TOWNS),
    "open": st.booleans(),
    "due": _DAY,
    "seen": _MOMENT,
    "thing": st.sampled_from((1, 1.0, 2.5, "1", "x", True, 0)),
}
_LOOK = {name: _BUY[name] for name in ("amount", "pieces", "city")}
_CRM = {
    "town": st.sampled_from(_TOWNS),
    "income": st.integers(0, 60),
    "birth": st.sampled_from(("2008-03-28", "2008-03-29", "2008-10-25", "2008-10-26", "1980-01-01")),
    "rank": st.just(3.0),
    "met": _MOMENT,
}
_WEB = {
    "town": st.sampled_from(_TOWNS),
    "income": st.integers(0, 60),
    "rank": st.sampled_from((0.5, 2.0)),
    "is_dark": st.booleans(),
}
_HELD: dict[str, st.SearchStrategy[Any]] = {
    "product": st.sampled_from(("card", "loan", "savings")),
    "opened": st.integers(-20, 3).map(_day),
}
_ANSWER: dict[str, st.SearchStrategy[Any]] = {
    "purpose": st.sampled_from(("ads", "tips")),
    "channel": st.sampled_from(("*", "push", "email")),
    "granted": st.booleans(),
}
_NO_FIELDS: dict[str, st.SearchStrategy[Any]] = {}
_FIELDS: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "Buy": st.fixed_dictionaries({}, optional=_BUY),
    "Look": st.fixed_dictionaries({}, optional=_LOOK),
    "identify": st.fixed_dictionaries({}, optional=_CRM),
    "page": st.fixed_dictionaries({}, optional=_WEB),
    "Held": st.fixed_dictionaries(_HELD, optional={"closed": st.integers(4, 12).map(_day)}),
    "Answered": st.fixed_dictionaries(_ANSWER),
    **{name: st.fixed_dictionaries(_NO_FIELDS) for name in ("Opened", "Left", "Stayed", "Closed")},
}
_KINDS = (
    "Buy", "Buy", "Buy", "Look", "Look", "Look", "identify", "identify", "page", "Held", "Answered",
    "Opened", "Opened", "Left", "Stayed", "Closed",
)  # fmt: skip


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Draw a message."""
    kind = draw(st.sampled_from(_KINDS))
    return Draft(kind, draw(_IDS), draw(st.sampled_from(LATE + EARLY)), draw(_FIELDS[kind]))


def next_midnight(now: datetime) -> datetime:
    """Return the bank's next midnight."""
    return day_start(now.astimezone(ZONE).date() + timedelta(days=1), ZONE)


def _named(namespace: str, values: Sequence[str]) -> list[str]:
    return [f"{namespace}:{value}" for value in values]


_CRM_IDS, _EMAIL_IDS, _DEVICE_IDS = _named("crm", USERS), _named("email", EMAILS), _named("device", DEVICES)
_SOURCES = ("buys", "looks", "notices", "crm", "web", "held", "answers")


def _pair(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.permutations(values).map(lambda drawn: list(drawn[:2]))


def corrections() -> st.SearchStrategy[list[Document]]:
    """Draw the corrections of an identity.yaml; some revoke messages that never came."""
    same_as = st.one_of(_pair(_CRM_IDS), _pair(_EMAIL_IDS), _pair(_DEVICE_IDS))
    revoke = st.tuples(st.sampled_from(_SOURCES), st.integers(1, 30)).map(
        lambda drawn: "{}:m{}".format(*drawn)
    )
    one = st.one_of(
        st.fixed_dictionaries({"forbid": _pair([*_CRM_IDS, *_EMAIL_IDS, *_DEVICE_IDS])}),
        st.fixed_dictionaries({"same_as": same_as}),
        st.fixed_dictionaries({"revoke": revoke}),
    )
    return st.lists(one, max_size=3)
