"""The persona map: customers as small marks, one shape a persona, and the centroids as numbers.

Shape and number tell personas apart without colour; the numbers stay readable when the picture is small.
"""

from __future__ import annotations

from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, picture
from tilltal.insight.report.data import PersonaView

_SHAPES = (
    "M{x} {y}m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0",
    "M{x} {y}m-2 -2h4v4h-4z",
    "M{x} {y}m0 -2.6l2.6 4.6h-5.2z",
    "M{x} {y}m-2.4 0h4.8m-2.4 -2.4v4.8",
    "M{x} {y}m-2 -2l4 4m0 -4l-4 4",
    "M{x} {y}m0 -2.8l2.8 2.8l-2.8 2.8l-2.8 -2.8z",
    "M{x} {y}m-2.6 0h5.2",
    "M{x} {y}m0 2.6l2.6 -4.6h-5.2z",
)
SHAPES = len(_SHAPES)
_FRAMED = 0.995  # a few customers far out would squeeze all others


def persona_map(view: PersonaView, label: str) -> Markup:
    """Draw the sample and the centroids; number 1 is the largest persona."""
    plane = _plane(view)
    parts = [
        element(
            "path",
            class_=f"mark m{index % SHAPES}",
            d="".join(_mark(plane, index, x, y) for x, y in persona.sample if _is_inside(plane, x, y)),
        )
        for index, persona in enumerate(view.personas)
    ]
    for index, persona in enumerate(view.personas):
        x, y = plane.x(persona.x), plane.y(persona.y)
        parts.append(element("circle", class_="centroid", cx=x, cy=y, r=15))
        parts.append(element("text", str(index + 1), class_="centroid", x=x, y=y + 6.5, text_anchor="middle"))
    return picture(plane, label, parts, "chart map")


def key(index: int) -> Markup:
    """Draw the mark of persona number `index` (from 0) for the legend."""
    shape = _SHAPES[index % SHAPES].format(x=4, y=4)
    plane = Plane(width=8, height=8, x_limits=(0, 1), y_limits=(0, 1))
    mark = element("path", class_=f"mark m{index % SHAPES}", d=shape)
    return element(
        "svg", mark, class_="key", viewBox=f"0 0 {plane.width:.0f} {plane.height:.0f}", aria_hidden="true"
    )


def _plane(view: PersonaView) -> Plane:
    points = [point for persona in view.personas for point in persona.sample]
    centres = [(persona.x, persona.y) for persona in view.personas]
    limits = [
        _limits([point[axis] for point in points], [centre[axis] for centre in centres]) for axis in (0, 1)
    ]
    return Plane(
        width=640, height=440, left=18, right=18, top=18, bottom=18, x_limits=limits[0], y_limits=limits[1]
    )


def _limits(values: list[float], must: list[float]) -> tuple[float, float]:
    ordered = sorted(values) or [0.0, 1.0]
    cut = int(len(ordered) * (1 - _FRAMED))
    low, high = min(ordered[cut], *must), max(ordered[-1 - cut], *must)
    return (low, high) if high > low else (low - 1, high + 1)


def _is_inside(plane: Plane, x: float, y: float) -> bool:
    return plane.x_limits[0] <= x <= plane.x_limits[1] and plane.y_limits[0] <= y <= plane.y_limits[1]


def _mark(plane: Plane, index: int, x: float, y: float) -> str:
    return _SHAPES[index % SHAPES].format(x=f"{plane.x(x):.0f}", y=f"{plane.y(y):.0f}")
