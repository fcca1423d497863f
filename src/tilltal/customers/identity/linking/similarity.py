"""How alike two texts are: the same figures as DuckDB's functions of these names, in plain Python.

Jaro-Winkler after Winkler (1990), prefix of four letters, scale 0.1, above 0.7 only. Texts are compared byte
by byte, as DuckDB does, so callers pass `as_bytes(text)`: one letter for each byte of UTF-8. Figures agree to
the last bit but one: DuckDB's compiler may fuse a multiplication with an addition.
"""

from __future__ import annotations

_BOOST_ABOVE = 0.7
_PREFIX = 4
_SCALE = 0.1


def as_bytes(text: str) -> str:
    """Return a text with one letter for each byte of its UTF-8 form; ASCII stays as it is."""
    return text if text.isascii() else text.encode().decode("latin-1")


def jaro(a: str, b: str) -> float:
    """Return Jaro's similarity, 0 to 1."""
    if a == b:
        return 1.0
    if not a or not b:
        return 0.0
    reach = max(max(len(a), len(b)) // 2 - 1, 0)
    taken: list[str] = []
    free = list(b)
    for place, letter in enumerate(a):
        start = place - reach if place > reach else 0
        try:
            found = free.index(letter, start, place + reach + 1)
        except ValueError:
            continue
        free[found] = ""
        taken.append(letter)
    common = len(taken)
    if not common:
        return 0.0
    matched = [letter for letter, left in zip(b, free, strict=True) if not left]
    swapped = sum(one != other for one, other in zip(taken, matched, strict=True)) // 2
    return (common / len(a) + common / len(b) + (common - swapped) / common) / 3.0


def jaro_winkler(a: str, b: str) -> float:
    """Return the similarity of Jaro and Winkler, 0 to 1."""
    plain = jaro(a, b)
    if plain <= _BOOST_ABOVE:
        return plain
    prefix = 0
    for one, other in zip(a[:_PREFIX], b[:_PREFIX], strict=False):
        if one != other:
            break
        prefix += 1
    return plain + prefix * _SCALE * (1.0 - plain)


def is_within_one_slip(a: str, b: str) -> bool:
    """True if one letter changed, missing, too many, or swapped with its neighbour makes `a` of `b`.

    That is Damerau's and Levenshtein's distance of at most 1.
    """
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    at = next((place for place, letter in enumerate(a) if letter != b[place]), len(a))
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    is_swapped = a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :]
    return is_swapped or a[at + 1 :] == b[at + 1 :]
