"""Expressions into Python functions: one expression on one profile, or many conditions fused into one pass.

Fusing follows the predicate indexes of publish/subscribe systems (Fabret et al., "Filtering Algorithms and
Implementation for Very Fast Publish/Subscribe Systems", SIGMOD 2001): see `index`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tilltal.rules.clock import Clock
from tilltal.rules.coder import Coder
from tilltal.rules.expression import Expression


def to_python(expression: Expression) -> Callable[[Mapping[str, object], Clock], object]:
    """Compile an expression to a function of named values and the clock.

    A name that the mapping lacks is NULL. Values are as `types` tells; instants are naive UTC.

    >>> from tilltal.rules.expression import parse
    >>> from tilltal.rules.types import Type
    >>> is_adult = to_python(parse("age >= 18", {"age": Type.INTEGER}))
    """
    coder = Coder(lambda name: f"values.get({name!r})")
    function, _ = coder.function([f"return {coder.value(expression.tree)}"], "values")
    return function
