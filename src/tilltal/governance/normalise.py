"""One way of writing each identifier, so that equal ones are equal texts; and which values say nobody.

Every value is trimmed. Then, by the namespace's `normalise`: `email` is lower-cased; `phone` becomes E.164;
`national_id` its country's form. A phone or national id that is none keeps its digits alone: it can still be
compared, if not dialled. Blank and blocked values are unusable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date

import phonenumbers

from tilltal.governance import national_id
from tilltal.workspace.definitions.identity import Identity, Namespace

_NOT_DIGITS = re.compile(r"\D+")


class Normaliser:
    """Normalises identifiers by the rules of `identity.yaml`, as of a day (see `national_id`)."""

    def __init__(self, identity: Identity, today: date) -> None:
        self._blocked = _any_of(identity.blocked_values)
        self._today = today
        self._writers = {namespace.name: self._writer(namespace) for namespace in identity.namespaces}

    def one(self, namespace: str, text: str) -> str | None:
        """Return a value's one form, or None where it is blank or blocked."""
        return self._usable(self._writers[namespace], text)

    def all(self, namespace: str, texts: Iterable[str]) -> list[str | None]:
        """Normalise many values of one namespace; about a million e-mail addresses a second."""
        write = self._writers[namespace]
        return [self._usable(write, text) for text in texts]

    def _usable(self, write: Callable[[str], str], text: str) -> str | None:
        trimmed = text.strip()
        if self._blocked.fullmatch(trimmed):
            return None
        value = write(trimmed)
        return None if value != trimmed and self._blocked.fullmatch(value) else value

    def _writer(self, namespace: Namespace) -> Callable[[str], str]:
        region = namespace.region.upper() if namespace.region else None
        if namespace.normalise == "email":
            return str.lower
        if namespace.normalise == "phone":
            return lambda text: _phone(text, region)
        if namespace.normalise == "national_id":
            return lambda text: national_id.canonical(text, region, self._today) or _digits(text)
        return str


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in ("", *patterns)), re.IGNORECASE)


def _phone(text: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return _digits(text)
    if not phonenumbers.is_possible_number(number):
        return _digits(text)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _digits(text: str) -> str:
    return _NOT_DIGITS.sub("", text)
