"""Checks a YAML tree against the shape of a definition and makes the definition.

One walker for all kinds: it reads the shape from the definition's own types, so a new kind or key needs no
code here. Every fault of the file is found, each at the key or value it is about.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from tilltal.core.errors import Fault, Place, WorkspaceError, nearest
from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.document import Document, Listing, Mapping, Node, Scalar

D = TypeVar("D", bound=Definition)

_MAX_DIGITS = 18  # fits a 64-bit integer


def shape(document: Document, definition: type[D]) -> D:
    """Make a definition of a file's tree.

    Raises:
        WorkspaceError: with every fault of the file.
    """
    walk = _Walk(document.file)
    data = walk.value(document.root, _type_info(definition), "the file")
    if walk.faults:
        raise WorkspaceError(*walk.faults)
    try:
        return msgspec.convert(data, definition)
    except msgspec.ValidationError as error:
        message = f"The file does not have the right shape: {error}."
        raise WorkspaceError.of("W112", message, place=document.place()) from error


@cache
def _type_info(definition: type[Definition]) -> inspect.Type:
    return inspect.type_info(definition)


class _Walk:
    """Turns nodes into plain values, collecting faults; the value of a faulty node is never used."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []

    def value(self, node: Node, kind: inspect.Type, label: str) -> object:
        match kind:
            case inspect.Metadata():
                return self.value(node, kind.type, label)
            case inspect.UnionType():
                return self._union(node, kind, label)
            case inspect.StructType() if isinstance(node, Mapping):
                return self._struct(node, kind)
            case inspect.DictType() if isinstance(node, Mapping):
                return {
                    key.text: self.value(one, kind.value_type, f"`{key.text}`") for key, one in node.items
                }
            case inspect.VarTupleType() if isinstance(node, Listing):
                return [self.value(item, kind.item_type, f"an item of {label}") for item in node.items]
            case inspect.TupleType() if isinstance(node, Listing):
                return self._tuple(node, kind, label)
        if isinstance(node, Scalar) and _accepts(kind, node):
            return self._scalar(node, kind, label)
        self._wrong_type(node, kind, label)
        return None

    def _struct(self, node: Mapping, kind: inspect.StructType) -> dict[str, object]:
        fields = {field.encode_name: field for field in kind.fields}
        data: dict[str, object] = {}
        for key, below in node.items:
            if key.text in fields:
                data[key.text] = self.value(below, fields[key.text].type, f"`{key.text}`")
            else:
                self._unknown_key(key, [name for name in fields if name not in data])
        missing = [name for name, field in fields.items() if field.required and name not in data]
        for name in missing:
            self._fault(node, "W111", f"The key `{name}` is missing.", hint=_hint_of(fields[name].type))
        return data

    def _union(self, node: Node, kind: inspect.UnionType, label: str) -> object:
        options = [option for option in kind.types if _fits(option, node)]
        if options:
            return self.value(node, options[0], label)
        named = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
        if len(named) == 1:
            return self.value(node, named[0], label)
        self._wrong_type(node, kind, label)
        return None

    def _tuple(self, node: Listing, kind: inspect.TupleType, label: str) -> list[object]:
        if len(node.items) != len(kind.item_types):
            wanted, got = len(kind.item_types), len(node.items)
            self._fault(node, "W115", f"{_subject(label)} must have {wanted} items and has {got}.")
        pairs = zip(node.items, kind.item_types, strict=False)
        return [self.value(item, below, f"an item of {label}") for item, below in pairs]

    def _scalar(self, node: Scalar, kind: inspect.Type, label: str) -> object:
        match kind:
            case inspect.LiteralType():
                return self._literal(node, kind, label)
            case inspect.IntType():
                return self._range(node, kind, _integer(node.text), label)
            case inspect.FloatType():
                return self._range(node, kind, _number(node), label)
            case inspect.BoolType():
                return node.text.lower() == "true"
            case inspect.NoneType():
                return None
            case _:
                return node.text

    def _literal(self, node: Scalar, kind: inspect.LiteralType, label: str) -> str:
        values = [str(value) for value in kind.values]
        if node.text not in values:
            message = f"{_subject(label)} cannot be {node.text!r}."
            self._fault(node, "W113", message, valid=_all_or_nearest(node.text, values))
        return node.text

    def _range(
        self, node: Scalar, kind: inspect.IntType | inspect.FloatType, number: float | None, label: str
    ) -> float | None:
        if number is None or math.isinf(number) or math.isnan(number):
            message = f"{_subject(label)} must be a finite number of at most {_MAX_DIGITS} digits."
            self._fault(node, "W114", message)
        elif not _is_inside(kind, number):
            self._fault(node, "W114", f"{_subject(label)} must be {_borders(kind)}, not {node.text}.")
        return number

    def _unknown_key(self, key: Scalar, valid: list[str]) -> None:
        hint = "YAML 1.2 has no merge keys; repeat the keys." if key.text == "<<" else ""
        choice = nearest(key.text, valid) or tuple(valid)
        self._fault(key, "W110", f"There is no key `{key.text}` here.", choice, hint)

    def _wrong_type(self, node: Node, kind: inspect.Type, label: str) -> None:
        message = f"{_subject(label)} must be {_name_of(kind)}, not {_name_of_node(node)}."
        self._fault(node, "W112", message, hint=_quote_hint(node, kind))

    def _fault(
        self, node: Node, code: str, message: str, valid: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        place = Place(file=self.file, line=node.line, column=node.column)
        self.faults.append(Fault(code=code, message=message, place=place, valid=valid, hint=hint))


def _accepts(kind: inspect.Type, node: Scalar) -> bool:
    """True where a scalar of that kind can be the type; a whole number is a number, too."""
    match kind:
        case inspect.StrType() | inspect.LiteralType():
            return node.kind == "text"
        case inspect.IntType():
            return node.kind == "integer"
        case inspect.FloatType():
            return node.kind in ("integer", "number")
        case inspect.BoolType():
            return node.kind == "boolean"
        case inspect.NoneType():
            return node.kind == "null"
        case _:
            return False


def _fits(kind: inspect.Type, node: Node) -> bool:
    match kind:
        case inspect.Metadata():
            return _fits(kind.type, node)
        case inspect.StructType() | inspect.DictType():
            return isinstance(node, Mapping)
        case inspect.VarTupleType() | inspect.TupleType():
            return isinstance(node, Listing)
        case _:
            return isinstance(node, Scalar) and _accepts(kind, node)


def _name_of(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _name_of(kind.type)
        case inspect.UnionType():
            named = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
            return " or ".join(dict.fromkeys(_name_of(option) for option in named))
        case inspect.StructType():
            return f"a mapping with {', '.join(f'`{field.encode_name}`' for field in kind.fields[:4])}"
        case inspect.DictType():
            return "a mapping (`key: value`)"
        case inspect.VarTupleType() | inspect.TupleType():
            return "a list"
        case inspect.LiteralType():
            return " or ".join(str(value) for value in sorted(kind.values, key=str))
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.BoolType():
            return "true or false"
        case _:
            return "text"


def _name_of_node(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    if node.kind == "null":
        return "empty"
    shown = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return f"the {node.kind} {shown!r}" if node.kind == "text" else f"the {node.kind} {shown}"


def _quote_hint(node: Node, kind: inspect.Type) -> str:
    if isinstance(node, Scalar) and node.kind not in ("text", "null") and "text" in _name_of(kind):
        return f"Put it in quotes: '{node.text}'."
    if isinstance(node, Scalar) and node.kind == "text" and _name_of(kind) == "true or false":
        return "Only true and false are booleans."
    if isinstance(node, Scalar) and node.kind != "null" and _name_of(kind) == "a list":
        return f"Write [{node.text}]."
    return ""


def _hint_of(kind: inspect.Type) -> str:
    """The key's own description, where its definition gives one."""
    if isinstance(kind, inspect.Metadata) and kind.extra_json_schema:
        return str(kind.extra_json_schema.get("description", ""))
    return ""


def _all_or_nearest(text: str, values: list[str]) -> tuple[str, ...]:
    return tuple(sorted(values)) if len(values) <= 12 else nearest(text, values)


def _subject(label: str) -> str:
    return label[0].upper() + label[1:]


def _integer(text: str) -> int | None:
    if len(text.lstrip("+-")) > _MAX_DIGITS:
        return None
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _number(node: Scalar) -> float | None:
    if node.kind == "integer":
        return _integer(node.text)
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special.get(node.text.lower()) if node.text.lower() in special else float(node.text)


def _is_inside(kind: inspect.IntType | inspect.FloatType, number: float) -> bool:
    return (
        (kind.ge is None or number >= kind.ge)
        and (kind.gt is None or number > kind.gt)
        and (kind.le is None or number <= kind.le)
        and (kind.lt is None or number < kind.lt)
    )


def _borders(kind: inspect.IntType | inspect.FloatType) -> str:
    parts = [
        ("at least", kind.ge),
        ("above", kind.gt),
        ("at most", kind.le),
        ("below", kind.lt),
    ]
    return " and ".join(f"{word} {border}" for word, border in parts if border is not None)
