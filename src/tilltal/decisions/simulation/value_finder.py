"""Value finder: customers for whom nothing relevant is left, and the traits that set them apart.

Under-served is who has no action after the funnel, or only such that all are improbable: below a threshold,
by default the 5 % quantile of all propensities that are left. A decision tree (L. Breiman et al.,
"Classification and Regression Trees", 1984) divides customers by their traits; its leaves are written as
conditions of the expression dialect, so that one of them can become an audience as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.tree import DecisionTreeClassifier

from tilltal.core.errors import WorkspaceError
from tilltal.core.names import literal
from tilltal.decisions.batch_ranking import Bools, Floats, Ints
from tilltal.decisions.simulation.observed import Observed
from tilltal.rules.expression import parse
from tilltal.rules.types import Type

QUANTILE = 0.05
USABLE = (Type.INTEGER, Type.NUMBER, Type.BOOLEAN, Type.TEXT)
_LEAVES = 8
_MOST_VALUES = 12  # of a text; more say who somebody is, not what kind


class Condition(msgspec.Struct, frozen=True):
    """A leaf of the tree in the expression dialect."""

    text: str


class _Part(msgspec.Struct, frozen=True):
    """A column of the tree: a number or yes/no by itself, or one value of a text."""

    name: str
    kind: Type
    has_gaps: bool
    value: str | None = None


class _Step(msgspec.Struct, frozen=True):
    """One turn on the way to a leaf."""

    part: _Part
    cut: float
    is_left: bool
    takes_gaps: bool


def weak_below(one: Observed, quantile: float = QUANTILE) -> float:
    """Return the threshold of improbable: a quantile of all propensities that are left; 0 where none is."""
    return float(np.quantile(one.remaining, quantile)) if len(one.remaining) else 0.0


def under_served(one: Observed, threshold: float) -> Bools:
    """Return (n,) who has nothing left, or only what is less probable than the threshold."""
    return np.asarray(np.isnan(one.most) | (one.most < threshold))


def set_apart(
    table: pa.Table, kinds: Mapping[str, Type], wanted: Bools, *, seed: int
) -> tuple[Condition, ...]:
    """Divide customers so that the wanted ones stand apart; return a condition per leaf, most wanted first.

    Args:
        table: n rows of traits as expressions read them.
        kinds: the traits to divide by, with their types; of those in `USABLE`.
        wanted: (n,) who is to be described.
        seed: among equally good divisions, chance decides.

    Every customer fulfils exactly one of them; there is none where nothing can be told apart.
    """
    parts, columns = _columns(table, kinds)
    if not parts or wanted.all() or not wanted.any():
        return ()
    rows = len(wanted)
    smallest = max(rows // 100, min(20, rows // 10), 1)
    tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES, min_samples_leaf=smallest, random_state=seed)
    fitted = tree.fit(columns, wanted).tree_
    found = []
    for leaf, steps in _leaves(fitted, parts, 0, ()):
        share = fitted.value[leaf][0][-1] / fitted.value[leaf][0].sum()
        found.append((-float(share), " AND ".join(_conditions(steps))))
    return tuple(Condition(text) for _, text in sorted(found) if text)


def _columns(table: pa.Table, kinds: Mapping[str, Type]) -> tuple[list[_Part], Floats]:
    parts: list[_Part] = []
    columns: list[Floats] = []
    for name, kind in kinds.items():
        column = table.column(name)
        has_gaps = column.null_count > 0
        if kind is Type.TEXT:
            for value in _values(column):
                parts.append(_Part(name, kind, has_gaps, value))
                columns.append(_is_value(column, value))
        else:
            parts.append(_Part(name, kind, has_gaps))
            columns.append(_numbers(column))
    return parts, np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0))


def _values(column: pa.ChunkedArray) -> list[str]:
    """Return a text's values; none if it has too many to be a kind of customer."""
    found = [value for value in column.unique().to_pylist() if value is not None]
    return sorted(found) if len(found) <= _MOST_VALUES else []


def _is_value(column: pa.ChunkedArray, value: str) -> Floats:
    return np.asarray(pc.fill_null(pc.equal(column, value), False).to_numpy(), dtype=np.float64)


def _numbers(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.cast(pa.float64()).fill_null(np.nan).to_numpy().copy()
    values[~np.isfinite(values) | (np.abs(values) > np.finfo(np.float32).max)] = np.nan
    return values


class _Tree(msgspec.Struct):
    """What is read of a fitted tree of scikit-learn, by node."""

    children_left: Ints
    children_right: Ints
    feature: Ints
    threshold: Floats
    missing_go_to_left: Ints
    value: Floats


def _leaves(
    tree: _Tree, parts: Sequence[_Part], node: int, steps: tuple[_Step, ...]
) -> Iterator[tuple[int, tuple[_Step, ...]]]:
    """Walk the tree; return each leaf with the steps that lead to it."""
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left == right:
        yield node, steps
        return
    part, cut = parts[tree.feature[node]], float(tree.threshold[node])
    to_left = bool(tree.missing_go_to_left[node]) and part.has_gaps
    for child, is_left in ((left, True), (right, False)):
        takes_gaps = part.has_gaps and to_left is is_left
        yield from _leaves(tree, parts, child, (*steps, _Step(part, cut, is_left, takes_gaps)))


def _conditions(steps: Sequence[_Step]) -> list[str]:
    """Return one condition per trait on the way, in order of first turn."""
    by_name: dict[str, list[_Step]] = {}
    for step in steps:
        by_name.setdefault(step.part.name, []).append(step)
    write = {Type.TEXT: _of_text, Type.BOOLEAN: _of_boolean}
    return [write.get(taken[0].part.kind, _of_number)(taken) for taken in by_name.values()]


def _of_number(steps: Sequence[_Step]) -> str:
    """A cut at infinity tells those who have the number from those who lack it."""
    name, kind = _written(steps[0].part), steps[0].part.kind
    if any(np.isinf(step.cut) and not step.is_left for step in steps):
        return f"{name} IS NULL"
    above = [_rounded(step.cut, kind) for step in steps if not step.is_left]
    below = [_rounded(step.cut, kind) for step in steps if step.is_left and np.isfinite(step.cut)]
    bounds = [f"{name} > {max(above):.10g}"] if above else []
    bounds += [f"{name} <= {min(below):.10g}"] if below else []
    if not bounds:
        return f"{name} IS NOT NULL"
    written = " AND ".join(bounds)
    return f"({written} OR {name} IS NULL)" if all(step.takes_gaps for step in steps) else written


def _rounded(cut: float, kind: Type) -> float:
    """Write a cut as people would: between whole numbers, whole; else with four digits."""
    return float(np.floor(cut)) if kind is Type.INTEGER else float(f"{cut:.4g}")


def _of_boolean(steps: Sequence[_Step]) -> str:
    name = _written(steps[0].part)
    states = [(True, 1.0), (False, 0.0)]
    held = {state for state, number in states if all((number <= each.cut) is each.is_left for each in steps)}
    if all(step.takes_gaps for step in steps):
        return f"{name} IS NOT {str(not held.pop()).upper()}" if held else f"{name} IS NULL"
    if len(held) == len(states):
        return f"{name} IS NOT NULL"
    return name if True in held else f"NOT {name}"


def _of_text(steps: Sequence[_Step]) -> str:
    """A value told apart is taken by the right side; whoever lacks the text is never it."""
    name = _written(steps[0].part)
    taken = [step.part.value for step in steps if not step.is_left]
    if taken:
        return f"{name} = {literal(taken[0] or '')}"
    left_out = sorted(literal(step.part.value or "") for step in steps)
    negated = f"{name} <> {left_out[0]}" if len(left_out) == 1 else f"{name} NOT IN ({', '.join(left_out)})"
    return f"({negated} OR {name} IS NULL)" if steps[0].part.has_gaps else negated


def _written(part: _Part) -> str:
    """Return a name as an expression writes it: in double quotes where it is no plain word."""
    try:
        parse(part.name, {part.name: part.kind})
    except WorkspaceError:
        return ".".join(f'"{piece}"' for piece in part.name.split(".", 1))
    return part.name
