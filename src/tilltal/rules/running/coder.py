"""The checked tree into Python text.

A condition is written in three ways: code that is true where the condition is TRUE, code that is true where
it is FALSE, and, only where the value itself is asked for, code that gives True, False or None. The first two
need no third value in flight, so NULL logic costs a check for None and nothing more; NOT swaps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date

from tilltal.rules.catalog.forms import FINITE
from tilltal.rules.running import arithmetic, patterns
from tilltal.rules.tree import Call, Literal, Name, Node

_OPPOSITE = {"=": "!=", "<>": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_PYTHON = {"=": "==", "<>": "!="}
_BUILT_IN = ("floor", "ceil", "sqrt", "log", "log10", "fmod")
_OWN = (
    "whole", "remainder", "rounded", "power", "exponential", "number_in", "number_of", "lower", "upper",
    "split_part", "concat", "least", "greatest", "months_between", "years_between", "add_days", "local_time",
)  # fmt: skip


def is_nullable(node: Node) -> bool:
    """True if the node may be NULL."""
    if isinstance(node, Literal):
        return node.value is None
    if isinstance(node, Name):
        return True
    if node.form is not None:
        return node.form.is_partial or any(map(is_nullable, node.args))
    match node.op:
        case "IS NULL" | "IS TRUE" | "IS FALSE" | "CONCAT" | "NOW" | "TODAY" | "LOCAL":
            return False
        case "NULLIF" | "DATE_OF" | "HOUR_OF":
            return True
        case "COALESCE" | "LEAST" | "GREATEST":
            return all(map(is_nullable, node.args))
        case "CASE":
            return any(map(is_nullable, (*node.args[1::2], node.args[-1])))
    return any(map(is_nullable, node.args))


class Coder:
    """Writes the code of one function.

    `prologue` comes first in its body, `scope` is its global namespace.
    """

    def __init__(self, load: Callable[[str], str]) -> None:
        self.load = load
        self.prologue: list[str] = []
        self.scope: dict[str, object] = {name: getattr(math, name) for name in _BUILT_IN}
        self.scope |= {name: getattr(arithmetic, name) for name in _OWN}
        self.known: dict[Node, str] = {}
        self.count = 0

    def function(self, body: Sequence[str], argument: str) -> tuple[Callable[..., object], str]:
        """Compile a function of an argument and a clock; return it and its text."""
        lines = [*self.prologue, *body]
        text = f"def rule({argument}, clock):\n" + "".join(f"    {line}\n" for line in lines)
        exec(compile(text, "<rules>", "exec"), self.scope)  # noqa: S102  # text written below from a checked tree
        function = self.scope["rule"]
        assert callable(function)
        return function, text

    def octets(self, mask: str, bits: int, tests: int) -> tuple[str, Callable[[int], str]]:
        """Take a mask of so many bits apart: an octet of it is sooner asked, where so many tests do.

        Returns:
            The line that does so, and what writes code that is true where the mask has one of some bits.
        """
        letter, size = self._fresh("o"), (bits + 7) // 8
        is_apart = tests > size
        names = ", ".join(f"{letter}_{place}" for place in range(size))

        def has(some: int) -> str:
            place = ((some & -some).bit_length() - 1) // 8
            octet = some >> 8 * place
            return f"{letter}_{place} & {octet}" if is_apart and octet < 256 else f"{mask} & {some:#x}"

        return f"{names}, = {mask}.to_bytes({size}, 'little')" if is_apart else "pass", has

    def _fresh(self, letter: str = "t") -> str:
        """Return a variable's name not used before."""
        self.count += 1
        return f"{letter}{self.count}"

    def constant(self, value: object) -> str:
        """Put a value in the scope and return its name."""
        name = self._fresh("K")
        self.scope[name] = value
        return name

    def keep(self, node: Node, text: str) -> str:
        """Compute a text once, before the body, and remember it as the node's value."""
        name = self._fresh("v")
        self.prologue.append(f"{name} = {text}")
        self.known[node] = name
        return name

    def variable(self, node: Node) -> str:
        """Return the name of a variable that holds the node's value, computed before the body."""
        text = self.value(node)
        return text if node in self.known else self.keep(node, text)

    def value(self, node: Node) -> str:
        """Return code for the value, None for NULL."""
        if node in self.known:
            return self.known[node]
        if isinstance(node, Literal):
            return self.literal(node.value)
        if isinstance(node, Name):
            return self.keep(node, self.load(node.name))
        if node.form is not None:
            return _unless_null(*self._checked(node))
        return self._by_rule(node)

    def value_or(self, node: Node, default: float) -> str:
        """Return code for the value, a default for NULL."""
        checks, text = self._checked(node)
        return f"({default!r} if {' or '.join(checks)} else {text})" if checks else text

    def literal(self, value: object) -> str:
        """Return code for a constant."""
        text = repr(value)
        if isinstance(value, date) or text in ("inf", "-inf"):
            return self.constant(value)
        return f"({text})" if text.startswith("-") else text

    def _atoms(self, nodes: Sequence[Node]) -> tuple[list[str], list[str]]:
        """Return checks, each true where an argument is NULL, and the arguments' names after them."""
        checks: list[str] = []
        names: list[str] = []
        for node in nodes:
            found, text = self._checked(node)
            checks += found
            if text.isidentifier() or isinstance(node, Literal):
                names.append(text)
            else:
                names.append(self._fresh())
                checks.append(f"({names[-1]} := {text}) is None")
        return checks, names

    def _checked(self, node: Node) -> tuple[list[str], str]:
        """Return checks, each true where the node is NULL, and code for its value after them."""
        if not isinstance(node, Call) or node.form is None or node in self.known:
            text = self.value(node)
            if text != "None" and (text.isidentifier() or isinstance(node, Literal)):
                return [f"{text} is None"] if is_nullable(node) else [], text
            return self._named([], text, "({} := {}) is None")
        if node.form is FINITE:
            return self._named(*self._checked(node.args[0]), "({0} := {1}) - {0} != 0.0")
        checks, names = self._atoms(node.args)
        text = node.form.python.format(*names)
        return self._named(checks, text, "({} := {}) is None") if node.form.is_partial else (checks, text)

    def _named(self, checks: list[str], text: str, check: str) -> tuple[list[str], str]:
        """Add a check that gives the value a name."""
        name = self._fresh()
        return [*checks, check.format(name, text)], name

    def _by_rule(self, node: Call) -> str:
        match node.op:
            case "AND" | "OR":
                return self._logic_value(node)
            case "NOT":
                checks, (name,) = self._atoms(node.args)
                return _unless_null(checks, f"not {name}")
            case "IS NULL":
                return self.is_true(node)
            case "IS TRUE" | "IS FALSE":
                return f"(True if {self.is_true(node)} else False)"
            case "IN" | "BETWEEN":
                return f"(True if {self.is_true(node)} else False if {self.is_false(node)} else None)"
            case "=" | "<>" | "<" | "<=" | ">" | ">=" | "LIKE":
                checks, test, _ = self._test(node)
                return _unless_null(checks, test)
            case "CASE":
                return self._case(node)
        return self._function_value(node)

    def _logic_value(self, node: Call) -> str:
        """One deciding side is enough; else NULL if a side is NULL."""
        deciding = "True" if node.op == "OR" else "False"
        other = "False" if node.op == "OR" else "True"
        names = [self._fresh() for _ in node.args]
        decided = " or ".join(
            f"({name} := {self.value(arg)}) is {deciding}" for name, arg in zip(names, node.args, strict=True)
        )
        unknown = " or ".join(f"{name} is None" for name in names)
        return f"({deciding} if {decided} else None if {unknown} else {other})"

    def _case(self, node: Call) -> str:
        """A flat chain of `condition and (value,)`, so that hundreds of branches stay one level deep."""
        *branches, otherwise = node.args
        chain = [
            f"{self.is_true(condition)} and ({self.value(value)},)"
            for condition, value in zip(branches[::2], branches[1::2], strict=True)
        ]
        return f"({' or '.join(chain)} or ({self.value(otherwise)},))[0]"

    def _function_value(self, node: Call) -> str:
        match node.op:
            case "COALESCE":
                return self._coalesce(node.args)
            case "NULLIF":
                first, second = self._fresh(), self.value(node.args[1])
                return f"(None if ({first} := {self.value(node.args[0])}) == {second} else {first})"
            case "LEAST" | "GREATEST":
                return f"{node.op.lower()}({self._listed(node.args)})"
            case "CONCAT":
                return f"concat({self._listed(node.args)})"
            case "||":
                checks, names = self._atoms(node.args)
                return _unless_null(checks, f"''.join(({', '.join(names)}))")
            case "DATE_OF" | "HOUR_OF":
                return self._local(node)
        return self._clock_value(node)

    def _listed(self, nodes: Sequence[Node]) -> str:
        return ", ".join(map(self.value, nodes))

    def _coalesce(self, nodes: Sequence[Node]) -> str:
        name = self._fresh()
        *tries, last = nodes
        chain = "".join(f"{name} if ({name} := {self.value(node)}) is not None else " for node in tries)
        return f"({chain}{self.value(last)})"

    def _local(self, node: Call) -> str:
        name = self._fresh()
        part = "date()" if node.op == "DATE_OF" else "hour"
        checks, (instant,) = self._atoms(node.args)
        return _unless_null(
            [*checks, f"({name} := local_time({instant}, clock.zone)) is None"], f"{name}.{part}"
        )

    def _clock_value(self, node: Call) -> str:
        match node.op:
            case "NOW":
                return self.keep(node, "clock.instant")
            case "TODAY":
                return self.keep(node, "clock.today")
            case "LOCAL":
                return self.keep(node, f"clock.instant_of({self.value(node.args[0])})")
        raise AssertionError(node.op)

    def is_true(self, node: Node) -> str:
        """Return code that is true exactly where the condition is TRUE."""
        if node in self.known or not isinstance(node, Call):
            return self.value(node)
        match node.op:
            case "AND" | "OR":
                return f"({f' {node.op.lower()} '.join(map(self.is_true, node.args))})"
            case "NOT":
                return self.is_false(node.args[0])
            case "IS NULL":
                return self._is_absent(node.args[0])
            case "IS TRUE":
                return self.is_true(node.args[0])
            case "IS FALSE":
                return self.is_false(node.args[0])
            case "IN":
                return f"({self.value(node.args[0])} in {self._members(node)})"
            case "BETWEEN":
                checks, (name, low, high) = self._atoms(node.args)
                return _if_known(checks, f"{low} <= {name} <= {high}")
        if _is_strict_test(node):
            checks, test, _ = self._test(node)
            return _if_known(checks, test)
        return self.value(node)

    def is_false(self, node: Node) -> str:
        """Return code that is true exactly where the condition is FALSE."""
        if isinstance(node, Literal):
            return str(node.value is False)
        if node in self.known or not isinstance(node, Call):
            return f"({self.value(node)} is False)"
        match node.op:
            case "AND" | "OR":
                word = "or" if node.op == "AND" else "and"
                return f"({f' {word} '.join(map(self.is_false, node.args))})"
            case "NOT":
                return self.is_true(node.args[0])
            case "IS NULL":
                return f"(not {self._is_absent(node.args[0])})"
            case "IS TRUE" | "IS FALSE":
                return f"(not {self.is_true(node)})"
            case "IN":
                return self._is_not_in(node)
            case "BETWEEN":
                return self._is_outside(node)
        if _is_strict_test(node):
            checks, _, test = self._test(node)
            return _if_known(checks, test)
        return f"({self.value(node)} is False)"

    def _is_absent(self, node: Node) -> str:
        if isinstance(node, Literal):
            return str(node.value is None)
        return f"({self.value(node)} is None)"

    def _test(self, node: Call) -> tuple[list[str], str, str]:
        """Return the NULL checks of a strict condition, its test and the test's opposite."""
        if node.op == "LIKE":
            checks, (name,) = self._atoms(node.args[:1])
            text = self._like(node, name)
            return checks, text, f"not {text}"
        checks, names = self._atoms(node.args)
        if node.form is not None:
            text = node.form.python.format(*names)
            return checks, text, f"not {text}"
        left, right = names
        return (
            checks,
            f"{left} {_PYTHON.get(node.op, node.op)} {right}",
            f"{left} {_OPPOSITE[node.op]} {right}",
        )

    def _like(self, node: Call, name: str) -> str:
        pattern, escape = (str(arg.value) for arg in node.args[1:] if isinstance(arg, Literal))
        match patterns.plain_text(pattern, escape):
            case ("is", text, _):
                return f"({name} == {text!r})"
            case ("holds", part, _):
                return f"({part!r} in {name})"
            case ("ends", start, end):
                fits = [f"{name}.startswith({start!r})"] * bool(start) + [f"{name}.endswith({end!r})"] * bool(
                    end
                )
                room = [f"len({name}) >= {len(start) + len(end)}"] * bool(start and end)
                return f"({' and '.join([*fits, *room]) or 'True'})"
        return f"({self.constant(patterns.matcher(pattern, escape))}({name}) is not None)"

    def _members(self, node: Call) -> str:
        values = (arg.value for arg in node.args[1:] if isinstance(arg, Literal))
        return self.constant(frozenset(value for value in values if value is not None))

    def _is_not_in(self, node: Call) -> str:
        """A NULL in the list leaves every miss unknown."""
        if any(map(is_nullable, node.args[1:])):
            return "False"
        checks, (name,) = self._atoms(node.args[:1])
        return _if_known(checks, f"{name} not in {self._members(node)}")

    def _is_outside(self, node: Call) -> str:
        """One bound is enough to be outside, even if the other is NULL."""
        subject = self._fresh()
        low, high = self._fresh(), self._fresh()
        value, least, most = map(self.value, node.args)
        return (
            f"(({subject} := {value}) is not None and ((({low} := {least}) is not None and {subject} < "
            f"{low}) "
            f"or (({high} := {most}) is not None and {subject} > {high})))"
        )


def _is_strict_test(node: Call) -> bool:
    """True for a condition that is NULL only if an argument is."""
    return node.op in _OPPOSITE or node.op == "LIKE" or (node.form is not None and not node.form.is_partial)


def _unless_null(checks: Sequence[str], text: str) -> str:
    return f"(None if {' or '.join(checks)} else {text})" if checks else f"({text})"


def _if_known(checks: Sequence[str], text: str) -> str:
    return f"({' and '.join([*map(_opposite, checks), text])})"


def _opposite(check: str) -> str:
    """Return code that is true where a check for NULL is not."""
    if check.endswith(" is None"):
        return check.removesuffix(" is None") + " is not None"
    return check.removesuffix(" != 0.0") + " == 0.0"
