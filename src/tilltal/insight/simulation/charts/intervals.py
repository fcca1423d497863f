"""Measured values with their intervals, one a line, around parity and the margin that counts as fair."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, picture, short, ticks

_LINE = 24.0  # pixels
_TEXT = 240.0


class Interval(msgspec.Struct, frozen=True):
    """A value between its bounds, under a name."""

    name: str
    value: float
    low: float
    high: float
    is_flagged: bool


def intervals(
    given: Sequence[Interval], parity: float, fair: tuple[float, float], label: str, *, most: float
) -> Markup:
    """Draw intervals; what lies beyond the axis, which ends at `most`, is cut there."""
    low = min(fair[0], *(each.low for each in given))
    high = min(max(fair[1], *(each.high for each in given)), most)
    levels = ticks(low, high, 4)
    plane = Plane(
        width=720,
        height=_LINE * len(given) + 34,
        left=_TEXT,
        right=20,
        top=6,
        bottom=28,
        x_limits=(levels[0], levels[-1]),
        y_limits=(0, 1),
    )
    bottom = plane.height - plane.bottom
    first, last = plane.x(fair[0]), plane.x(min(fair[1], levels[-1]))
    height = bottom - plane.top
    parts = [element("rect", class_="fair", x=first, y=plane.top, width=last - first, height=height)]
    for level in levels:
        parts.append(element("text", short(level), x=plane.x(level), y=bottom + 17, text_anchor="middle"))
    at = plane.x(parity)
    parts.append(element("line", class_="grid", x1=at, x2=at, y1=plane.top, y2=bottom))
    for place, each in enumerate(given):
        parts += _interval(plane, each, plane.top + (place + 0.5) * _LINE, levels[-1])
    return picture(plane, label, parts, "chart intervals")


def _interval(plane: Plane, each: Interval, y: float, most: float) -> list[Markup]:
    kind = "flagged" if each.is_flagged else "even"
    left, right = plane.x(min(each.low, most)), plane.x(min(each.high, most))
    parts = [
        element("text", each.name, x=plane.left - 8, y=y + 4, text_anchor="end"),
        element("line", class_=f"whisker {kind}", x1=left, x2=right, y1=y, y2=y),
    ]
    if each.value <= most:
        parts.append(element("circle", class_=f"dot {kind}", cx=plane.x(each.value), cy=y, r=4))
    return parts
