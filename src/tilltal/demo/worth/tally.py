"""Figures with intervals. Customers are the units: contacts of one customer are alike.

A ratio Σa / Σb over n customers has the standard error sd(a - r b) / (√n · mean b) (linearisation; Cochran
1977, Sampling Techniques, 6.3). Differences of strategies are taken customer by customer: under common random
numbers most of the chance cancels (Law 2015, Simulation Modeling and Analysis, 11.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tilltal.demo.shapes import Floats
from tilltal.insight.report.worth import Measured, StepWorth

Figures = Mapping[str, Floats]  # name of `lives.FIGURES` → by customer
_95 = 1.959963984540054


def ratio(above: Floats, below: Floats, scale: float = 1.0) -> Measured:
    """Return Σ above / Σ below with its interval; without any below, 0."""
    value, errors = _linear(above, below)
    return _measured(scale * value, scale * errors)


def difference(above: tuple[Floats, Floats], below: tuple[Floats, Floats], scale: float = 1.0) -> Measured:
    """Return how much a ratio of one strategy is above that of another, given the parts of each."""
    (one, its_errors), (other, other_errors) = _linear(*above), _linear(*below)
    return _measured(scale * (one - other), scale * (its_errors - other_errors))


def step(name: str, meaning: str, own: Figures, compared: Figures) -> StepWorth:
    """Return a strategy's figures, with how those of another one compare."""
    ones, contacts = np.ones(len(own["contacts"])), own["contacts"]
    return StepWorth(
        name=name,
        meaning=meaning,
        contacts=ratio(contacts, ones),
        response=ratio(own["yes"], contacts),
        income=ratio(own["income"], ones),
        income_per_contact=ratio(own["income"], contacts),
        complaints=ratio(own["complaints"], contacts, 1000),
        opt_outs=ratio(own["opt_outs"], contacts, 1000),
        leavers=ratio(own["leavers"], ones, 1000),
        less_income=_compared(compared, own, "income", 1),
        less_complaints=_compared(compared, own, "complaints", 1000),
    )


def _compared(one: Figures, other: Figures, name: str, scale: float) -> Measured:
    return difference((one[name], one["contacts"]), (other[name], other["contacts"]), scale)


def _linear(above: Floats, below: Floats) -> tuple[float, Floats]:
    """Return a ratio and each customer's part in its error."""
    total = float(below.sum())
    if total == 0:
        return 0.0, np.zeros(len(above))
    value = float(above.sum()) / total
    return value, np.asarray((above - value * below) * (len(below) / total), dtype=np.float64)


def _measured(value: float, errors: Floats) -> Measured:
    half = _95 * float(errors.std(ddof=1)) / math.sqrt(len(errors)) if len(errors) > 1 else math.inf
    return Measured(value, value - half, value + half)
