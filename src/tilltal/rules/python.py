"""Expressions into Python functions: one expression on one profile, or many conditions fused into one pass.

Fusing follows the predicate indexes of publish/subscribe systems (Fabret et al., "Filtering Algorithms and
Implementation for Very Fast Publish/Subscribe Systems", SIGMOD 2001): every rule is alive at first; each
condition that is not TRUE clears the bits of the rules that need it. Conditions on the same subject share one
look-up (`index`); the others are evaluated once each. All that only while a rule that needs it is alive, so
that a few rules asked for alone cost little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_

from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.running.coder import Coder
from tilltal.rules.running.index import subject_of, write_index
from tilltal.rules.tree import Call, Literal, Name, Node
from tilltal.rules.types import Type

_TOGETHER = 4  # look-ups for which it is asked once whether a rule that needs one is alive


def to_python(expression: Expression) -> Callable[[Mapping[str, object], Clock], object]:
    """Compile an expression to a function of named values and the clock.

    A name that the mapping lacks is NULL. Values are as `types` tells; instants are naive UTC.
    """
    coder = Coder(lambda name: f"values.get({name!r})")
    result = coder.value(expression.tree)
    function, _ = coder.function([f"return {result}"], "values")
    return function


class FusedRules:
    """Many conditions in one function; `text` is its source, to look at."""

    __slots__ = ("_everyone", "_function", "names", "text")

    def __init__(self, names: tuple[str, ...], function: Callable[..., object], text: str) -> None:
        self.names = names
        self.text = text
        self._function = function
        self._everyone = (1 << len(names)) - 1

    def __call__(self, values: Sequence[object], clock: Clock, among: int | None = None) -> int:
        """Return a mask whose bit i is set where condition i of `names` is TRUE for a profile.

        Args:
            values: The profile's values by slot, None for NULL; types as `types` tells, instants naive UTC.
            clock: What NOW() and TODAY() mean.
            among: The mask of the conditions that are asked for; the bits of others are 0.
        """
        mask = self._function(values, self._everyone if among is None else among, clock)
        assert isinstance(mask, int)
        return mask

    def true_names(self, mask: int) -> tuple[str, ...]:
        """Return the names of the conditions whose bits are set."""
        return tuple(name for bit, name in enumerate(self.names) if mask >> bit & 1)


def fuse(conditions: Mapping[str, Expression], slots: Mapping[str, int]) -> FusedRules:
    """Compile conditions to one function of a profile's values.

    Args:
        conditions: Name → condition; bit i of the result belongs to the i-th.
        slots: Where each name of the conditions lies among the values.

    Raises:
        ValueError: if an expression is no condition.
    """
    for name, expression in conditions.items():
        if expression.type is not Type.BOOLEAN:
            raise ValueError(f"{name} gives: {expression.type}; only conditions can be fused")
    coder = Coder(lambda name: f"values[{slots[name]}]")
    everyone = (1 << len(conditions)) - 1
    indexed, single = _grouped(_needs(conditions.values()))
    uses = _uses((*single, *indexed))
    for node, count in uses.items():
        if isinstance(node, Name) and count == 1 and node not in indexed:
            coder.known[node] = coder.load(node.name)  # where it is used
        elif isinstance(node, Call) and count > 1:
            coder.variable(node)
    body: list[str] = []
    groups = list(indexed.items())
    for first in range(0, len(groups), _TOGETHER):
        together = groups[first : first + _TOGETHER]
        found = [write_index(coder, subject, needs, everyone) for subject, needs in together]
        concerned = reduce(or_, (mask for _, needs in together for mask in needs.values()))
        body.append(f"if mask & {concerned:#x}: mask &= {' & '.join(found)}")
    line, lives = coder.octets("mask", len(conditions), len(single))
    body.append(line)
    for condition, mask in sorted(single.items(), key=lambda item: -item[1].bit_count()):
        body.append(f"if {lives(mask)} and not {coder.is_true(condition)}: mask &= {everyone & ~mask:#x}")
    function, text = coder.function([*body, "return mask"], "values, mask")
    return FusedRules(tuple(conditions), function, text)


def fuse_values(
    expressions: Mapping[int, tuple[Expression, int]], default: float, slots: Mapping[str, int], bits: int
) -> Callable[..., object]:
    """Compile expressions to one function of a profile's values, a mask, an array of numbers and the clock.

    It puts each number in its place in the array if the mask has one of its bits.

    Args:
        expressions: Place → expression of a number, and its bits.
        default: What NULL is.
        slots: Where each name of the expressions lies among the values.
        bits: How many the mask has.
    """
    coder = Coder(lambda name: f"values[{slots[name]}]")
    line, has = coder.octets("mask", bits, len(expressions))
    body = [
        f"if {has(mask)}: found[{place}] = {coder.value_or(each.tree, default)}"
        for place, (each, mask) in expressions.items()
    ]
    function, _ = coder.function([line, *body, "return None"], "values, mask, found")
    return function


def _needs(expressions: Iterable[Expression]) -> dict[Node, int]:
    """Return each distinct condition that some rule needs, with the mask of those rules."""
    needs: dict[Node, int] = {}
    for bit, expression in enumerate(expressions):
        for condition in _conjuncts(expression.tree):
            needs[condition] = needs.get(condition, 0) | 1 << bit
    return needs


def _conjuncts(tree: Node) -> Iterator[Node]:
    """Split a condition into those that must all be TRUE."""
    if isinstance(tree, Call) and tree.op in ("AND", "IS TRUE"):
        for arg in tree.args:
            yield from _conjuncts(arg)
    elif tree != Literal(Type.BOOLEAN, True):
        yield tree


def _grouped(needs: Mapping[Node, int]) -> tuple[dict[Node, dict[Node, int]], dict[Node, int]]:
    """Separate conditions that share their subject with another from the single ones."""
    groups: dict[Node, dict[Node, int]] = {}
    single: dict[Node, int] = {}
    for condition, mask in needs.items():
        subject = subject_of(condition)
        home = single if subject is None else groups.setdefault(subject, {})
        home[condition] = mask
    for subject in [subject for subject, group in groups.items() if len(group) == 1]:
        single |= groups.pop(subject)
    return groups, single


def _uses(nodes: Iterable[Node]) -> dict[Node, int]:
    """Return in how many places each name and call is used, innermost first."""
    uses: Counter[Node] = Counter()
    order: dict[Node, None] = {}

    def visit(node: Node) -> None:
        uses[node] += 1
        if uses[node] == 1:
            for arg in node.args if isinstance(node, Call) else ():
                visit(arg)
            order[node] = None

    for node in nodes:
        visit(node)
    return {node: uses[node] for node in order}
