"""What is compared and which records are: `linking` of identity.yaml, compiled."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec

from tilltal.customers.identity.linking.values import comparable
from tilltal.workspace.definitions.identity import Comparison, Linking, blocking_part

Values = tuple[str | None, ...]  # a record: its comparable values, in the order of `LinkPlan.fields`

_VERSION = 1  # of levels and values: weights trained under another do not fit
_SEPARATOR = "\x1f"


class FieldPlan(msgspec.Struct, frozen=True):
    """A compared field."""

    name: str
    kind: Comparison


class Part(msgspec.Struct, frozen=True):
    """A part of a blocking list: a field's position, and how many letters of it (None: all)."""

    field: int
    letters: int | None


class LinkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that linking needs to know of the definitions. `content` names what weights depend on."""

    fields: tuple[FieldPlan, ...]
    blocking: tuple[tuple[Part, ...], ...]
    blocked: tuple[re.Pattern[str], ...]
    auto_link: float
    review: float
    max_block: int
    max_records: int
    content: str

    def values(self, told: Mapping[str, str]) -> Values:
        """Return a record's comparable values from its fields as they were told."""
        return tuple(
            None if (text := told.get(one.name)) is None else self._value(one.kind, text)
            for one in self.fields
        )

    def _value(self, kind: Comparison, text: str) -> str | None:
        if any(pattern.fullmatch(text.strip()) for pattern in self.blocked):
            return None
        return comparable(kind, text)

    def blocks(self, values: Values) -> list[str]:
        """Return the keys under which a record is found; two records are compared if they share one."""
        keys = (self.block(number, values) for number in range(len(self.blocking)))
        return [key for key in keys if key is not None]

    def block(self, number: int, values: Values) -> str | None:
        """Return the key of one blocking list, or None where a value is missing."""
        pieces = [str(number)]
        for part in self.blocking[number]:
            value = values[part.field]
            if value is None:
                return None
            pieces.append(value if part.letters is None else value[: part.letters])
        return _SEPARATOR.join(pieces)


def compile_linking(linking: Linking, blocked: tuple[re.Pattern[str], ...] = ()) -> LinkPlan:
    """Compile the definitions.

    Args:
        linking: checked definitions.
        blocked: patterns of values that say nothing, as of identifiers.

    Raises:
        ValueError: if a blocking list names a field that is not compared.
    """
    names = list(linking.compare)
    blocking = tuple(tuple(_part(text, names) for text in parts) for parts in linking.blocking)
    named = msgspec.json.encode([_VERSION, list(linking.compare.items()), linking.blocking])
    return LinkPlan(
        fields=tuple(FieldPlan(name, kind) for name, kind in linking.compare.items()),
        blocking=blocking,
        blocked=blocked,
        auto_link=linking.auto_link,
        review=linking.review,
        max_block=linking.max_block,
        max_records=linking.max_records,
        content=hashlib.sha256(named).hexdigest()[:16],
    )


def _part(text: str, names: list[str]) -> Part:
    name, letters = blocking_part(text)
    return Part(names.index(name), letters)
