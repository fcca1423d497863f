"""Tokens into a syntax tree, by operator precedence; every node keeps its place.

Precedence is PostgreSQL's, as in DuckDB.

Loosest first: OR, AND, NOT, IS, comparison, IN BETWEEN LIKE, ||, + -, * / %, sign.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tilltal.core.errors import WorkspaceError
from tilltal.rules.tokens import Source, Token, tokenize

MAX_DEPTH = 40  # of the tree
MAX_NESTING = 100  # of parentheses
MAX_SIZE = 20_000  # nodes, with what a simple CASE repeats


class Syntax(msgspec.Struct, frozen=True):
    """A node before checking.

    `op` is `literal:<kind>`, `name`, `call:<NAME>` or an operator of the dialect.
    """

    op: str
    at: int
    args: tuple[Syntax, ...] = ()
    text: str = ""
    height: int = 1
    size: int = 1


_OR, _AND, _NOT, _IS, _COMPARE, _AMONG, _JOIN, _ADD, _MULTIPLY, _SIGN = range(1, 11)
_BINARY = {
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), _COMPARE),
    "||": _JOIN,
    **dict.fromkeys("+-", _ADD),
    **dict.fromkeys("*/%", _MULTIPLY),
}
_WORDS = {"OR": _OR, "AND": _AND, "IS": _IS, "IN": _AMONG, "BETWEEN": _AMONG, "LIKE": _AMONG, "NOT": _AMONG}
_FLAT = ("OR", "AND", "||")  # chains of these are one node of many arguments
_RESERVED = frozenset((*_WORDS, "NULL", "TRUE", "FALSE", "CASE", "WHEN", "THEN", "ELSE", "END", "ESCAPE"))
_CASE = "Write CASE WHEN condition THEN value ... ELSE value END."
_FOREIGN_WORDS = {
    "AS": "Values are never cast, nothing is renamed; TO_NUMBER and TO_TEXT convert.",
    "SELECT": "An expression reads names of the profile, not tables.",
    "FROM": "An expression reads names of the profile, not tables.",
    "WHERE": "An expression reads names of the profile, not tables.",
    "ILIKE": "Write LOWER(x) LIKE 'pattern'.",
    "RLIKE": "Write LIKE with % and _.",
    "REGEXP": "Write LIKE with % and _.",
    "SIMILAR": "Write LIKE with % and _.",
    "GLOB": "Write LIKE with % and _.",
    "OVER": "Windows over rows belong in a trait: measure, from, window.",
    "XOR": "Write a <> b.",
    "MOD": "Write a % b.",
    "DIV": "Write FLOOR(a / b).",
    "ISNULL": "Write x IS NULL.",
    "NOTNULL": "Write x IS NOT NULL.",
    "CONTAINS": "Write CONTAINS(x, 'part').",
}

Arguments: TypeAlias = tuple[Syntax, ...]


def syntax_of(source: Source) -> Syntax:
    """Read an expression.

    Raises:
        WorkspaceError: D201, D202 or D208 at the first place that cannot be read.
    """
    return _Reader(source).whole()


class _Reader:
    """Walks the tokens once; methods consume what they return."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.index = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def is_over(self) -> bool:
        return self.token.kind == "end"

    def whole(self) -> Syntax:
        if self.is_over:
            raise self.error("The expression is empty.", "Write a condition such as age >= 18.")
        node = self.expression()
        if not self.is_over:
            raise self.unexpected("an operator or the end")
        return node

    def expression(self, above: int = 0) -> Syntax:
        """Read operands and operators that bind tighter than `above`."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.too_large(self.token.at)
        left = self.prefix()
        while (strength := self.strength()) > above:
            left = self.infix(left, strength)
        self.depth -= 1
        return left

    def strength(self) -> int:
        """How tightly the next token binds as an operator; 0 if it is none."""
        if self.token.kind == "sign":
            return _BINARY.get(self.token.text, 0)
        return _WORDS.get(self.token.word, 0)

    def prefix(self) -> Syntax:
        at = self.token.at
        if self.take_word("NOT"):
            return self.node("NOT", at, self.expression(_NOT))
        if self.take_sign("-"):
            return self.negated(at)
        if self.take_sign("+"):
            return self.expression(_SIGN)
        return self.primary()

    def negated(self, at: int) -> Syntax:
        """A minus before a number is part of the number."""
        if self.token.kind == "number":
            token = self.advance()
            return Syntax("literal:number", at, text=f"-{token.text}")
        return self.node("negative", at, self.expression(_SIGN))

    def infix(self, left: Syntax, strength: int) -> Syntax:
        token = self.advance()
        op = token.word or token.text
        if op == "IS":
            return self.is_(left, token.at)
        if strength == _AMONG:
            return self.among(left, token)
        if op in _FLAT:
            return self.chain(op, left, strength, token.at)
        return self.node(op, token.at, left, self.expression(strength))

    def chain(self, op: str, first: Syntax, strength: int, at: int) -> Syntax:
        terms = [first, self.expression(strength)]
        while self.strength() == strength:
            self.advance()
            terms.append(self.expression(strength))
        return self.node(op, at, *terms)

    def is_(self, left: Syntax, at: int) -> Syntax:
        is_not = self.take_word("NOT")
        for word in ("NULL", "TRUE", "FALSE"):
            if self.take_word(word):
                node = self.node(f"IS {word}", at, left)
                return self.node("NOT", at, node) if is_not else node
        raise self.unexpected("NULL, TRUE or FALSE", "Compare values with = or <>.")

    def among(self, left: Syntax, token: Token) -> Syntax:
        """Read `[NOT] IN (...)`, `[NOT] BETWEEN a AND b`, `[NOT] LIKE 'x' [ESCAPE 'y']`."""
        is_not = token.word == "NOT"
        at = token.at
        if is_not:
            token = self.advance()
        match token.word:
            case "IN":
                node = self.node("IN", at, left, *self.arguments("IN"))
            case "BETWEEN":
                low = self.expression(_AMONG)
                self.expect_word("AND", "Write BETWEEN a AND b.")
                node = self.node("BETWEEN", at, left, low, self.expression(_AMONG))
            case "LIKE":
                pattern = (self.expression(_AMONG),)
                escape = (self.expression(_AMONG),) if self.take_word("ESCAPE") else ()
                node = self.node("LIKE", at, left, *pattern, *escape)
            case _:
                self.index -= 1
                raise self.unexpected("IN, BETWEEN or LIKE after NOT")
        return self.node("NOT", at, node) if is_not else node

    def primary(self) -> Syntax:
        token = self.token
        if token.kind in ("number", "text"):
            self.advance()
            return Syntax(f"literal:{token.kind}", token.at, text=token.text)
        if self.take_sign("("):
            node = self.expression()
            self.expect_sign(")", "Each ( needs its ).")
            return node
        if token.kind == "name":
            return self.word()
        if token.kind == "quoted":
            return self.dotted()
        raise self.unexpected("a value, a name or (")

    def word(self) -> Syntax:
        token = self.token
        following = self.tokens[self.index + 1]
        if token.word == "CASE":
            return self.case()
        if token.word in ("NULL", "TRUE", "FALSE"):
            self.advance()
            return Syntax(f"literal:{token.word.lower()}", token.at)
        if token.word in ("DATE", "TIMESTAMP") and following.kind == "text":
            self.advance()
            self.advance()
            return Syntax(f"literal:{token.word.lower()}", token.at, text=following.text)
        if token.word in _RESERVED or (token.word == "SELECT"):
            raise self.unexpected("a value, a name or (", _FOREIGN_WORDS.get(token.word, ""))
        if following.kind == "sign" and following.text == "(":
            self.advance()
            return self.node(f"call:{token.word}", token.at, *self.arguments(token.text), text=token.text)
        return self.dotted()

    def dotted(self) -> Syntax:
        """Read a name of one or more parts; a part in double quotes may hold any letters."""
        at = self.token.at
        is_quoted = self.token.kind == "quoted"
        parts = [self.advance().text]
        while self.token.kind == "sign" and self.token.text == ".":
            self.advance()
            if self.token.kind not in ("name", "quoted"):
                raise self.unexpected("the rest of the name after the dot")
            parts.append(self.advance().text)
        return Syntax("name:quoted" if is_quoted else "name", at, text=".".join(parts))

    def arguments(self, owner: str) -> Arguments:
        self.expect_sign("(", f"{owner} takes a list in parentheses.")
        if self.take_sign(")"):
            return ()
        args = [self.expression()]
        while self.take_sign(","):
            args.append(self.expression())
        self.expect_sign(")", "Separate values with commas and close the list with ).")
        return tuple(args)

    def case(self) -> Syntax:
        """Read CASE; its arguments are condition, value, ..., and last the ELSE.

        The simple form is rewritten to `subject = value`.
        """
        at = self.advance().at
        subject = None if self.token.word == "WHEN" else self.expression()
        args: list[Syntax] = []
        while self.token.word == "WHEN":
            when_at = self.advance().at
            condition = self.expression()
            args.append(self.node("=", when_at, subject, condition) if subject else condition)
            self.expect_word("THEN", _CASE)
            args.append(self.expression())
        if not args:
            raise self.unexpected("WHEN", _CASE)
        args.append(self.expression() if self.take_word("ELSE") else Syntax("literal:null", at))
        self.expect_word("END", _CASE)
        return self.node("CASE", at, *args)

    def node(self, op: str, at: int, *args: Syntax, text: str = "") -> Syntax:
        height = 1 + max((arg.height for arg in args), default=0)
        size = 1 + sum(arg.size for arg in args)
        if height > MAX_DEPTH or size > MAX_SIZE:
            raise self.too_large(at)
        return Syntax(op, at, args, text, height, size)

    def advance(self) -> Token:
        token = self.token
        self.index += token.kind != "end"
        return token

    def take_word(self, word: str) -> bool:
        taken = self.token.word == word
        self.index += taken
        return taken

    def take_sign(self, sign: str) -> bool:
        taken = self.token.kind == "sign" and self.token.text == sign
        self.index += taken
        return taken

    def expect_word(self, word: str, hint: str) -> None:
        if not self.take_word(word):
            raise self.unexpected(word, hint)

    def expect_sign(self, sign: str, hint: str) -> None:
        if not self.take_sign(sign):
            raise self.unexpected(sign, hint)

    def unexpected(self, expected: str, hint: str = "") -> WorkspaceError:
        found = "the expression ends" if self.token.kind == "end" else f"{self.token.text!r} stands there"
        hint = _FOREIGN_WORDS.get(self.token.word, hint)
        if self.token.text == ")" and expected != ")":
            hint = hint or "Each ) needs its (, and something between them."
        return self.error(f"Expected {expected}, but {found}.", hint)

    def error(self, message: str, hint: str = "") -> WorkspaceError:
        return WorkspaceError(self.source.fault("D202", message, self.token.at, hint=hint))

    def too_large(self, at: int) -> WorkspaceError:
        return WorkspaceError(
            self.source.fault(
                "D208",
                f"The expression is too large or nested more than {MAX_DEPTH} levels deep.",
                at,
                hint="Split it into traits or audiences and refer to them by name.",
            )
        )
