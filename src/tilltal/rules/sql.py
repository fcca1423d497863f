"""The checked tree into SQL text of an engine.

Everything is parenthesised; nothing relies on an engine's precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Literal as OneOf
from typing import TypeAlias

from tilltal.core.names import literal
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.running.arithmetic import EPOCH, FIRST_INSTANT, LAST_INSTANT, offset
from tilltal.rules.tree import Call, Literal, Name, Node
from tilltal.rules.types import SMALLEST_INTEGER, Type

Dialect: TypeAlias = OneOf["duckdb", "spark"]

_TYPES: Mapping[Dialect, Mapping[Type, str]] = {
    "duckdb": {Type.BOOLEAN: "BOOLEAN", Type.INTEGER: "BIGINT", Type.NUMBER: "DOUBLE", Type.TEXT: "VARCHAR",
               Type.DATE: "DATE", Type.TIMESTAMP: "TIMESTAMP", Type.ANY: "VARCHAR"},
    "spark": {Type.BOOLEAN: "BOOLEAN", Type.INTEGER: "BIGINT", Type.NUMBER: "DOUBLE", Type.TEXT: "STRING",
              Type.DATE: "DATE", Type.TIMESTAMP: "TIMESTAMP_NTZ", Type.ANY: "STRING"},
}  # fmt: skip


def sql_type(kind: Type, dialect: Dialect = "duckdb") -> str:
    """Return the engine's name of a type; names of an expression must have it."""
    return _TYPES[dialect][kind]


def to_sql(
    expression: Expression, columns: Callable[[str], str], *, dialect: Dialect = "duckdb", clock: Clock
) -> str:
    """Return SQL text that computes an expression.

    Args:
        expression: What to compute.
        columns: Turns a name into its SQL: a quoted column or an expression, of the type `sql_type` tells.
        dialect: The engine.
        clock: What NOW() and TODAY() mean; they become literals.
    """
    text = _Emitter(columns, dialect, clock).text(expression.tree)
    if expression.type is Type.INTEGER and not isinstance(expression.tree, Name):
        return f"CAST({text} AS BIGINT)"
    return text


def condition_sql(
    expression: Expression, columns: Callable[[str], str], *, dialect: Dialect = "duckdb", clock: Clock
) -> str:
    """Return SQL that is TRUE where the condition is TRUE and FALSE elsewhere, never NULL."""
    return f"COALESCE({to_sql(expression, columns, dialect=dialect, clock=clock)}, FALSE)"


class _Emitter:
    """Writes nodes of one expression for one engine."""

    def __init__(self, columns: Callable[[str], str], dialect: Dialect, clock: Clock) -> None:
        self.columns = columns
        self.dialect = dialect
        self.clock = clock

    def text(self, node: Node) -> str:
        if isinstance(node, Literal):
            return self.literal(node)
        if isinstance(node, Name):
            return self.columns(node.name)
        if node.form is not None:
            template = node.form.duckdb if self.dialect == "duckdb" else node.form.spark
            return template.format(*self.form_arguments(node))
        return self.by_rule(node, [self.text(arg) for arg in node.args])

    def form_arguments(self, call: Call) -> list[str]:
        """Literal arguments that a form demands go in bare: `1e{1}` becomes `1e2`."""
        bare = call.form.literal_from if call.form else 0
        return [
            str(arg.value)
            if position >= bare and isinstance(arg, Literal) and arg.type is Type.INTEGER
            else self.text(arg)
            for position, arg in enumerate(call.args)
        ]

    def by_rule(self, call: Call, args: Sequence[str]) -> str:
        match call.op:
            case "AND" | "OR" | "||":
                return f"({f' {call.op} '.join(args)})"
            case "NOT":
                return f"(NOT {args[0]})"
            case "=" | "<>" | "<" | "<=" | ">" | ">=":
                return f"({args[0]} {call.op} {args[1]})"
            case "IS NULL":
                return f"({args[0]} IS NULL)"
            case "IS TRUE":
                return f"COALESCE({args[0]}, FALSE)"
            case "IS FALSE":
                return f"(NOT COALESCE({args[0]}, TRUE))"
            case "IN":
                return f"({args[0]} IN ({', '.join(args[1:])}))"
            case "BETWEEN":
                return f"({args[0]} BETWEEN {args[1]} AND {args[2]})"
            case "LIKE":
                return self.like(call, args)
            case "CASE":
                return _case(args)
        return self.function(call, args)

    def function(self, call: Call, args: Sequence[str]) -> str:
        match call.op:
            case "COALESCE" | "NULLIF" | "LEAST" | "GREATEST":
                return f"{call.op}({', '.join(args)})"
            case "CONCAT":
                return (
                    f"concat({', '.join(args)})"
                    if self.dialect == "duckdb"
                    else f"concat_ws('', {', '.join(args)})"
                )
            case "NOW":
                return self.moment(self.clock.instant)
            case "TODAY":
                return f"DATE '{self.clock.today.isoformat()}'"
            case "LOCAL":
                return self.moment(self.clock.instant_of(_local(call)))
            case "DATE_OF":
                return f"CAST({self.local_time(args[0])} AS DATE)"
            case "HOUR_OF":
                return f"CAST(hour({self.local_time(args[0])}) AS BIGINT)"
        raise AssertionError(call.op)

    def like(self, call: Call, args: Sequence[str]) -> str:
        """Spark escapes with a backslash unless another sign is named; so name one that does not occur."""
        pattern, escape = (str(arg.value) for arg in call.args[1:] if isinstance(arg, Literal))
        if not escape and self.dialect == "spark" and "\\" in pattern:
            escape = next(sign for sign in map(chr, range(1, 1000)) if sign not in pattern)
        return f"({args[0]} LIKE {args[1]}{f' ESCAPE {self.quoted(escape)}' if escape else ''})"

    def local_time(self, instant: str) -> str:
        """The clock time in the workspace's zone, as `arithmetic.local_time`."""
        zone, first = literal(str(self.clock.zone)), self.moment(FIRST_INSTANT)
        early = int(offset(EPOCH, self.clock.zone).total_seconds())
        if self.dialect == "duckdb":
            shifted = f"timezone({zone}, timezone('UTC', {instant}))"
        else:
            shifted = f"convert_timezone('UTC', {zone}, {instant})"
        return (
            f"CASE WHEN {instant} >= {self.moment(EPOCH)} AND {instant} < {self.moment(LAST_INSTANT)} "
            f"THEN {shifted} "
            f"WHEN {instant} >= {first} AND {instant} < {self.moment(EPOCH)} THEN {instant} + INTERVAL "
            f"'{early}' SECOND END"
        )

    def literal(self, node: Literal) -> str:
        match node.value:
            case None:
                return f"CAST(NULL AS {sql_type(node.type, self.dialect)})"
            case bool():
                return str(node.value).upper()
            case int():
                return self.integer(node.value)
            case float():
                text = repr(node.value)
                text = text if "e" in text else f"{text}e0"
                return f"({text})" if text.startswith("-") else text  # -0.0 is not < 0
            case datetime():
                return self.moment(node.value)
            case date():
                return f"DATE '{node.value.isoformat()}'"
        return self.quoted(node.value)

    def integer(self, value: int) -> str:
        if self.dialect == "duckdb":
            return f"({value})" if value < 0 else str(value)
        if value == SMALLEST_INTEGER:
            return f"({value + 1}L - 1L)"
        return f"({value}L)" if value < 0 else f"{value}L"

    def quoted(self, text: str) -> str:
        if self.dialect == "duckdb":
            return literal(text)
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    def moment(self, instant: datetime) -> str:
        kind = "TIMESTAMP" if self.dialect == "duckdb" else "TIMESTAMP_NTZ"
        return f"{kind} '{instant.isoformat(sep=' ')}'"


def _case(args: Sequence[str]) -> str:
    *branches, otherwise = args
    whens = " ".join(
        f"WHEN {condition} THEN {value}"
        for condition, value in zip(branches[::2], branches[1::2], strict=True)
    )
    return f"CASE {whens} ELSE {otherwise} END"


def _local(call: Call) -> datetime:
    (moment,) = call.args
    if not isinstance(moment, Literal) or not isinstance(moment.value, datetime):
        raise AssertionError(moment)
    return moment.value
