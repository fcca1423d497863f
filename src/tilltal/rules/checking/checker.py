"""The syntax tree into the checked tree: names and functions resolved, types fitted, every fault collected.

A bare NULL, and whatever already has its fault, is `None`: it fits every type, so each fault is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tilltal.core.errors import Fault, nearest
from tilltal.rules.catalog.forms import FROM_ANY, Form
from tilltal.rules.checking.fitting import fit, fits, misfit_hint, shared_type
from tilltal.rules.checking.hints import ALIASES, ELSEWHERE
from tilltal.rules.checking.literals import BadLiteralError, literal_of
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.grammar import Syntax
from tilltal.rules.running import patterns
from tilltal.rules.tokens import Source
from tilltal.rules.tree import Call, Literal, Name, Node
from tilltal.rules.types import Type

Typed: TypeAlias = Node | None
Arguments: TypeAlias = Sequence[Typed]

_FEWEST = {
    "LEAST": 2,
    "GREATEST": 2,
    "NULLIF": 2,
    "IF": 3,
    "COALESCE": 1,
    "CONCAT": 1,
    "AGE": 1,
    "DATE_OF": 1,
    "HOUR_OF": 1,
}
_MANY = frozenset(("LEAST", "GREATEST", "COALESCE", "CONCAT"))
_BOUNDS = {
    ("ROUND", 1): (0, 12),
    ("SUBSTRING", 1): (1, 10**9),
    ("SUBSTRING", 2): (0, 10**9),
    ("SPLIT_PART", 2): (1, 10**9),
}


def check(source: Source, syntax: Syntax, schema: Mapping[str, Type]) -> tuple[Typed, list[Fault]]:
    """Return the checked tree and every fault found in it."""
    checker = _Checker(source, schema)
    return checker.node(syntax), checker.faults


class _Checker:
    """One check of one expression; `faults` grows."""

    def __init__(self, source: Source, schema: Mapping[str, Type]) -> None:
        self.source = source
        self.schema = schema
        self.faults: list[Fault] = []

    def fault(
        self, code: str, message: str, syntax: Syntax, *, valid: tuple[str, ...] = (), hint: str = ""
    ) -> Typed:
        """Note a fault at a node and return what the node becomes: None."""
        self.faults.append(self.source.fault(code, message, syntax.at, valid=valid, hint=hint))
        return None

    def node(self, syntax: Syntax) -> Typed:
        """Check a node and what is below it."""
        kind, _, name = syntax.op.partition(":")
        match kind:
            case "literal":
                return self.literal(name, syntax)
            case "name":
                return self.name(syntax, is_quoted=name == "quoted")
            case "call":
                return self.call(ALIASES.get(name, name), syntax)
        return _RULES.get(kind, _Checker.by_form)(self, kind, syntax, self.arguments(syntax))

    def arguments(self, syntax: Syntax) -> list[Typed]:
        return [self.node(arg) for arg in syntax.args]

    def literal(self, kind: str, syntax: Syntax) -> Typed:
        try:
            return literal_of(kind, syntax.text)
        except BadLiteralError as error:
            return self.fault("D210", str(error), syntax, hint=error.hint)

    def name(self, syntax: Syntax, *, is_quoted: bool) -> Typed:
        if syntax.text in self.schema:
            return Name(self.schema[syntax.text], syntax.text)
        hint = ""
        if is_quoted:
            hint = f"Texts stand in single quotes: '{syntax.text}'."
        elif syntax.text.upper() in ("TODAY", "NOW"):
            hint = f"Write {syntax.text.upper()}()."
        close = nearest(syntax.text, self.schema) or nearest(syntax.text.lower(), self.schema)
        return self.fault("D203", f"There is no {syntax.text!r} here.", syntax, valid=close, hint=hint)

    def call(self, name: str, syntax: Syntax) -> Typed:
        args = self.arguments(syntax)
        if name not in FUNCTIONS or name in _SPELLED:
            hint = ELSEWHERE.get(name, "")
            close = () if hint else nearest(name, FUNCTIONS.keys() - _SPELLED)
            return self.fault(
                "D204", f"{syntax.text} is no function of the dialect.", syntax, valid=close, hint=hint
            )
        if not self.is_counted(name, syntax):
            return None
        return _RULES.get(name, _Checker.by_form)(self, name, syntax, args)

    def is_counted(self, name: str, syntax: Syntax) -> bool:
        """True if the number of arguments is right."""
        forms = FUNCTIONS[name].forms
        counts = {len(form.takes) for form in forms} or {_FEWEST.get(name, 0)}
        count = len(syntax.args)
        if count in counts or (name in _MANY and count > min(counts)):
            return True
        self.fault(
            "D206",
            f"{name} takes {' or '.join(map(str, sorted(counts)))}{' or more' if name in _MANY else ''} "
            f"{'argument' if counts == {1} and name not in _MANY else 'arguments'}, not {count}.",
            syntax,
            hint=f"Write {FUNCTIONS[name].signature}.",
        )
        return False

    def by_form(self, name: str, syntax: Syntax, args: Arguments) -> Typed:
        """Choose the first form whose types fit."""
        forms = [form for form in FUNCTIONS[name].forms if len(form.takes) == len(args)]
        for form in forms:
            if all(map(fits, args, form.takes)):
                return self.formed(name, form, syntax, args)
        return self.misfit(name, forms, syntax, args)

    def formed(self, name: str, form: Form, syntax: Syntax, args: Arguments) -> Typed:
        nodes = tuple(
            fit(arg, wanted, keep_unbounded=form.takes_unbounded)
            for arg, wanted in zip(args, form.takes, strict=True)
        )
        for position in range(form.literal_from, len(nodes)):
            if not self.is_literal(name, position, nodes[position], syntax.args[position]):
                return None
        return Call(form.gives, name, nodes, form)

    def is_literal(self, name: str, position: int, node: Node, syntax: Syntax) -> bool:
        low, high = _BOUNDS.get((name, position), (0, 0))
        if not isinstance(node, Literal) or node.value in (None, ""):
            wanted = f"as an integer from {low} to {high}" if high else "as a text that is not empty"
        elif high and not low <= int(str(node.value)) <= high:
            wanted = f"as an integer from {low} to {high}"
        else:
            return True
        self.fault("D207", f"This argument of {name} must be written out {wanted}.", syntax)
        return False

    def misfit(self, name: str, forms: Sequence[Form], syntax: Syntax, args: Arguments) -> Typed:
        """Point at the first argument that no form takes, or at the operator."""
        shown = "-" if name == "negative" else name
        for position, arg in enumerate(args):
            wanted = tuple(dict.fromkeys(form.takes[position] for form in forms))
            if arg is not None and not any(fits(arg, kind) for kind in wanted):
                *others, last = map(_a, wanted)
                what = f"{', '.join(others)} or {last}" if others else last
                return self.fault(
                    "D205",
                    f"{shown} takes {what}, not {_a(arg.type)}.",
                    syntax.args[position],
                    hint=misfit_hint(arg, wanted[0]),
                )
        return self.fault("D205", f"The arguments of {shown} do not go together.", syntax)

    def condition(self, arg: Typed, syntax: Syntax, owner: str) -> Node:
        """Return an argument that must be a condition."""
        if not fits(arg, Type.BOOLEAN) and arg is not None:
            self.fault(
                "D205",
                f"{owner} takes a condition, not {_a(arg.type)}.",
                syntax,
                hint=misfit_hint(arg, Type.BOOLEAN),
            )
            arg = None
        return fit(arg, Type.BOOLEAN)

    def logic(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        nodes = tuple(self.condition(arg, part, op) for arg, part in zip(args, syntax.args, strict=True))
        return Call(Type.BOOLEAN, op, nodes)

    def is_null(self, op: str, _: Syntax, args: Arguments) -> Typed:
        arg = args[0] or Literal(Type.TEXT, None)
        return Call(Type.BOOLEAN, op, (fit(arg, arg.type),))

    def alike(self, args: Arguments, syntaxes: Sequence[Syntax]) -> Type | None:
        """Return the type that all arguments share, None if they share none or have none."""
        shared: Type | None = None
        for arg, syntax in zip(args, syntaxes, strict=True):
            if arg is None:
                continue
            met = shared_type(shared or arg.type, arg.type)
            if met is None:
                self.unlike(shared or arg.type, arg, syntax)
                return None
            shared = met
        return shared

    def unlike(self, shared: Type, arg: Node, syntax: Syntax) -> None:
        """Note that an argument does not go with those before it."""
        self.fault(
            "D205",
            f"{_a(shared).capitalize()} and {_a(arg.type)} do not go together.",
            syntax,
            hint=misfit_hint(arg, shared) or misfit_hint(Name(shared, ""), arg.type),
        )

    def is_ordered(self, kind: Type, op: str, syntax: Syntax) -> bool:
        if kind not in (Type.BOOLEAN, Type.ANY):
            return True
        is_untyped = kind is Type.ANY
        shown, hint = ("untyped", _SAY_TYPE) if is_untyped else ("boolean", "Write flag or NOT flag.")
        self.fault(
            "D205", f"{op} orders numbers, texts, dates and times, not {shown} values.", syntax, hint=hint
        )
        return False

    def comparison(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        if any(part.op in _SIGNS for part in syntax.args) and _types(args[1:]) - {Type.BOOLEAN, Type.ANY}:
            return self.fault("D205", "Comparisons do not chain.", syntax, hint="Write a < b AND b < c.")
        faults = len(self.faults)
        kind = self.alike(args, syntax.args) or Type.TEXT
        if kind is Type.ANY and None not in args:
            return self.untyped_comparison(op, syntax, args)
        if len(self.faults) > faults or (op not in ("=", "<>") and not self.is_ordered(kind, op, syntax)):
            return None
        return self.fitted(Type.BOOLEAN, op, args, Type.TEXT if kind is Type.ANY else kind)

    def untyped_comparison(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        """Compare two untyped names as numbers, as texts or as booleans, whichever both are."""
        if not all(isinstance(arg, Name) for arg in args):
            return self.fault("D205", f"Nothing says what type {op} compares.", syntax, hint=_SAY_TYPE)
        kinds = (Type.NUMBER, Type.TEXT, Type.BOOLEAN) if op in ("=", "<>") else (Type.NUMBER, Type.TEXT)
        ways = (Call(Type.BOOLEAN, op, tuple(fit(arg, kind) for arg in args)) for kind in kinds)
        return Call(Type.BOOLEAN, "COALESCE", tuple(ways))

    def between(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        kind = self.alike(args, syntax.args) or Type.TEXT
        if not self.is_ordered(kind, op, syntax):
            return None
        return self.fitted(Type.BOOLEAN, op, args, kind)

    def among(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        if len(args) == 1:
            return self.fault("D206", "The list of IN is empty.", syntax)
        if not all(arg is None or isinstance(arg, Literal) for arg in args[1:]):
            return self.equal_to_any(syntax, args)
        return self.fitted(Type.BOOLEAN, op, args, self.alike(args, syntax.args) or Type.TEXT)

    def equal_to_any(self, syntax: Syntax, args: Arguments) -> Typed:
        """Engines want literals in a list, so `a IN (b, 1)` becomes `a = b OR a = 1`: unknown alike."""
        left = syntax.args[0]
        ways = [
            self.comparison("=", Syntax("=", part.at, (left, part)), (args[0], arg))
            for arg, part in zip(args[1:], syntax.args[1:], strict=True)
        ]
        return Call(Type.BOOLEAN, "OR", tuple(fit(way, Type.BOOLEAN) for way in ways))

    def like(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        for arg, part in zip(args[1:], syntax.args[1:], strict=True):
            if not isinstance(arg, Literal) or arg.type is not Type.TEXT:
                return self.fault(
                    "D207",
                    "A pattern of LIKE is a text written out.",
                    part,
                    hint="CONTAINS(text, part) looks for any text.",
                )
        if args[0] is not None and not fits(args[0], Type.TEXT):
            return self.misfit_text(op, syntax, args[0])
        escape = args[2] if len(args) > 2 else Literal(Type.TEXT, "")
        return self.patterned(syntax, args, escape)

    def patterned(self, syntax: Syntax, args: Arguments, escape: Typed) -> Typed:
        pattern, sign = (str(node.value) for node in (args[1], escape) if isinstance(node, Literal))
        if len(syntax.args) > 2 and len(sign) != 1:
            return self.fault("D210", "ESCAPE takes one character.", syntax.args[2])
        try:
            patterns.pieces_of(pattern, sign)
        except ValueError as error:
            return self.fault("D210", f"The pattern cannot be read: {error}.", syntax.args[1])
        return self.fitted(Type.BOOLEAN, "LIKE", (args[0], args[1], escape), Type.TEXT)

    def misfit_text(self, op: str, syntax: Syntax, arg: Node) -> Typed:
        return self.fault(
            "D205",
            f"{op} takes a text, not {_a(arg.type)}.",
            syntax.args[0],
            hint=misfit_hint(arg, Type.TEXT),
        )

    def case(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        """Check `condition, value, ..., otherwise`; IF is a CASE of one condition."""
        pairs = len(args) // 2
        conditions = [self.condition(args[2 * i], syntax.args[2 * i], op) for i in range(pairs)]
        places = [*range(1, 2 * pairs, 2), len(args) - 1]
        values = [args[i] for i in places]
        kind = self.alike(values, [syntax.args[i] for i in places])
        if kind is None:
            return None
        fitted = [fit(value, kind) for value in values]
        branches = [part for pair in zip(conditions, fitted, strict=False) for part in pair]
        return Call(kind, "CASE", (*branches, fitted[-1]))

    def choice(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        """Check COALESCE, NULLIF, LEAST and GREATEST: all arguments of one type, which is the result's."""
        kind = self.alike(args, syntax.args)
        if kind is None:
            return None
        if op == "NULLIF" and args[1] is None:
            return args[0]
        if op == "NULLIF" and kind is Type.ANY:
            return self.fault("D205", f"Nothing says what type {op} compares.", syntax, hint=_SAY_TYPE)
        if op in ("LEAST", "GREATEST") and not self.is_ordered(kind, op, syntax):
            return None
        return self.fitted(kind, op, args, kind)

    def joined(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        for arg, part in zip(args, syntax.args, strict=True):
            if arg is not None and not fits(arg, Type.TEXT):
                shown = f"{op} takes texts, not {_a(arg.type)}."
                return self.fault("D205", shown, part, hint=misfit_hint(arg, Type.TEXT))
        return self.fitted(Type.TEXT, op, args, Type.TEXT)

    def to_number(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        """An untyped value is a number already, or a text that may hold one."""
        arg = args[0]
        if not isinstance(arg, Name) or arg.type is not Type.ANY:
            return self.by_form(op, syntax, args)
        number = fit(arg, Type.NUMBER)
        held = self.by_form(op, syntax, (Call(Type.TEXT, "any", (arg,), FROM_ANY[Type.TEXT]),))
        return Call(Type.NUMBER, "COALESCE", (number, fit(held, Type.NUMBER)))

    def clock(self, op: str, _: Syntax, __: Arguments) -> Typed:
        return Call(Type.TIMESTAMP if op == "NOW" else Type.DATE, op, ())

    def age(self, _: str, syntax: Syntax, args: Arguments) -> Typed:
        if args[0] is not None and args[0].type is not Type.DATE:
            return self.misfit("AGE", FUNCTIONS["YEARS_BETWEEN"].forms, syntax, args)
        return self.by_form("YEARS_BETWEEN", syntax, (args[0], Call(Type.DATE, "TODAY", ())))

    def local(self, op: str, syntax: Syntax, args: Arguments) -> Typed:
        arg = args[0]
        if arg is not None and arg.type is not Type.TIMESTAMP:
            return self.fault("D205", f"{op} takes a timestamp, not {_a(arg.type)}.", syntax.args[0])
        kind = Type.DATE if op == "DATE_OF" else Type.INTEGER
        return self.fitted(kind, op, args, Type.TIMESTAMP)

    def fitted(self, gives: Type, op: str, args: Arguments, kind: Type) -> Typed:
        """Make a call whose arguments all become one type; None if they cannot, which is noted by then."""
        if not all(fits(arg, kind) for arg in args):
            assert self.faults
            return None
        return Call(gives, op, tuple(fit(arg, kind) for arg in args))


_SIGNS = frozenset(("=", "<>", "<", "<=", ">", ">="))
_SAY_TYPE = "Give the field a type in its source, or compare with a literal."
_SPELLED = frozenset(
    ("AND", "OR", "NOT", "IS NULL", "IS TRUE", "IS FALSE", "IN", "BETWEEN", "LIKE", "CASE", "negative", "||",
     "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%")
)  # fmt: skip  # written as signs and words, not called
_RULES: Mapping[str, Callable[[_Checker, str, Syntax, Arguments], Typed]] = {
    **dict.fromkeys(("AND", "OR", "NOT", "IS TRUE", "IS FALSE"), _Checker.logic),
    **dict.fromkeys(_SIGNS, _Checker.comparison),
    **dict.fromkeys(("COALESCE", "NULLIF", "LEAST", "GREATEST"), _Checker.choice),
    **dict.fromkeys(("CASE", "IF"), _Checker.case),
    **dict.fromkeys(("||", "CONCAT"), _Checker.joined),
    **dict.fromkeys(("NOW", "TODAY"), _Checker.clock),
    **dict.fromkeys(("DATE_OF", "HOUR_OF"), _Checker.local),
    "IS NULL": _Checker.is_null,
    "IN": _Checker.among,
    "BETWEEN": _Checker.between,
    "LIKE": _Checker.like,
    "TO_NUMBER": _Checker.to_number,
    "AGE": _Checker.age,
}


def _types(args: Arguments) -> set[Type]:
    return {arg.type for arg in args if arg is not None}


def _a(kind: Type) -> str:
    """Name a type with its article."""
    if kind is Type.ANY:
        return "an untyped value"
    return f"an {kind}" if kind is Type.INTEGER else f"a {kind}"
