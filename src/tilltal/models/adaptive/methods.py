"""The methods by name: a model begun anew, or gone on with from its state."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tilltal.models.adaptive import logistic, naive_bayes
from tilltal.models.adaptive.layout import Layout
from tilltal.models.adaptive.logistic import BayesianLogistic
from tilltal.models.adaptive.model import AdaptiveModel
from tilltal.models.adaptive.naive_bayes import NaiveBayes, naive_bayes_from
from tilltal.workspace.definitions.actions import Method

_FINER = 2  # a period of counts is half one of sums
_read = msgspec.msgpack.Decoder(naive_bayes.Stored | logistic.Stored).decode


def new_model(layout: Layout) -> AdaptiveModel:
    """Return a model that has learned nothing, by the method its definition names."""
    return NaiveBayes(layout) if layout.adaptive.method == "naive_bayes" else BayesianLogistic(layout)


def model_from(data: bytes, layout: Layout) -> AdaptiveModel:
    """Read a state. One of another definition begins anew, with its totals.

    Raises:
        msgspec.DecodeError: if the bytes are no state.
    """
    stored = _read(data)
    if layout.adaptive.method == "bayesian_logistic":
        model = BayesianLogistic(layout)
        model.load(stored if isinstance(stored, logistic.Stored) else _without_cells(stored))
        return model
    return naive_bayes_from(
        stored if isinstance(stored, naive_bayes.Stored) else _without_sums(stored), layout
    )


def _without_cells(stored: naive_bayes.Stored) -> logistic.Stored:
    """Return the totals of another method's state."""
    known = [*stored.totals, *((period, yes[0], no[0]) for period, yes, no in stored.periods)]
    return logistic.Stored("", _added((period // _FINER, yes, no) for period, yes, no in known), [])


def _without_sums(stored: logistic.Stored) -> naive_bayes.Stored:
    """Return the totals of another method's state."""
    known = [*stored.totals, *((period, yes, no) for period, yes, no, _, _ in stored.periods)]
    return naive_bayes.Stored("", _added((period * _FINER, yes, no) for period, yes, no in known), [])


def _added(totals: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return one entry a period, of totals that may name a period twice."""
    found: dict[int, tuple[int, int]] = {}
    for period, yes, no in totals:
        mine = found.get(period, (0, 0))
        found[period] = (mine[0] + yes, mine[1] + no)
    return [(period, yes, no) for period, (yes, no) in sorted(found.items())]


def method_of(data: bytes) -> Method:
    """Return by which method a state was made.

    Raises:
        msgspec.DecodeError: if the bytes are no state.
    """
    return "naive_bayes" if isinstance(_read(data), naive_bayes.Stored) else "bayesian_logistic"
