"""LIKE patterns: `%` is any text, `_` one character, all else itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Piece: TypeAlias = tuple[str | None, ...]  # characters between two `%`; None is `_`


def pieces_of(pattern: str, escape: str) -> tuple[Piece, ...]:
    """Split a pattern at its `%`.

    Raises:
        ValueError: if the escape sign stands before anything but `%`, `_` or itself.
    """
    pieces: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            literal = next(characters, "")
            if literal not in ("%", "_", escape):
                raise ValueError(f"{escape!r} must stand before %, _ or itself")
            pieces[-1].append(literal)
        elif character == "%":
            pieces.append([])
        else:
            pieces[-1].append(None if character == "_" else character)
    return tuple(tuple(piece) for piece in pieces)


def matcher(pattern: str, escape: str) -> Callable[[str], object]:
    """Compile a pattern to a function of the text whose result is true where it fits.

    Each inner piece takes its leftmost place and never looks back (an atomic group), so no pattern makes a
    text cost more than its length times the pattern's.
    """
    pieces = pieces_of(pattern, escape)
    if len(pieces) == 1:
        return re.compile(_expression(pieces[0]), re.DOTALL).fullmatch
    first, *inner, last = pieces
    middle = "".join(f"(?>.*?{_expression(piece)})" for piece in inner if piece)
    return re.compile(f"{_expression(first)}{middle}.*{_expression(last)}", re.DOTALL).fullmatch


def plain_text(pattern: str, escape: str) -> tuple[str, str, str] | None:
    """Return what a simple pattern asks as (kind, text, text).

    The kind is `is`, `ends` or `holds`; None if the pattern is not simple.
    """
    pieces = pieces_of(pattern, escape)
    if any(character is None for piece in pieces for character in piece):
        return None
    texts = ["".join(character or "" for character in piece) for piece in pieces]
    match texts:
        case [text]:
            return "is", text, ""
        case [start, end]:
            return "ends", start, end
        case ["", text, ""]:
            return "holds", text, ""
    return None


def _expression(piece: Piece) -> str:
    return "".join("." if character is None else re.escape(character) for character in piece)
