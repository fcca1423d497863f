"""Horizontal bars: one a line from zero, to the right for more and to the left for less."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, picture, ticks

_LINE = 26.0  # pixels
_TEXT = 190.0


class Bar(msgspec.Struct, frozen=True):
    """A bar: what it is called, how long it is, what is written at its end."""

    name: str
    value: float
    written: str
    is_first: bool = False


def bars(given: Sequence[Bar], label: str, write: Callable[[float], str]) -> Markup:
    """Draw bars from zero; `label` says in words what the picture shows, `write` writes the axis."""
    levels = ticks(min([0.0, *(bar.value for bar in given)]), max([0.0, *(bar.value for bar in given)]))
    plane = Plane(
        width=720,
        height=_LINE * len(given) + 34,
        left=_TEXT,
        right=96,
        top=6,
        bottom=28,
        x_limits=(levels[0], levels[-1]),
        y_limits=(0, 1),
    )
    bottom = plane.height - plane.bottom
    parts = []
    for level in levels:
        x = plane.x(level)
        parts.append(element("line", class_="grid", x1=x, x2=x, y1=plane.top, y2=bottom))
        parts.append(element("text", write(level), x=x, y=bottom + 17, text_anchor="middle"))
    for place, bar in enumerate(given):
        parts += _bar(plane, bar, plane.top + place * _LINE)
    return picture(plane, label, parts, "chart bars")


def _bar(plane: Plane, bar: Bar, top: float) -> list[Markup]:
    zero, end = plane.x(0.0), plane.x(bar.value)
    middle = top + _LINE / 2 + 4
    kind = "length first" if bar.is_first else "length less" if bar.value < 0 else "length"
    return [
        element("text", bar.name, x=plane.left - 8, y=middle, text_anchor="end"),
        element(
            "rect", class_=kind, x=min(zero, end), y=top + 4, width=max(abs(end - zero), 1), height=_LINE - 8
        ),
        element("text", bar.written, x=max(zero, end) + 6, y=middle),
    ]
