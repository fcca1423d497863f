"""The words of an audience case: which names its conditions read, and columns for names SQL cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from tilltal.core.errors import WorkspaceError
from tilltal.core.names import quote
from tilltal.rules.grammar import syntax_of
from tilltal.rules.tokens import Source, tokenize

_RESERVED = ("profile", "event_id", "at", "received")  # columns that every stored event has


def written(condition: object) -> str:
    """Return a condition as a case writes it; YAML reads a bare TRUE or null as what they mean."""
    return "NULL" if condition is None else str(condition)


def names_in(condition: str) -> list[str]:
    """Return the names that a condition reads; none where it cannot be read, which is found later."""
    try:
        waiting = [syntax_of(Source(condition))]
    except WorkspaceError:
        return []
    names: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        waiting += reversed(node.args)
        if node.op.startswith("name"):
            names[node.text] = None
    return list(names)


def columns_of(names: Iterable[str]) -> dict[str, str]:
    """Return name → column: columns of SQL differ by more than upper and lower case, and some are taken."""
    columns: dict[str, str] = {}
    taken = set(_RESERVED)
    for name in dict.fromkeys(names):
        column = name
        while column.lower() in taken:
            column += "_"
        columns[name] = column
        taken.add(column.lower())
    return columns


def translated(condition: str, columns: Mapping[str, str]) -> str:
    """Return a condition over columns in place of the case's own names."""
    try:
        tokens = tokenize(Source(condition))
    except WorkspaceError:
        return condition
    for token, after in reversed([*pairwise(tokens)]):
        column = columns.get(token.text, token.text)
        if token.kind in ("name", "quoted") and column != token.text and after.text != "(":
            end = token.at + len(token.text) + (2 if token.kind == "quoted" else 0)
            condition = f"{condition[: token.at]}{quote(column)}{condition[end:]}"
    return condition
