"""What conditions of actions may name beside the profile: the request's context and the customer's history.

`context.<field>` is what a request tells, as far as policies/engagement.yaml declares it. Of contacts and
what came of them:

| name | type | meaning |
|---|---|---|
| `history.<part>.<value>.<kind>_<n>d` | integer | how many in the last n days of 24 hours; 0 if none |
| `history.<part>.<value>.days_since_<kind>` | integer | whole days of 24 hours since the last; NULL if none |

`part` is `action`, `group`, `issue` or `channel`; `history.any.<measure>` stands for all of them. `kind` is
`contact`, a kind of response, or one that `outcomes` of policies/contact.yaml gives an event type. No more
than MOST_DAYS are looked back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.contact import OUTCOMES, Contact
from tilltal.workspace.definitions.engagement import EngagementPolicy, Tiers
from tilltal.workspace.names import Schema, names_of

CONTEXT, HISTORY = "context.", "history."
CONTACT = "contact"  # the kind that counts contacts themselves
MOST_DAYS = 365
HISTORY_PARTS = ("action", "group", "issue", "channel")

_MEASURE = re.compile(r"(?:days_since_(?P<since>\w+)|(?P<kind>\w+)_(?P<days>\d{1,3})d)\Z")


class HistoryName(msgspec.Struct, frozen=True, kw_only=True):
    """A name of the history, read. `part` None is any contact; `days` None asks for days since the last."""

    name: str
    part: str | None
    value: str | None
    kind: str
    days: int | None


def read_history_name(name: str) -> HistoryName | None:
    """Read a name of the history; None if it is none. Whether its value and kind exist is not asked.

    >>> read_history_name("history.group.loans.reject_30d").days
    30
    """
    head, *rest = name.split(".")
    measure = _MEASURE.match(rest[-1]) if rest else None
    if f"{head}." != HISTORY or measure is None:
        return None
    part, value = (rest[0], rest[1]) if len(rest) == 3 else (None, None)
    if (part is None and rest[:-1] != ["any"]) or (part is not None and part not in HISTORY_PARTS):
        return None
    days = None if measure["days"] is None else int(measure["days"])
    if days is not None and not 1 <= days <= MOST_DAYS:
        return None
    return HistoryName(name=name, part=part, value=value, kind=measure["kind"] or measure["since"], days=days)


def kinds_of(contact: Contact) -> tuple[str, ...]:
    """Return every kind that history may be asked for."""
    return tuple(dict.fromkeys((CONTACT, *OUTCOMES, *contact.outcomes.values())))


def values_of(
    actions: Mapping[str, Action], channels: Iterable[str] | None = None
) -> dict[str, frozenset[str]]:
    """Return part → the values it may have; a part that is missing may have any."""
    known = {} if channels is None else {"channel": frozenset(channels)}
    return known | {
        "action": frozenset(actions),
        "group": frozenset(action.group for action in actions.values()),
        "issue": frozenset(action.issue for action in actions.values()),
    }


def history_schema(
    texts: Iterable[str], values: Mapping[str, frozenset[str]], kinds: Iterable[str]
) -> Schema:
    """Return the names of the history that expressions use and that exist, with their types."""
    known = frozenset(kinds)
    return {
        one.name: Type.INTEGER
        for name in sorted({name for text in texts for name in names_of(text) if name.startswith(HISTORY)})
        if (one := read_history_name(name)) is not None
        and one.kind in known
        and (one.part is None or one.part not in values or one.value in values[one.part])
    }


def context_schema(engagement: EngagementPolicy) -> Schema:
    """Return the names of the context, with their types."""
    return {f"{CONTEXT}{field}": Type(kind) for field, kind in engagement.context.items()}


def texts_of(actions: Mapping[str, Action], engagement: EngagementPolicy) -> list[str]:
    """Return every expression that is asked in a decision."""
    tiers: list[Action | Tiers] = [
        engagement.all_,
        *engagement.issues.values(),
        *engagement.groups.values(),
        *actions.values(),
    ]
    values = (action.value for action in actions.values() if isinstance(action.value, str))
    return [*(condition.when for tier in tiers for condition in conditions_of(tier)), *values]


def conditions_of(tier: Action | Tiers) -> tuple[Condition, ...]:
    """Return the conditions of all three tiers."""
    return (*tier.eligibility, *tier.applicability, *tier.suitability)


def decision_schema(
    profile: Mapping[str, Type],
    actions: Mapping[str, Action],
    channels: Iterable[str] | None,
    engagement: EngagementPolicy,
    contact: Contact,
) -> Schema:
    """Return every name that conditions of actions may use: the profile's, the context's, the history's.

    Without `channels`, history may be asked for any.
    """
    history = history_schema(texts_of(actions, engagement), values_of(actions, channels), kinds_of(contact))
    return {**profile, **context_schema(engagement), **history}


def shared_conditions(engagement: EngagementPolicy, action: Action) -> tuple[Condition, ...]:
    """Return the conditions that an action has from all, its issue and its group."""
    nothing = Tiers()
    levels = (
        engagement.all_,
        engagement.issues.get(action.issue, nothing),
        engagement.groups.get(action.group, nothing),
    )
    return tuple(condition for level in levels for condition in conditions_of(level))
