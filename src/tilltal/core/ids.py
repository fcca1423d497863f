"""Pseudonymous ids: 63-bit numbers inside, short readable text outside.

A token stands for one identifier (namespace and value); a profile's id is the token of its leading
identifier. Neither says anything about the person without the vault's key.
"""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LENGTH = 13
_PAIRS = tuple(one + other for one in _ALPHABET for other in _ALPHABET)
_SHIFTS = range(10 * (_LENGTH // 2 - 1), -1, -10)  # of pairs; one letter goes before them


def profile_text(profile: int) -> str:
    """Write a profile id for people: `p` and 13 letters.

    >>> profile_text(0)
    'p0000000000000'
    """
    pairs = "".join([_PAIRS[(profile >> shift) & 1023] for shift in _SHIFTS])
    return f"p{_ALPHABET[(profile >> 60) & 31]}{pairs}"


def parse_profile(text: str) -> int:
    """Read what `profile_text` wrote.

    Raises:
        ValueError: if the text is no profile id.
    """
    body = text.strip().lower()
    if len(body) != _LENGTH + 1 or body[0] != "p" or any(letter not in _VALUES for letter in body[1:]):
        raise ValueError(f"{text!r} is no profile id; one looks like {profile_text(123456789)}")
    number = 0
    for letter in body[1:]:
        number = number << 5 | _VALUES[letter]
    if number >> 63:
        raise ValueError(f"{text!r} is no profile id; its number is too large")
    return number
