"""How good a model is: the gains curve, and what came true against what was said."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, Point, element, grid, per_cent, picture, ticks
from tilltal.models.quality.evaluation import Evaluation
from tilltal.models.quality.reliability import ReliabilityBin

_SIZE = {"width": 300.0, "height": 232.0, "left": 42.0, "bottom": 40.0}
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def gains(test: Evaluation, label: str) -> Markup:
    """Draw which share of all positives the best-scored share of customers holds, against chance."""
    plane = Plane(x_limits=(0, 1), y_limits=(0, 1), **_SIZE)
    reached, points = 0.0, [(0.0, 0.0)]
    for tenth in test.tenths:
        reached += tenth.rows / max(test.rows, 1)
        points.append((reached, tenth.gain))
    parts = _frame(plane, _QUARTERS, "customers, best scores first", "found")
    parts.append(element("path", class_="line chance", d=plane.path([(0, 0), (1, 1)])))
    parts.append(element("path", class_="area", d=plane.path([*points, (0.0, 0.0)]) + "Z"))
    parts.append(element("path", class_="line", d=plane.path(points)))
    parts += [_dot(plane, point, "dot") for point in points[1:]]
    parts.append(_note(plane, 0.72, 0.6, "at random"))
    return picture(plane, label, parts, "chart quality")


def reliability(test: Evaluation, label: str) -> Markup:
    """Draw what came true against what was said: after calibration with 95 % intervals, before as crosses."""
    bins = (*test.reliability, *test.reliability_raw)
    high = max(max(each.said, each.high) for each in bins)
    levels = ticks(0, min(high, 1.0))
    top = levels[-1]
    plane = Plane(x_limits=(0, top), y_limits=(0, top), **_SIZE)
    parts = _frame(plane, levels, "said", "came true")
    parts.append(element("path", class_="line chance", d=plane.path([(0, 0), (top, top)])))
    parts += [_cross(plane, _point(each)) for each in test.reliability_raw]
    parts += [_whisker(plane, each, top) for each in test.reliability]
    points = [_point(each) for each in test.reliability]
    parts.append(element("path", class_="line", d=plane.path(points)))
    parts += [_dot(plane, point, "dot") for point in points]
    return picture(plane, label, parts, "chart quality")


def _frame(plane: Plane, levels: Sequence[float], below: str, above: str) -> list[Markup]:
    parts = grid(plane, [(level, per_cent(level)) for level in levels])
    for level in levels:
        anchor = "end" if level == levels[-1] else "middle"
        text = per_cent(level)
        parts.append(element("text", text, x=plane.x(level), y=plane.height - 24, text_anchor=anchor))
    middle = (plane.left + plane.width - plane.right) / 2
    parts.append(element("text", below, x=middle, y=plane.height - 6, text_anchor="middle", class_="axis"))
    parts.append(element("text", above, x=plane.left + 4, y=plane.top + 10, class_="axis"))
    return parts


def _point(each: ReliabilityBin) -> Point:
    return each.said, each.came_true


def _dot(plane: Plane, point: Point, kind: str) -> Markup:
    return element("circle", class_=kind, cx=plane.x(point[0]), cy=plane.y(point[1]), r=3)


def _cross(plane: Plane, point: Point) -> Markup:
    x, y = plane.x(point[0]), plane.y(point[1])
    return element("path", class_="cross", d=f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6")


def _whisker(plane: Plane, each: ReliabilityBin, top: float) -> Markup:
    x = plane.x(each.said)
    return element(
        "line", class_="whisker", x1=x, x2=x, y1=plane.y(each.low), y2=plane.y(min(each.high, top))
    )


def _note(plane: Plane, x: float, y: float, text: str) -> Markup:
    return element("text", text, class_="axis", x=plane.x(x), y=plane.y(y))
