"""Steps from mass mailing to next best actions side by side: income per contact, and complaints."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tilltal.insight.report.charts.plane import Plane, element, picture, short, ticks
from tilltal.insight.report.worth import Measured, StepWorth, WorthView

_ROW, _TOP, _BOTTOM = 34.0, 34.0, 26.0
_NAMES, _PANEL, _GAP = 150.0, 250.0, 40.0


def steps(view: WorthView, currency: str) -> Markup:
    """Draw a row per step, with a dot and its 95 % interval in each of two panels.

    What lies beyond all steps but the last, such as the income of an oracle, is written at the edge.
    """
    height = _TOP + _ROW * len(view.steps) + _BOTTOM
    width = _NAMES + 2 * _PANEL + _GAP + 30
    income = [step.income_per_contact for step in view.steps]
    complaints = [step.complaints for step in view.steps]
    panels = (
        (f"Income per contact, {currency}", income, _NAMES),
        ("Complaints per 1,000 contacts", complaints, _NAMES + _PANEL + _GAP),
    )
    parts = [_name(step, place, view.own) for place, step in enumerate(view.steps)]
    for title, figures, left in panels:
        levels = ticks(*_limits(figures[:-1]), count=4)
        plane = Plane(
            width=width, height=height, x_limits=(levels[0], levels[-1]), y_limits=(0, 1),
            left=left, right=width - left - _PANEL, top=_TOP, bottom=_BOTTOM,
        )  # fmt: skip
        parts += _panel(plane, title, levels)
        for place, figure in enumerate(figures):
            parts += _dot(plane, figure, _y(place), is_own=view.steps[place].name == view.own)
    label = "; ".join(
        f"{step.name}: {short(step.income_per_contact.value)} {currency} and "
        f"{step.complaints.value:.2f} complaints per 1,000"
        for step in view.steps
    )
    whole = Plane(width=width, height=height, x_limits=(0, 1), y_limits=(0, 1))
    return picture(whole, label, parts, "steps")


def _limits(figures: Sequence[Measured]) -> tuple[float, float]:
    return min(0.0, *(each.low for each in figures)), max(each.high for each in figures)


def _y(place: int) -> float:
    return _TOP + _ROW * (place + 0.5)


def _name(step: StepWorth, place: int, own: str) -> Markup:
    kind = "axis own" if step.name == own else "axis"
    return element("text", step.name, x=_NAMES - 14, y=_y(place) + 4, text_anchor="end", class_=kind)


def _panel(plane: Plane, title: str, levels: Sequence[float]) -> list[Markup]:
    bottom = plane.height - plane.bottom
    parts = [element("text", title, x=plane.left, y=14, class_="axis")]
    for level in levels:
        x = plane.x(level)
        parts.append(element("line", class_="grid", x1=x, x2=x, y1=plane.top, y2=bottom))
        parts.append(element("text", short(level), x=x, y=bottom + 16, text_anchor="middle"))
    return parts


def _dot(plane: Plane, figure: Measured, y: float, *, is_own: bool) -> list[Markup]:
    low, high = plane.x_limits
    said = f"{figure.value:,.2f} ({figure.low:,.2f} to {figure.high:,.2f})"
    if figure.value > high:
        edge = plane.width - plane.right
        return [element("text", f"{figure.value:,.0f} →", x=edge, y=y + 4, text_anchor="end", class_="axis")]
    ends = [plane.x(min(max(end, low), high)) for end in (figure.low, figure.high)]
    dot = element(
        "circle", element("title", said), class_="dot own" if is_own else "dot",
        cx=plane.x(figure.value), cy=y, r=5.0,
    )  # fmt: skip
    return [element("line", class_="whisker", x1=ends[0], x2=ends[1], y1=y, y2=y), dot]
