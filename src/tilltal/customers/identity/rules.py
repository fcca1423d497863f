"""The rules of `identity.yaml`, compiled: positions instead of names, microseconds instead of texts."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

from tilltal.core.errors import DataError, Fault, WorkspaceError, nearest
from tilltal.core.time import parse_duration
from tilltal.workspace.definitions.identity import Identity, Limit, Namespace

_MICROSECOND = timedelta(microseconds=1)
DEVICE_SHARED_AFTER = 100  # customers: no household's device, and so few that a login on it stays cheap
_LONGEST = timedelta(days=4_000_000)  # longer than the calendar: keeps sums of instants within 64 bits


class LimitRule(msgspec.Struct, frozen=True, kw_only=True):
    """At most `count` values whose first observations span less than `within_us` (None: any span)."""

    count: int
    within_us: int | None


class NamespaceRule(msgspec.Struct, frozen=True, kw_only=True):
    """One namespace; its place in `Rules.namespaces` is its priority number, 0 = highest."""

    name: str
    is_person: bool
    is_unique: bool
    is_lower_case: bool
    shared_after: int | None
    limit: LimitRule | None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of the graph. Spans are microseconds; None means without bound."""

    namespaces: tuple[NamespaceRule, ...]
    blocked: tuple[re.Pattern[str], ...] = ()
    is_latest_wins: bool = False
    is_bridging: bool = False
    max_ids: int | None = None
    is_current_holder: bool = False
    vouch_us: int | None = None
    lookback_us: int | None = None

    @property
    def unique(self) -> tuple[int, ...]:
        """Priority numbers of the unique namespaces, highest priority first."""
        return tuple(at for at, namespace in enumerate(self.namespaces) if namespace.is_unique)

    def number(self, name: str) -> int:
        """Return the priority number of a namespace.

        Raises:
            DataError: P350 if there is no such namespace.
        """
        for at, namespace in enumerate(self.namespaces):
            if namespace.name == name:
                return at
        names = [namespace.name for namespace in self.namespaces]
        raise DataError.of(
            "P350",
            f"no namespace is called {name!r}.",
            valid=nearest(name, names),
            hint="Declare it in identity.yaml.",
        )


def compile_rules(identity: Identity) -> Rules:
    """Compile the rules of a workspace.

    Raises:
        WorkspaceError: P353 for a span or a pattern that cannot be read.
    """
    return Rules(
        namespaces=tuple(_namespace(namespace) for namespace in identity.namespaces),
        blocked=tuple(_pattern(text) for text in identity.blocked_values),
        is_latest_wins=identity.person_links == "latest_wins",
        is_bridging=identity.device_bridges_people,
        max_ids=identity.max_ids_per_person,
        is_current_holder=identity.anonymous_owner == "current_holder",
        vouch_us=_microseconds(identity.anonymous_vouch),
        lookback_us=_microseconds(identity.anonymous_lookback),
    )


def _namespace(namespace: Namespace) -> NamespaceRule:
    return NamespaceRule(
        name=namespace.name,
        is_person=namespace.kind == "person",
        is_unique=namespace.unique,
        is_lower_case=namespace.normalise == "email",
        shared_after=_shared_after(namespace),
        limit=None if namespace.limit is None else _limit(namespace.limit),
    )


def _shared_after(namespace: Namespace) -> int | None:
    """Return what is stated; where nothing is, devices are shared from some number of customers on."""
    if namespace.shared_after is None and namespace.kind == "device":
        return DEVICE_SHARED_AFTER
    return namespace.shared_after


def _limit(limit: Limit) -> LimitRule:
    within = None if limit.within == "ever" else _microseconds(limit.within)
    return LimitRule(count=limit.count, within_us=within)


def _microseconds(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return min(parse_duration(text), _LONGEST) // _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise WorkspaceError(Fault(code="P353", message=f"identity: {error}")) from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        message = f"identity: blocked value {text!r} is no pattern: {error}."
        raise WorkspaceError(Fault(code="P353", message=message)) from error
