"""Pictures of a model card as PNG: gains, reliability, importance. Readable in print and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import msgspec
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tilltal.models.quality.evaluation import Evaluation
from tilltal.models.quality.reliability import ReliabilityBin
from tilltal.models.quality.report import FeatureUse
from tilltal.models.uplift.findings import Trial

_INK, _PALE, _ACCENT = "#1f2933", "#9aa5b1", "#0b6e99"
_SIZE = (5.2, 4.0)
_MOST_FEATURES = 12


class Picture(msgspec.Struct, frozen=True):
    """A picture: its file name and its PNG bytes."""

    name: str
    png: bytes


def gains_picture(test: Evaluation) -> Picture:
    """Draw which share of all positives the best-scored share of customers holds."""
    figure, axes = _axes("Share of customers, best scores first", "Share of all positives found")
    reached = [0.0]
    for tenth in test.tenths:
        reached.append(reached[-1] + tenth.rows / test.rows)
    axes.plot([0, 1], [0, 1], color=_PALE, linestyle="--", label="at random")
    found = [0.0, *(tenth.gain for tenth in test.tenths)]
    axes.plot(reached, found, color=_ACCENT, marker="o", label="model")
    axes.legend(loc="lower right", frameon=False)
    return _png("gains.png", figure)


def reliability_picture(test: Evaluation) -> Picture:
    """Draw what came true against what was said, before and after calibration, with 95 % intervals."""
    figure, axes = _axes("Said", "Came true")
    top = 1.05 * max(max(b.said, b.high) for b in (*test.reliability, *test.reliability_raw))
    axes.plot([0, top], [0, top], color=_PALE, linestyle="--", label="perfect")
    axes.plot(*_points(test.reliability_raw), color=_PALE, marker="x", linestyle=":", label="before")
    said, true = _points(test.reliability)
    low = [max(b.came_true - b.low, 0.0) for b in test.reliability]
    high = [max(b.high - b.came_true, 0.0) for b in test.reliability]
    axes.errorbar(said, true, yerr=[low, high], color=_ACCENT, marker="o", capsize=2, label="after")
    axes.legend(loc="upper left", frameon=False)
    return _png("reliability.png", figure)


def qini_picture(trial: Trial) -> Picture:
    """Draw what treating the customers with the highest predicted effects adds, beside a random order."""
    figure, axes = _axes("Share of customers treated, best first", "Added yes per 1,000 treated of all")
    shares, found = zip(*trial.path, strict=True)
    axes.plot([0, 1], [0, 1000 * found[-1]], color=_PALE, linestyle="--", label="at random")
    axes.plot(shares, [1000 * gain for gain in found], color=_ACCENT, label="uplift model")
    axes.legend(loc="lower right", frameon=False)
    return _png("qini.png", figure)


def importance_picture(features: Sequence[FeatureUse]) -> Picture:
    """Draw the features that carry most of the model."""
    shown = list(features[:_MOST_FEATURES])[::-1]
    figure, axes = _axes("Share of the model's gain", "")
    axes.barh([use.name for use in shown], [use.importance for use in shown], color=_ACCENT)
    return _png("importance.png", figure)


def _points(bins: Sequence[ReliabilityBin]) -> tuple[list[float], list[float]]:
    return [b.said for b in bins], [b.came_true for b in bins]


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(name: str, figure: Figure) -> Picture:
    """Render without the global state of pyplot; no metadata, so that equal models give equal bytes."""
    buffer = BytesIO()
    FigureCanvasAgg(figure)  # attaches itself
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Picture(name, buffer.getvalue())
