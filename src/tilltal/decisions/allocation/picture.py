"""A picture of what more or less of each capacity would be worth. Readable in print and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tilltal.decisions.allocation.curve import Point

_INK, _PALE = "#1f2933", "#9aa5b1"
_LINES = ("-", "--", ":", "-.")
_MARKS = "os^Dvx"


def curves_picture(curves: Mapping[str, Sequence[Point]], limits: Mapping[str, float], money: str) -> bytes:
    """Draw the value of all contacts against each limit, in per cent of the present one; return a PNG.

    Args:
        curves: resource → points of its curve.
        limits: resource → its present limit, above 0.
        money: what values are in.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(100, color=_PALE, linewidth=1)
    for number, (name, points) in enumerate(sorted(curves.items())):
        axes.plot(
            [100 * point.limit / limits[name] for point in points],
            [point.value for point in points],
            linestyle=_LINES[number % len(_LINES)],
            marker=_MARKS[number % len(_MARKS)],
            markersize=4,
            label=name,
        )
    axes.set_xlabel("Per cent of the present limit", color=_INK)
    axes.set_ylabel(f"Value of all contacts, {money}", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    stream = BytesIO()
    FigureCanvasAgg(figure)  # attaches itself
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
