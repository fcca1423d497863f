"""The models: what each predicts and what its time-ordered test showed."""

from __future__ import annotations

from collections.abc import Iterable

from tilltal.core.time import parse_window
from tilltal.insight.report import words
from tilltal.insight.report.data import ModelView
from tilltal.models.model import Content
from tilltal.workspace.definitions.models import Outcome

_FEATURES = 5


def models(contents: Iterable[Content]) -> tuple[ModelView, ...]:
    """Return the models: accepted ones first, the best of them at the top."""
    found = [_model(content) for content in contents]
    return tuple(sorted(found, key=lambda model: (not model.is_accepted, -_auc(model), model.name)))


def _model(content: Content) -> ModelView:
    report, definition = content.report, content.definition
    low, high = report.base_rate.interval
    return ModelView(
        name=content.name,
        predicts=_predicts(definition.outcome),
        horizon=str(parse_window(definition.horizon)),
        is_accepted=report.is_accepted,
        verdict=report.verdict,
        base_rate=report.base_rate.mean,
        base_low=low,
        base_high=high,
        test=report.test,
        features=tuple((use.name, use.importance) for use in report.features[:_FEATURES]),
        notes=report.notes,
    )


def _auc(model: ModelView) -> float:
    return model.test.auc.value if model.test else 0.0


def _predicts(outcome: Outcome) -> str:
    if outcome.closes:
        return "gives notice or leaves"
    if outcome.holding is not None:
        return f"opens {words.inline(outcome.holding)}"
    events = " or ".join(words.inline(event) for event in outcome.events)
    return f"{events} where {outcome.where}" if outcome.where else events
