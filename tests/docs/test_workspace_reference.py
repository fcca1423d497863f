"""docs/reference/workspace.md lists every key of every kind of file, with its type, default and meaning."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.schemas import kinds

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference/workspace.md"


def structs(kind: inspect.Type) -> list[inspect.StructType]:
    """The struct itself and those inside it, in the order of their keys."""
    match kind:
        case inspect.Metadata():
            return structs(kind.type)
        case inspect.UnionType():
            return [found for option in kind.types for found in structs(option)]
        case inspect.DictType():
            return structs(kind.value_type)
        case inspect.VarTupleType():
            return structs(kind.item_type)
        case inspect.StructType():
            return [kind, *(found for field in kind.fields for found in structs(field.type))]
        case _:
            return []


def type_text(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return type_text(kind.type)
        case inspect.UnionType():
            named = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
            return " or ".join(dict.fromkeys(type_text(option) for option in named))
        case inspect.StructType():
            return kind.cls.__name__
        case inspect.DictType():
            return f"name → {type_text(kind.value_type)}"
        case inspect.VarTupleType():
            return f"list of {type_text(kind.item_type)}"
        case inspect.TupleType():
            return "pair of text"
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in sorted(kind.values, key=str))
        case inspect.IntType():
            return "whole number"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
        case _:
            return "text"


def default_text(field: inspect.Field) -> str:
    if field.required:
        return "**needed**"
    default = field.default_factory() if callable(field.default_factory) else field.default
    if default is None or default in ((), {}, "") or isinstance(default, msgspec.Struct):
        return ""
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def meaning(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata) and kind.extra_json_schema:
        return str(kind.extra_json_schema.get("description", ""))
    return ""


def table(kind: inspect.StructType) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for field in kind.fields:
        cells = (f"`{field.encode_name}`", type_text(field.type), default_text(field), meaning(field.type))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return re.sub(r" +\|", " |", "\n".join(rows))


@pytest.mark.parametrize(("kind", "definition"), kinds().items())
def test_the_reference_lists_every_key(kind: str, definition: type[Definition]) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for struct in structs(inspect.type_info(definition)):
        name = struct.cls.__name__
        assert table(struct) in text, f"{kind}: write this table under {name}:\n\n{table(struct)}\n"
