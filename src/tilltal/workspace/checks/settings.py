"""Checks `tilltal.yaml` and `identity.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from tilltal.core.errors import Fault, nearest
from tilltal.core.money import CURRENCIES
from tilltal.core.time import parse_clock, parse_duration
from tilltal.workspace.checks.scope import At, Scope, read_pattern, read_zone
from tilltal.workspace.definitions.identity import Correction, Namespace

_UTC = ZoneInfo("UTC")
_MEMORY = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B|%)\Z", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z0-9]+)*\Z")


def check_settings(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `tilltal.yaml`."""
    at, settings = At(scope.workspace, "tilltal.yaml"), scope.workspace.settings
    yield from at.readable(settings.time_zone, read_zone, "time_zone")
    if settings.currency not in CURRENCIES:
        message = f"{settings.currency!r} is no ISO 4217 currency code; write one such as 'SEK'."
        yield at.fault("W122", message, "currency", valid=_currencies_like(settings.currency))
    yield from at.readable(settings.as_of, _read_as_of, "as_of")
    yield from at.readable(settings.engine.memory_limit, _read_memory, "engine", "memory_limit")
    yield from at.readable(settings.server.keep_decisions, parse_duration, "server", "keep_decisions")
    yield from at.readable(settings.server.keep_changes, parse_duration, "server", "keep_changes")
    if settings.engine.threads is not None and settings.engine.threads < 1:
        yield at.fault("W114", "`threads` must be at least 1.", "engine", "threads")
    for key, items in (("languages", settings.languages), ("channels", settings.channels)):
        if not items:
            yield at.fault("W121", f"`{key}` needs at least one name.", key)
        for index, name in enumerate(items):
            yield from at.plain(key.removesuffix("s"), name, key, index)


def check_identity(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `identity.yaml`; none where the namespaces are derived from the sources."""
    at, identity = At(scope.workspace, "identity.yaml"), scope.workspace.identity
    if "identity.yaml" not in scope.workspace.documents:
        return
    if not identity.namespaces:
        yield at.fault("W121", "`namespaces` needs at least one namespace.", "namespaces")
    seen: set[str] = set()
    for index, namespace in enumerate(identity.namespaces):
        if namespace.name in seen:
            message = f"The namespace {namespace.name!r} is in the list twice."
            yield at.fault("W133", message, "namespaces", index, "name")
        seen.add(namespace.name)
        yield from _namespace(at, namespace, index)
    for index, pattern in enumerate(identity.blocked_values):
        yield from at.readable(pattern, read_pattern, "blocked_values", index)
    if identity.max_ids_per_person is not None and identity.max_ids_per_person < 1:
        yield at.fault("W114", "`max_ids_per_person` must be at least 1.", "max_ids_per_person")
    yield from at.readable(identity.anonymous_vouch, parse_duration, "anonymous_vouch")
    yield from at.readable(identity.anonymous_lookback, parse_duration, "anonymous_lookback")
    for index, correction in enumerate(identity.corrections):
        yield from _correction(at, correction, index, seen)


def _namespace(at: At, namespace: Namespace, index: int) -> Iterator[Fault]:
    path = ("namespaces", index)
    yield from at.plain("namespace", namespace.name, *path, "name")
    if namespace.normalise in ("phone", "national_id") and namespace.region is None:
        message = f"Normalising a {namespace.normalise} needs its country."
        yield at.fault("W121", message, *path, "normalise", hint="Add `region`, such as SE.")
    if namespace.region is not None and not re.match(r"[A-Z]{2}\Z", namespace.region):
        message = f"{namespace.region!r} is no ISO 3166 country code; write one such as SE."
        yield at.fault("W122", message, *path, "region")
    if namespace.shared_after is not None and namespace.shared_after < 2:
        yield at.fault("W114", "`shared_after` must be at least 2.", *path, "shared_after")
    if namespace.limit is not None and namespace.limit.within != "ever":
        yield from at.readable(namespace.limit.within, parse_duration, *path, "limit", "within")


def _correction(at: At, correction: Correction, index: int, namespaces: set[str]) -> Iterator[Fault]:
    path = ("corrections", index)
    keys = {"revoke": correction.revoke, "forbid": correction.forbid, "same_as": correction.same_as}
    yield from at.one_of(keys, *path)
    for key, pair in (("forbid", correction.forbid), ("same_as", correction.same_as)):
        for place, identifier in enumerate(pair or ()):
            namespace = identifier.partition(":")[0]
            yield from at.unknown("namespace", namespace, namespaces, *path, key, place)


def _currencies_like(code: str) -> tuple[str, ...]:
    """Return codes of the same letters, as a slip of the pen leaves them, then others that are near."""
    if len(code) != 3:
        return ()
    same = [one for one in sorted(CURRENCIES) if sorted(one) == sorted(code.upper())]
    return tuple(dict.fromkeys((*same, *nearest(code.upper(), CURRENCIES))))[:3]


def _read_as_of(text: str) -> None:
    if text in ("now", "last_event"):
        return
    try:
        parse_clock(text, _UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no instant; write 'now', 'last_event' or one such as '2026-05-04T06:00:00Z'"
        raise ValueError(message) from error


def _read_memory(text: str) -> None:
    if not _MEMORY.match(text):
        raise ValueError(f"{text!r} is no amount of memory; write one such as '4GB'")
