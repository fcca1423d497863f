"""The checked tree of an expression: literals, names and calls, each with its type.

Equal trees compute equal values.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import TypeAlias

import msgspec

from tilltal.rules.catalog.forms import Form
from tilltal.rules.types import Type

Value: TypeAlias = bool | int | float | str | date | datetime | None


class Literal(msgspec.Struct, frozen=True):
    """A constant; `None` is NULL. A TIMESTAMP is naive UTC."""

    type: Type
    value: Value


class Name(msgspec.Struct, frozen=True):
    """A column, attribute, trait or segment of the schema."""

    type: Type
    name: str


class Call(msgspec.Struct, frozen=True):
    """An operator or function. With a `form` it computes by the form's templates; else by its own rule."""

    type: Type
    op: str
    args: tuple[Node, ...]
    form: Form | None = None


Node: TypeAlias = Literal | Name | Call


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything below it, parents first."""
    yield node
    if isinstance(node, Call):
        for arg in node.args:
            yield from walk(arg)
