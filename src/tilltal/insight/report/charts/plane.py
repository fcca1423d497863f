"""The plane a picture is drawn on: from values to places, axes with round numbers, and SVG elements.

An inline SVG in HTML needs no namespace, so none is written. Places are rounded to a tenth of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

from tilltal.insight.report import words

Point = tuple[float, float]


class Plane(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of `width` × `height` with margins, showing x and y between their limits."""

    width: float
    height: float
    x_limits: Point
    y_limits: Point
    left: float = 40
    right: float = 12
    top: float = 10
    bottom: float = 24

    def x(self, value: float) -> float:
        """Return where a value lies from the left."""
        low, high = self.x_limits
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return where a value lies from the top."""
        low, high = self.y_limits
        return (
            self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)
        )

    def path(self, points: Iterable[Point]) -> str:
        """Return the points as the path of a line."""
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)


def element(tag: str, text: str | Markup = "", **attributes: str | float) -> Markup:
    """Return an element with escaped text and attributes; `_` in an attribute's name stands for `-`.

    >>> element("text", "a < b", text_anchor="end", x=1.25)
    Markup('<text text-anchor="end" x="1.2">a &lt; b</text>')
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), written, text)  # noqa: S704 - our own tag names


def picture(plane: Plane, label: str, parts: Sequence[Markup], kind: str) -> Markup:
    """Return the SVG; `label` says in words what it shows."""
    return element(
        "svg",
        Markup("").join(parts),
        class_=kind,
        viewBox=f"0 0 {_plain(plane.width)} {_plain(plane.height)}",
        role="img",
        aria_label=label,
    )


def ticks(low: float, high: float, count: int = 3) -> tuple[float, ...]:
    """Return round numbers that span two values, at most about `count` steps apart.

    >>> ticks(0, 87), ticks(0.92, 0.99)
    ((0.0, 50.0, 100.0), (0.9, 0.95, 1.0))
    """
    span = (high - low) or abs(high) or 1.0
    rough = span / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, max(last, first + 1) + 1))


def grid(plane: Plane, labels: Sequence[tuple[float, str]]) -> list[Markup]:
    """Return horizontal lines with their labels on the left."""
    parts = []
    for value, label in labels:
        y = plane.y(value)
        parts.append(element("line", class_="grid", x1=plane.left, x2=plane.width - plane.right, y1=y, y2=y))
        parts.append(element("text", label, x=plane.left - 5, y=y + 3.5, text_anchor="end"))
    return parts


def short(value: float) -> str:
    """Write a number for an axis.

    >>> short(0.0), short(1500.0), short(2_000_000.0), short(0.25)
    ('0', '1.5k', '2M', '0.25')
    """
    for size, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return words.figure(value / size) + letter
    return words.figure(value)


def per_cent(value: float) -> str:
    """Write a share for an axis.

    >>> per_cent(0.985), per_cent(-0.3)
    ('98.5 %', '−30 %')
    """
    return f"{100 * value:.10g} %".replace("-", "−")


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
