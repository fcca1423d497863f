"""How a figure ran over time: a line with round axes, its last value written out; and a line without axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, grid, picture, short, ticks

Values = Sequence[float | None]


def trend(
    values: Values,
    ends: tuple[str, str],
    label: str,
    *,
    write: Callable[[float], str] = short,
    is_filled: bool = False,
    is_open: bool = False,
) -> Markup:
    """Draw a figure over equal periods.

    Args:
        values: one per period, None where undefined: the line has a gap there.
        ends: how the first and the last period are called.
        label: what the picture shows, in words.
        write: writes a number for the axis.
        is_filled: fill down to zero, for sizes; the axis then begins at zero.
        is_open: the last period is not over: its stretch is dashed and its point hollow.
    """
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if is_filled or 0 <= low < 0.6 * high:
        low = min(low, 0.0)
    levels = ticks(low, high)
    plane = Plane(
        width=300,
        height=132,
        left=46,
        right=14,
        x_limits=(0, max(len(values) - 1, 1)),
        y_limits=(levels[0], levels[-1]),
    )
    parts = grid(plane, [(level, write(level)) for level in levels])
    parts += [
        element("text", ends[0], x=plane.left, y=plane.height - 6),
        element("text", ends[1], x=plane.width - plane.right, y=plane.height - 6, text_anchor="end"),
    ]
    parts += _line(plane, values, is_filled=is_filled, is_open=is_open)
    return picture(plane, label, parts, "chart trend")


def sparkline(values: Values, label: str) -> Markup:
    """Draw a small line without axes, from zero up."""
    high = max((value for value in values if value is not None), default=1.0) or 1.0
    plane = Plane(
        width=90,
        height=22,
        left=2,
        right=4,
        top=3,
        bottom=3,
        x_limits=(0, max(len(values) - 1, 1)),
        y_limits=(0, high),
    )
    return picture(plane, label, _line(plane, values), "spark")


def _line(plane: Plane, values: Values, *, is_filled: bool = False, is_open: bool = False) -> list[Markup]:
    parts: list[Markup] = []
    for stretch in _stretches(values):
        if is_filled and len(stretch) > 1:
            base = [(stretch[-1][0], plane.y_limits[0]), (stretch[0][0], plane.y_limits[0])]
            parts.append(element("path", class_="area", d=plane.path([*stretch, *base]) + "Z"))
        solid = stretch[:-1] if is_open and stretch[-1][0] == len(values) - 1 else stretch
        parts.append(element("path", class_="line", d=plane.path(solid or stretch)))
        if len(solid) < len(stretch) and len(stretch) > 1:
            parts.append(element("path", class_="line open", d=plane.path(stretch[-2:])))
    if values and values[-1] is not None:
        kind = "dot open" if is_open else "dot"
        x, y = plane.x(len(values) - 1), plane.y(values[-1])
        parts.append(element("circle", class_=kind, cx=x, cy=y, r=3.2))
    return parts


def _stretches(values: Values) -> list[list[tuple[float, float]]]:
    """Return the runs of values without gaps, as points."""
    found: list[list[tuple[float, float]]] = []
    is_new = True
    for place, value in enumerate(values):
        if value is not None:
            if is_new:
                found.append([])
            found[-1].append((float(place), value))
        is_new = value is None
    return found
