"""docs/reference/workspace.md lists every key of every kind of file, with its type, default and meaning.

Run this file to write the tables anew after a definition has changed.
"""

import json
import re
from inspect import cleandoc
from pathlib import Path

import msgspec
from msgspec import inspect

from tilltal.workspace.schemas import kinds

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference/workspace.md"
MARK = (
    "<!-- The tables below are made from the definitions: python tests/docs/test_workspace_reference.py -->"
)
KINDS = {
    "settings": "tilltal.yaml",
    "identity": "identity.yaml",
    "source": "sources/<name>.yaml",
    "profile": "profile.yaml",
    "trait": "traits/<name>.yaml",
    "audience": "audiences/<name>.yaml",
    "lifecycle": "lifecycle.yaml",
    "value": "value.yaml",
    "personas": "personas.yaml",
    "micro_segments": "micro_segments.yaml",
    "model": "models/<name>.yaml",
    "action": "actions/<name>/action.yaml",
    "treatment": "actions/<name>/<channel>.<language>.yaml",
    "allocation": "policies/allocation.yaml",
    "arbitration": "policies/arbitration.yaml",
    "consent": "policies/consent.yaml",
    "contact": "policies/contact.yaml",
    "data_use": "policies/data_use.yaml",
    "engagement": "policies/engagement.yaml",
    "sending": "policies/sending.yaml",
    "kpis": "kpis.yaml",
    "cases": "cases/<name>.yaml",
}


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


def page() -> str:
    """All tables, a file under each heading of the second level; what several files share stands once."""
    seen: set[str] = set()
    parts: list[str] = []
    for kind, file in KINDS.items():
        for index, struct in enumerate(structs(inspect.type_info(kinds()[kind]))):
            name = struct.cls.__name__
            heading = f"### {name}" if index else f"## `{file}`"
            if name not in seen:
                parts += [heading, cleandoc(struct.cls.__doc__ or ""), table(struct)]
            seen.add(name)
    return "\n\n".join(parts) + "\n"


def test_every_kind_has_its_heading() -> None:
    assert set(KINDS) == set(kinds())


def test_the_reference_lists_every_key() -> None:
    _, _, written = REFERENCE.read_text(encoding="utf-8").partition(MARK)
    assert written.strip() == page().strip(), f"run `python {Path(__file__).name}` in {Path(__file__).parent}"


if __name__ == "__main__":
    head, _, _ = REFERENCE.read_text(encoding="utf-8").partition(MARK)
    REFERENCE.write_text(f"{head}{MARK}\n\n{page()}", encoding="utf-8")
