"""The page: the report's style, every missing value an error, pictures and style inside, no script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tilltal.decisions.simulation.fairness import MISSING, Lean, RateRatio, gini_margin
from tilltal.decisions.simulation.mix import SegmentChange
from tilltal.insight.report import words
from tilltal.insight.report.charts.plane import short
from tilltal.insight.simulation.charts.bars import Bar, bars
from tilltal.insight.simulation.charts.intervals import Interval, intervals
from tilltal.insight.simulation.data import Findings, Simulation

SHOWN_ACTIONS = 15
SHOWN_ROWS = 15
SHOWN_IN_GRID = 12
_WIDEST_RATIO = 4.0


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """Counts between actions; `most` is the largest off the diagonal."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    most: int


def render(made: Simulation) -> str:
    """Return the whole page as HTML; it refers to nothing outside itself."""
    return _environment().get_template("simulation.html.jinja").render(data=made, first=made.scenarios[0])


def expected_picture(made: Simulation) -> Markup:
    """Draw what each scenario is expected to bring."""
    given = [
        Bar(one.name, one.totals.expected, words.money(one.totals.expected, made.money), place == 0)
        for place, one in enumerate(made.scenarios)
    ]
    return bars(given, f"Expected value of each scenario in {made.money}", short)


def change_picture(changes: Sequence[SegmentChange], made: Simulation) -> Markup:
    """Draw what the groups with most at stake gain or lose."""
    strongest = sorted(changes[1:], key=lambda each: -abs(each.expected))[:SHOWN_ROWS]
    given = [
        Bar(_group(each), each.expected, _signed(each.expected))
        for each in sorted(strongest, key=lambda each: -each.expected)
    ]
    return bars(given, f"Change of the expected value by group in {made.money}", short)


def ratio_picture(one: Findings, margin: float) -> Markup:
    """Draw the ratios of all groups for any action, and those flagged for one."""
    given = [
        Interval(
            _called(each, f"{words.name(each.trait)}: {words.segment(each.group)}"),
            each.ratio,
            each.low,
            each.high,
            each.is_flagged,
        )
        for each in one.ratios
        if each.ratio is not None and each.low is not None and each.high is not None and _is_told(each)
    ]
    label = "How often groups are chosen against all others, with 95 % intervals"
    fair = (1 - margin, 1 / (1 - margin))
    return intervals(given, 1.0, fair, label, most=_WIDEST_RATIO) if given else Markup("")


def lean_picture(one: Findings, margin: float) -> Markup:
    """Draw how the choice leans along numbers."""
    given = [
        Interval(_called(each, words.name(each.trait)), each.gini, each.low, each.high, each.is_flagged)
        for each in one.leans
        if each.gini is not None and each.low is not None and each.high is not None and _is_told(each)
    ]
    bound = gini_margin(margin)
    label = "Gini of the selection curve, with 95 % intervals"
    return intervals(given, 0.0, (-bound, bound), label, most=1.0) if given else Markup("")


def move_grid(one: Findings) -> Grid:
    """Return who goes from which first action (rows) to which (columns), the most common of them."""
    return _grid([(each.before, each.after, each.customers) for each in one.moves])


def beat_grid(one: Findings) -> Grid:
    """Return which first action (rows) beats which (columns), the most common of them."""
    return _grid([(each.winner, each.loser, each.customers) for each in one.beats])


def _grid(pairs: Sequence[tuple[str, str, int]]) -> Grid:
    sums: dict[str, int] = {}
    for row, column, customers in pairs:
        for name in {row, column}:
            sums[name] = sums.get(name, 0) + customers
    names = sorted(sums, key=lambda name: (-sums[name], name))[:SHOWN_IN_GRID]
    counts = {(row, column): customers for row, column, customers in pairs}
    return Grid(
        names=tuple(names),
        counts=tuple(tuple(counts.get((row, column), 0) for column in names) for row in names),
        most=max((counts.get((a, b), 0) for a in names for b in names if a != b), default=1) or 1,
    )


def _is_told(each: RateRatio | Lean) -> bool:
    return not each.action or each.is_flagged


def _called(each: RateRatio | Lean, name: str) -> str:
    return f"{name}: {words.name(each.action)}" if each.action else name


def _group(each: SegmentChange) -> str:
    """Return a group's name; a yes or no says of what."""
    is_answer = each.group in ("yes", "no", MISSING)
    return f"{words.name(each.trait)}: {each.group}" if is_answer else words.segment(each.group)


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + words.number(value)


def _actions(made: Simulation) -> list[str]:
    """Return the actions that most customers have first in some scenario."""
    most: dict[str, int] = {}
    for one in made.scenarios:
        for each in one.actions:
            most[each.action] = max(most.get(each.action, 0), each.first)
    found = [name for name, count in most.items() if count]
    return sorted(found, key=lambda name: (-most[name], name))[:SHOWN_ACTIONS]


def _firsts(one: Findings) -> dict[str, int]:
    return {each.action: each.first for each in one.actions}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("tilltal.insight.simulation"), PackageLoader("tilltal.insight.report")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number, "figure": words.figure, "share": words.share, "rough": words.rough,
        "money": words.money, "name": words.name, "segment": words.segment, "dimension": words.dimension,
        "signed": _signed,
    }  # fmt: skip
    environment.globals |= {
        "expected_picture": expected_picture, "change_picture": change_picture, "actions_of": _actions,
        "ratio_picture": ratio_picture, "lean_picture": lean_picture, "firsts_of": _firsts,
        "rows": SHOWN_ROWS, "move_grid": move_grid, "beat_grid": beat_grid,
    }  # fmt: skip
    return environment
