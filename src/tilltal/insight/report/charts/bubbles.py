"""Adaptive models as bubbles: how often yes is said, how well a model tells who, from how many answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, grid, per_cent, picture, short, ticks
from tilltal.models.adaptive.health import HEALTHY, STRONG
from tilltal.models.adaptive.report import ModelReport

_LARGEST = 26.0  # pixels
_LETTER = 7.0  # pixels of a letter, about
_STYLE = (
    ".chart{font:12px sans-serif;fill:#17252f;background:#fff}.grid{stroke:#dcd8ce}"
    ".healthy{fill:#0e5a6b;fill-opacity:.07}.bubble{fill:#0e5a6b;fill-opacity:.35;stroke:#0e5a6b}"
    ".bubble.young{fill:#fff;fill-opacity:.6;stroke-dasharray:3 3}.axis{fill:#51606c}"
)


def bubbles(models: Sequence[ModelReport], label: str) -> Markup:
    """Draw success rate by AUC, the area of a bubble as answers; models without both answers are left out.

    Between the lines of 0.55 and 0.80 lies what is healthy; a model of few positives is dashed.
    """
    shown = sorted(
        (each for each in models if each.latest is not None and each.latest.auc is not None),
        key=lambda each: -_answers(each),
    )
    levels = ticks(0.0, max([each.rate for each in shown] or [0.1]))
    plane = Plane(
        width=640,
        height=400,
        left=52,
        right=24,
        top=24,
        bottom=44,
        x_limits=(min([0.5, *map(_auc, shown)]), 1.0),
        y_limits=(0.0, levels[-1]),
    )
    largest = max([_answers(each) for each in shown] or [1.0])
    parts = _frame(plane, levels)
    parts += [_bubble(plane, each, largest) for each in shown]
    parts += _names(plane, shown, largest)
    note = f"largest: {short(largest)} answers"
    parts.append(element("text", note, class_="axis", x=plane.width - 24, y=16, text_anchor="end"))
    return picture(plane, label, parts, "chart bubbles")


def standalone(drawing: Markup) -> str:
    """Return a drawing as a file of its own, with its style."""
    style = element("style", Markup(_STYLE))  # noqa: S704 - our own text
    return (
        str(drawing)
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace(">", f">{style}", 1)
    )


def _frame(plane: Plane, levels: Sequence[float]) -> list[Markup]:
    left, right = plane.x(HEALTHY), plane.x(STRONG)
    bottom = plane.height - plane.bottom
    parts = [
        element("rect", class_="healthy", x=left, y=plane.top, width=right - left, height=bottom - plane.top),
        *grid(plane, [(level, per_cent(level)) for level in levels]),
    ]
    for value in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(
            element("text", f"{value:g}", x=plane.x(value), y=plane.height - 26, text_anchor="middle")
        )
    middle = (plane.left + plane.width - plane.right) / 2
    parts.append(element("text", "AUC", x=middle, y=plane.height - 8, text_anchor="middle", class_="axis"))
    parts.append(element("text", "share of yes", x=plane.left + 4, y=16, class_="axis"))
    return parts


def _bubble(plane: Plane, each: ModelReport, largest: float) -> Markup:
    kind = "bubble" if each.is_mature else "bubble young"
    share = per_cent(round(each.rate, 4))
    said = f"{each.name}: {share} yes, AUC {_auc(each):.3f}, {_answers(each):,.0f} answers"
    return element(
        "circle",
        element("title", said),
        class_=kind,
        cx=plane.x(_auc(each)),
        cy=plane.y(each.rate),
        r=_radius(each, largest),
    )


def _names(plane: Plane, shown: Sequence[ModelReport], largest: float) -> list[Markup]:
    """Write names beside bubbles, the largest first, where none is written yet; every bubble has a title."""
    placed: list[tuple[float, float, float]] = []
    parts = []
    for each in shown:
        x = plane.x(_auc(each)) + _radius(each, largest) + 3
        width = _LETTER * len(each.name)
        for y in (plane.y(each.rate) + shift for shift in (4, 17, -9)):
            is_free = all(abs(y - b) >= 12 or x + width < a or a + w < x for a, b, w in placed)
            if is_free and x + width <= plane.width:
                placed.append((x, y, width))
                parts.append(element("text", each.name, x=x, y=y))
                break
    return parts


def _radius(each: ModelReport, largest: float) -> float:
    return max(_LARGEST * math.sqrt(_answers(each) / largest), 2.5)


def _answers(each: ModelReport) -> float:
    return each.positives + each.negatives


def _auc(each: ModelReport) -> float:
    assert each.latest is not None
    assert each.latest.auc is not None
    return each.latest.auc
