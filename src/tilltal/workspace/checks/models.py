"""Checks `models/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault
from tilltal.core.time import parse_window
from tilltal.workspace.absent import may_fit
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.checks.segments import patterns
from tilltal.workspace.definitions.models import Model, Outcome, Uplift
from tilltal.workspace.names import matching


def check_models(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all models."""
    for name, model in scope.workspace.models.items():
        at = At(scope.workspace, f"models/{name}.yaml")
        yield from _outcome(scope, at, model.outcome)
        yield from _uplift(scope, at, model.uplift)
        yield from at.readable(model.horizon, parse_window, "horizon")
        yield from at.readable(model.snapshots.every, parse_window, "snapshots", "every")
        yield from _features(scope, at, model)
        if model.purpose is not None:
            yield from at.unknown("purpose", model.purpose, scope.workspace.consent.purposes, "purpose")


def _outcome(scope: Scope, at: At, outcome: Outcome) -> Iterator[Fault]:
    given = {"events": outcome.events, "holding": outcome.holding, "closes": outcome.closes}
    yield from at.one_of(given, "outcome")
    yield from at.all_known("event type", outcome.events, scope.events, "outcome", "events")
    if outcome.holding is not None:
        yield from at.unknown("product", outcome.holding, scope.products, "outcome", "holding")
    if outcome.where is not None and not outcome.events:
        yield at.key_fault("W121", "`where` is about events; give `events`.", "outcome", "where")
    lifecycle = scope.workspace.lifecycle
    is_open = lifecycle is None or (lifecycle.closed is None and lifecycle.notice is None)
    if outcome.closes and is_open and "lifecycle.yaml" not in scope.workspace.faulty:
        hint = "Say in lifecycle.yaml what `closed` or `notice` is."
        yield at.fault("W121", "Nothing says when a relation ends.", "outcome", "closes", hint=hint)


def _uplift(scope: Scope, at: At, uplift: Uplift | None) -> Iterator[Fault]:
    if uplift is None:
        return
    for key, group in (("treated", uplift.treated), ("control", uplift.control)):
        yield from at.all_known("event type", group.events, scope.events, "uplift", key, "events")
        if not group.events:
            yield at.fault("W121", "A group needs at least one event type.", "uplift", key, "events")


def _features(scope: Scope, at: At, model: Model) -> Iterator[Fault]:
    yield from patterns(scope, at, model.features, "features")
    yield from patterns(scope, at, model.exclude, "exclude")
    chosen = set(matching(model.features, scope.profile)) - set(matching(model.exclude, scope.profile))
    if not model.features:
        yield at.fault("W121", "A model needs at least one feature.", "features")
    elif any(may_fit(scope.workspace.faulty, pattern) for pattern in model.features):
        return
    elif matching(model.features, scope.profile) and not chosen:
        yield at.fault("W136", "`exclude` leaves no feature.", "exclude")
