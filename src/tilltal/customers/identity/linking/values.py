"""Values as they are compared: what people write differently without meaning anything by it is gone."""

from __future__ import annotations

import unicodedata

from tilltal.workspace.definitions.identity import Comparison

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)


def folded(text: str) -> str:
    """Return a text in lower case without accents.

    >>> folded("Åsa Łoś")
    'asa los'
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).translate(_LETTERS)


def comparable(kind: Comparison, text: str) -> str | None:
    """Return a value as it is compared, or None where nothing is left of it.

    Args:
        kind: how the field is compared.
        text: the value as it was told; a date in ISO form or of digits.

    >>> comparable("name", "  O'Neill-Åberg ")
    'oneillaberg'
    >>> comparable("date", "1964-02-29")
    '19640229'
    """
    plain = folded(text)
    if kind == "email":
        kept = "".join(plain.split())
    elif kind == "date":
        kept = "".join(letter for letter in plain[:10] if letter in "0123456789")
    elif kind in ("number", "postcode"):
        kept = "".join(letter for letter in plain if letter.isascii() and letter.isalnum())
    else:
        kept = "".join(letter for letter in plain if letter.isalnum())
    return kept or None
