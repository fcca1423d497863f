"""Identifiers and observations: what was seen together, when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.identity.rules import Rules


class Identifier(msgspec.Struct, frozen=True, order=True):
    """A value of a namespace, such as `crm:K-100`."""

    namespace: str
    value: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.value}"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Identifiers seen together, as they were written.

    `at` and `last_at` are aware instants; `last_at` is set where one stands for several equal observations.
    """

    id: str
    at: datetime
    ids: tuple[Identifier, ...]
    last_at: datetime | None = None


def parse_identifier(text: str) -> Identifier:
    """Read `namespace:value`.

    Raises:
        DataError: P351 if it is not written so.
    """
    namespace, colon, value = text.partition(":")
    if not (namespace and colon and value):
        raise DataError.of(
            "P351", f"{text!r} is no identifier.", hint="Write namespace:value, such as crm:K-100."
        )
    return Identifier(namespace, value)


def normalised(identifier: Identifier, rules: Rules) -> Identifier:
    """Return the identifier trimmed, and in lower case where its namespace says so.

    Raises:
        DataError: P350 for an unknown namespace.
    """
    value = identifier.value.strip()
    namespace = rules.namespaces[rules.number(identifier.namespace)]
    return Identifier(identifier.namespace, value.lower() if namespace.is_lower_case else value)


def is_blocked(value: str, rules: Rules) -> bool:
    """True for a blank value and one that matches a blocked pattern over its whole length."""
    trimmed = value.strip()
    return not trimmed or any(pattern.fullmatch(trimmed) for pattern in rules.blocked)


def accepted(ids: Iterable[Identifier], rules: Rules) -> tuple[Identifier, ...]:
    """Return the usable identifiers, normalised, each once, highest priority first."""
    usable = {normalised(one, rules) for one in ids if not is_blocked(one.value, rules)}
    return tuple(sorted(usable, key=lambda one: (rules.number(one.namespace), one.value)))
