"""An expression of the dialect: text in, checked tree out.

Emit it with `sql.to_sql` or `python.to_python`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.rules.checking.checker import check
from tilltal.rules.checking.fitting import fit, fits, misfit_hint
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.grammar import syntax_of
from tilltal.rules.tokens import Source
from tilltal.rules.tree import Call, Name, Node, walk
from tilltal.rules.types import Type

MAX_SQL_PARTS = 50_000

# How often the SQL of a rule without forms repeats an argument.
_COPIES = {"NULLIF": 2, "DATE_OF": 6, "HOUR_OF": 6}


class Expression(msgspec.Struct, frozen=True):
    """A checked expression. `names` are the schema's names it reads, `functions` what it calls."""

    text: str
    type: Type
    tree: Node
    names: frozenset[str]
    functions: frozenset[str]


def parse(
    text: str, schema: Mapping[str, Type], *, place: Place | None = None, want: Type | None = None
) -> Expression:
    """Read and check an expression.

    Args:
        text: The expression.
        schema: The names it may read, dotted names included, and their types.
        place: Where the text begins in its file.
        want: The type it must give; an integer may stand for a number, a NULL for anything.

    Raises:
        WorkspaceError: with every fault: D201 and D202 for what cannot be read (the first such place), D203
            to D210 for names, functions and types (all of them).
    """
    source = Source(text, place or Place())
    found, faults = check(source, syntax_of(source), schema)
    faults = faults or _misfit(source, found, want)
    if faults:
        raise WorkspaceError(*sorted(faults, key=lambda fault: (fault.place.line, fault.place.column)))
    tree = fit(found, want or (found.type if found else Type.TEXT))
    if _sql_parts(tree) > MAX_SQL_PARTS:
        raise WorkspaceError(_too_large(source))
    return Expression(text, tree.type, tree, *_mentions(tree))


def _misfit(source: Source, found: Node | None, want: Type | None) -> list[Fault]:
    if want is None or found is None or fits(found, want):
        return []
    message = f"A {want} is wanted here, but this gives: {found.type}."
    return [source.fault("D209", message, 0, hint=misfit_hint(found, want))]


def _sql_parts(node: Node) -> int:
    if not isinstance(node, Call):
        return 1
    if node.form is None:
        return 1 + _COPIES.get(node.op, 1) * sum(map(_sql_parts, node.args))
    return 1 + sum(node.form.copies(position) * _sql_parts(arg) for position, arg in enumerate(node.args))


def _too_large(source: Source) -> Fault:
    return source.fault(
        "D208",
        "The expression is too large to compute.",
        0,
        hint="Split it into traits or audiences and refer to them by name.",
    )


def _mentions(tree: Node) -> tuple[frozenset[str], frozenset[str]]:
    nodes = list(walk(tree))
    names = frozenset(node.name for node in nodes if isinstance(node, Name))
    return names, frozenset(node.op for node in nodes if isinstance(node, Call)) & FUNCTIONS.keys()
