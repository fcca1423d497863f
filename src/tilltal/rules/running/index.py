"""An index of conditions on one subject: ask once where the value lies, learn which rules survive.

Conditions that compare one subject (a trait, or any scalar expression) with literals change their answer only
at those literals. Between two neighbouring cuts all values answer alike, so each region's answer is found
beforehand, by evaluating the conditions themselves on one value of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tilltal.rules.running.coder import Coder, is_nullable
from tilltal.rules.tree import Call, Literal, Node, Value
from tilltal.rules.types import Type

_ORDERING = frozenset(("<", "<=", ">", ">=", "BETWEEN"))
_OTHER: Any = object()  # a value that is none of those a condition asks for


def subject_of(condition: Node) -> Node | None:
    """Return the one subject that a condition compares with literals, None if it has several or does more."""
    if isinstance(condition, Literal):
        return None
    if not isinstance(condition, Call) or condition.form is not None:
        return condition
    match condition.op:
        case "NOT" | "AND" | "OR" | "IS TRUE" | "IS FALSE":
            subjects = {subject_of(arg) for arg in condition.args}
            return subjects.pop() if len(subjects) == 1 else None
        case "IS NULL":
            return None if isinstance(condition.args[0], Literal) else _behind(condition.args[0])
        case "=" | "<>" | "<" | "<=" | ">" | ">=" | "IN" | "BETWEEN":
            compared = [arg for arg in condition.args if not isinstance(arg, Literal)]
            return _behind(compared[0]) if len(compared) == 1 else None  # a < a asks more than where a lies
    return _behind(condition) if condition.op in ("CASE", "COALESCE", "NULLIF") else None


def _behind(node: Node) -> Node:
    """Return what a node shows or, where that is NULL, literals instead: its answers too follow from that."""
    if isinstance(node, Call) and node.op == "COALESCE":
        shown, *others = node.args
        if not isinstance(shown, Literal) and all(isinstance(other, Literal) for other in others):
            return _behind(shown)
    return node


def write_index(coder: Coder, subject: Node, needs: Mapping[Node, int], everyone: int) -> str:
    """Return code for the mask of rules that the subject's value leaves standing.

    Args:
        coder: Writes the fused function; the index's tables go into its scope.
        subject: What all the conditions compare.
        needs: Condition → mask of the rules that need it.
        everyone: The mask of all rules.
    """
    survivors = _survivors(subject, needs, everyone)
    name = coder.variable(subject)
    values = {value for condition in needs for value in _literals(condition, subject)}
    absent = [None] if is_nullable(subject) else []
    is_pointwise = all(_is_pointwise(condition, subject) for condition in needs)
    if is_pointwise or subject.type is Type.BOOLEAN or not values:
        points = [True, False] if subject.type is Type.BOOLEAN else [*values]
        table = {value: survivors(value) for value in (*points, *absent)}
        return f"{coder.constant(table)}.get({name}, {survivors(_OTHER):#x})"
    cuts = sorted(values | {after for value in values if (after := _after(value)) is not None})
    first, borders = survivors(_before(cuts[0])), list[tuple[Any, int]]()
    for cut in cuts:
        mask = survivors(cut)
        if mask != (borders[-1][1] if borders else first):
            borders.append((cut, mask))
    found = _region(name, first, [(coder.literal(cut), mask) for cut, mask in borders])
    return f"({survivors(None):#x} if {name} is None else {found})" if absent else found


def _region(name: str, first: int, borders: Sequence[tuple[str, int]]) -> str:
    """Return code for the mask of the last border that a value has reached, or the first mask: by halves."""
    if not borders:
        return hex(first)
    middle = len(borders) // 2
    cut, mask = borders[middle]
    below, above = _region(name, first, borders[:middle]), _region(name, mask, borders[middle + 1 :])
    return f"({below} if {name} < {cut} else {above})"


def _survivors(subject: Node, needs: Mapping[Node, int], everyone: int) -> Callable[[Value], int]:
    """Compile the conditions on the subject as they stand."""
    coder = Coder(str)
    coder.known[subject] = "value"
    tests = [
        f"if not {coder.is_true(condition)}: mask &= {everyone & ~mask}" for condition, mask in needs.items()
    ]
    function, _ = coder.function([f"mask = {everyone}", *tests, "return mask"], "value")

    def survivors(value: Value) -> int:
        mask = function(value, None)
        assert isinstance(mask, int)
        return mask

    return survivors


def _literals(condition: Node, subject: Node) -> Iterator[Any]:
    """Yield the values a condition compares its subject with."""
    if condition == subject or not isinstance(condition, Call):
        return
    for arg in condition.args:
        if isinstance(arg, Literal) and arg.value is not None:
            yield arg.value
        yield from _literals(arg, subject)


def _is_pointwise(condition: Node, subject: Node) -> bool:
    """True if the condition asks only whether the subject is this or that value, never for order."""
    if condition == subject or not isinstance(condition, Call):
        return True
    return condition.op not in _ORDERING and all(_is_pointwise(arg, subject) for arg in condition.args)


def _after(value: Any) -> Any:
    """Return the next value in order: between the two lies none. None if there is no next."""
    try:
        match value:
            case float():
                return math.nextafter(value, math.inf)
            case int():
                return value + 1
            case str():
                return value + "\0"
            case datetime():
                return value + timedelta(microseconds=1)
        return value + timedelta(days=1)
    except OverflowError:
        return None


def _before(value: Any) -> Any:
    """Return a value that comes before; if there is none, the value itself, as nothing will ask."""
    try:
        match value:
            case float():
                return math.nextafter(value, -math.inf)
            case int():
                return value - 1
            case str():
                return ""
            case datetime():
                return value - timedelta(microseconds=1)
        return value - timedelta(days=1)
    except OverflowError:
        return value
