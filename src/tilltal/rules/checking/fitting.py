"""Which types go together, and how a value of one becomes another.

Integers become numbers; untyped values become what is asked.
"""

from __future__ import annotations

from tilltal.rules.catalog.forms import AS_NUMBER, FINITE, FROM_ANY
from tilltal.rules.tree import Call, Literal, Name, Node
from tilltal.rules.types import Type


def fits(node: Node | None, wanted: Type) -> bool:
    """True if the node has, or may become, the wanted type. None (NULL) fits all."""
    return node is None or node.type is wanted or (node.type, wanted) in _BECOMES


_BECOMES = frozenset(
    ((Type.INTEGER, Type.NUMBER), *((Type.ANY, kind) for kind in (Type.NUMBER, Type.TEXT, Type.BOOLEAN)))
)


def shared_type(left: Type, right: Type) -> Type | None:
    """Return the type in which two types meet, None if they do not."""
    if left is right:
        return left
    kinds = {left, right}
    if kinds <= {Type.INTEGER, Type.NUMBER, Type.ANY}:
        return Type.NUMBER
    if Type.ANY in kinds:
        (other,) = kinds - {Type.ANY}
        return other if other in (Type.TEXT, Type.BOOLEAN) else None
    return None


def fit(node: Node | None, wanted: Type, *, keep_unbounded: bool = False) -> Node:
    """Return the node as a value of the wanted type, which it must fit; finite unless arithmetic goes on."""
    if node is None:
        return Literal(wanted, None)
    if node.type is not wanted:
        node = _converted(node, wanted)
    if isinstance(node, Call) and node.form and node.form.is_unbounded:
        goes_on = keep_unbounded and node.form.takes_unbounded
        return node if goes_on else Call(Type.NUMBER, "finite", (node,), FINITE)
    return node


def _converted(node: Node, wanted: Type) -> Node:
    if isinstance(node, Literal):
        value = node.value
        return Literal(wanted, float(value) if isinstance(value, int) else None)
    if node.type is Type.INTEGER:
        return Call(Type.NUMBER, "as number", (node,), AS_NUMBER)
    if isinstance(node, Name):
        return Call(wanted, "as asked", (node,), FROM_ANY[wanted])
    return _choice_of(node, wanted)


def _choice_of(call: Call, wanted: Type) -> Node:
    """An untyped call is a choice (CASE, COALESCE, NULLIF) among untyped names: fit each of them."""
    if call.op == "CASE":
        *branches, otherwise = call.args
        args = (part if i % 2 == 0 else fit(part, wanted) for i, part in enumerate(branches))
        return Call(wanted, "CASE", (*args, fit(otherwise, wanted)))
    return Call(wanted, call.op, tuple(fit(arg, wanted) for arg in call.args))


def misfit_hint(node: Node, wanted: Type) -> str:
    """Say how a value of the node's type might become what is wanted."""
    if isinstance(node, Literal) and node.type is Type.TEXT:
        if wanted in (Type.INTEGER, Type.NUMBER):
            return "Write the number without quotes."
        if wanted is Type.DATE:
            return "Write DATE '2026-05-04'."
        if wanted is Type.TIMESTAMP:
            return "Write TIMESTAMP '2026-05-04 09:30:00'."
    if isinstance(node, Literal) and wanted is Type.BOOLEAN:
        return "Write TRUE or FALSE."
    return _HINTS.get((node.type, wanted), "")


_HINTS = {
    (Type.TIMESTAMP, Type.DATE): "Write DATE_OF(timestamp).",
    (Type.DATE, Type.TIMESTAMP): "Write DATE_OF(timestamp) on the other side.",
    (Type.TEXT, Type.NUMBER): "Write TO_NUMBER(text).",
    (Type.TEXT, Type.INTEGER): "Write TO_NUMBER(text).",
    (Type.NUMBER, Type.INTEGER): "Write ROUND, FLOOR or CEIL of the number.",
    (Type.ANY, Type.INTEGER): "Write ROUND, FLOOR or CEIL of the number.",
    (Type.INTEGER, Type.TEXT): "Write TO_TEXT(integer).",
    (Type.DATE, Type.TEXT): "Write TO_TEXT(date).",
    (Type.BOOLEAN, Type.TEXT): "Write TO_TEXT(flag).",
    (Type.NUMBER, Type.TEXT): "Write TO_TEXT(ROUND(number)).",
    (Type.BOOLEAN, Type.INTEGER): "Write IF(condition, 1, 0).",
    (Type.BOOLEAN, Type.NUMBER): "Write IF(condition, 1, 0).",
    (Type.INTEGER, Type.BOOLEAN): "Compare it: x <> 0.",
    (Type.NUMBER, Type.BOOLEAN): "Compare it: x <> 0.",
    (Type.TEXT, Type.BOOLEAN): "Compare it: x = 'text'.",
    (Type.ANY, Type.DATE): "Give the field the type date in its source.",
    (Type.ANY, Type.TIMESTAMP): "Give the field the type timestamp in its source.",
}
