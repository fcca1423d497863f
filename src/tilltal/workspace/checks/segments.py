"""Checks audiences, lifecycle, value grid, personas and micro-segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tilltal.core.errors import Fault
from tilltal.workspace.absent import may_fit
from tilltal.workspace.checks.profile import measured_field
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.definitions.segments import (
    Axis,
    Engagement,
    Lifecycle,
    Lookalike,
    Moments,
    Personas,
    Value,
)
from tilltal.workspace.names import FAMILIES, matching
from tilltal.workspace.written import moments_of


def check_audiences(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all audiences."""
    for name, audience in scope.workspace.audiences.items():
        at = At(scope.workspace, f"audiences/{name}.yaml")
        keys = {"condition": audience.condition, "lookalike": audience.lookalike}
        yield from at.one_of(keys)
        if audience.lookalike is not None:
            yield from _lookalike(scope, at, audience.lookalike)


def _lookalike(scope: Scope, at: At, lookalike: Lookalike) -> Iterator[Fault]:
    yield from at.unknown("audience", lookalike.of, scope.workspace.audiences, "lookalike", "of")
    yield from patterns(scope, at, lookalike.features, "lookalike", "features")
    keys = {"similarity": lookalike.similarity, "size": lookalike.size}
    yield from at.one_of({key: value is not None for key, value in keys.items()}, "lookalike")


def patterns(scope: Scope, at: At, listed: Sequence[str], *path: str | int) -> Iterator[Fault]:
    """Yield a fault for each pattern that fits no name of the profile."""
    for index, pattern in enumerate(listed):
        if matching([pattern], scope.profile) or may_fit(scope.workspace.faulty, pattern):
            continue
        if "*" in pattern or "?" in pattern:
            yield at.fault("W136", f"The pattern {pattern!r} fits no name of the profile.", *path, index)
        else:
            yield from at.unknown("name", pattern, scope.profile, *path, index)


def check_lifecycle(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `lifecycle.yaml`."""
    lifecycle, at = scope.workspace.lifecycle, At(scope.workspace, "lifecycle.yaml")
    if lifecycle is None:
        return
    for key, moments in moments_of(lifecycle).items():
        yield from _moments(scope, at, key, moments)
    if lifecycle.notice_withdrawn is not None and lifecycle.notice is None:
        yield at.key_fault("W121", "`notice_withdrawn` needs a `notice`.", "notice_withdrawn")
    stages = [getattr(lifecycle.names, key) for key in ("new", "loyal", "retain", "regain", "comeback")]
    for name, count in Counter(stages).items():
        if count > 1:
            yield at.fault("W133", f"Two stages are called {name!r}.", "names")
    yield from _silence(at, lifecycle)
    if lifecycle.engagement is not None:
        yield from _engagement(scope, at, lifecycle.engagement)


def _silence(at: At, lifecycle: Lifecycle) -> Iterator[Fault]:
    """Silence can end a relation, not begin one; and it must watch the events that begin the relation."""
    for key, moments in (("opened", lifecycle.opened), ("notice_withdrawn", lifecycle.notice_withdrawn)):
        if moments is not None and moments.silence:
            yield at.key_fault("W121", f"`{key}` cannot come from silence.", key, "silence")
    opened, closed = lifecycle.opened, lifecycle.closed
    if closed is None or not closed.silence or not opened.first_event:
        return
    if not set(opened.first_event) <= set(closed.silence) or closed.where not in (None, opened.where):
        message = "The silence does not watch all events that open the relation."
        hint = "Name all of `opened.first_event` in it, and give it no narrower `where`."
        yield at.fault("W121", message, "closed", "silence", hint=hint)


def _engagement(scope: Scope, at: At, engagement: Engagement) -> Iterator[Fault]:
    if engagement.measure == "recency":
        message = "`recency` is no measure of engagement: it grows as engagement falls."
        yield at.fault("W121", message, "engagement", "measure")
    if not engagement.from_:
        yield at.fault("W121", "`from` needs at least one event type.", "engagement", "from")
    yield from at.all_known("event type", engagement.from_, scope.events, "engagement", "from")
    if engagement.of is None and engagement.measure not in ("count", "exists", "recency"):
        what = f"`{engagement.measure}`" if engagement.measure else "A reading"
        yield at.fault("W121", f"{what} needs `of`, the field to read.", "engagement")
    measure = engagement.measure or "avg"  # a reading is a number, as what an average is of
    yield from measured_field(scope, at, measure, engagement.of, engagement.from_, "engagement", "of")


def _moments(scope: Scope, at: At, key: str, moments: Moments) -> Iterator[Fault]:
    given = {
        "events": moments.events,
        "first_event": moments.first_event,
        "holding": moments.holding,
        "silence": moments.silence,
    }
    yield from at.one_of(given, key)
    for name in ("events", "first_event", "silence"):
        yield from at.all_known("event type", given[name], scope.events, key, name)
    yield from at.all_known("product", moments.holding, (*scope.products, "any"), key, "holding")
    if moments.where is not None and moments.holding:
        yield at.key_fault("W121", "`where` is about events; holdings have no fields.", key, "where")
    if at.states(key, "days") and not moments.silence:
        yield at.key_fault("W121", "`days` belongs to `silence`.", key, "days")


def check_value(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `value.yaml`: axes, and one cell for each crossing of classes."""
    value, at = scope.workspace.value, At(scope.workspace, "value.yaml")
    if value is None:
        return
    for key, axis in (("income", value.income), ("affinity", value.affinity)):
        yield from _axis(at, key, axis)
    yield from _cells(at, value)


def _axis(at: At, key: str, axis: Axis) -> Iterator[Fault]:
    cuts = axis.cuts
    yield from at.one_of({"values": cuts.values, "quantiles": cuts.quantiles}, key, "cuts", needed=False)
    borders, name = (cuts.quantiles, "quantiles") if cuts.quantiles else (cuts.values, "values")
    for index in range(1, len(borders)):
        if borders[index] <= borders[index - 1]:
            yield at.fault("W135", "Borders must rise.", key, "cuts", name, index)
    if len(axis.classes) != len(borders) + 1:
        message = f"{len(borders)} cuts make {len(borders) + 1} classes, and {len(axis.classes)} are named."
        yield at.fault("W137", message, key, "classes")
    for name, count in Counter(axis.classes).items():
        if count > 1:
            yield at.fault("W133", f"Two classes are called {name!r}.", key, "classes")


def _cells(at: At, value: Value) -> Iterator[Fault]:
    seen: dict[tuple[str, str], int] = {}
    for index, cell in enumerate(value.cells):
        yield from at.unknown("income class", cell.income, value.income.classes, "cells", index, "income")
        yield from at.unknown(
            "affinity class", cell.affinity, value.affinity.classes, "cells", index, "affinity"
        )
        if seen.setdefault((cell.income, cell.affinity), index) != index:
            message = f"Income {cell.income!r} with affinity {cell.affinity!r} has a cell already."
            yield at.fault("W137", message, "cells", index)
    for income in dict.fromkeys(value.income.classes):
        for affinity in dict.fromkeys(value.affinity.classes):
            if (income, affinity) not in seen:
                message = f"No cell for income {income!r} with affinity {affinity!r}."
                yield at.fault("W137", message, "cells", hint="Each crossing of classes needs one cell.")


def check_personas(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `personas.yaml`."""
    personas, at = scope.workspace.personas, At(scope.workspace, "personas.yaml")
    if personas is None:
        return
    features = [name for family in FAMILIES for name in getattr(personas, family)]
    if not features:
        yield at.fault("W121", "Personas need at least one feature.", valid=FAMILIES)
    for name, count in Counter(features).items():
        if count > 1:
            yield at.fault("W133", f"The feature {name!r} is in several families.", *_last(personas, name))
    yield from at.one_of({"clusters": personas.clusters, "centroids": personas.centroids})
    yield from _persona_names(at, personas)
    for name, centroid in personas.centroids.items():
        for feature in centroid:
            yield from at.unknown("feature", feature, features, "centroids", name, feature)
        for feature in dict.fromkeys(features):
            if feature not in centroid:
                message = f"The centroid {name!r} has no value for {feature!r}."
                yield at.fault("W121", message, "centroids", name)


def _persona_names(at: At, personas: Personas) -> Iterator[Fault]:
    for index, name in enumerate(personas.names):
        yield from at.plain("persona", name, "names", index)
    for name in personas.centroids:
        yield from at.plain("persona", name, "centroids", name)
    if personas.names and personas.centroids:
        yield at.key_fault("W121", "`names` is for learned personas; centroids have their own.", "names")
    if personas.clusters and personas.names and len(personas.names) != personas.clusters:
        message = f"{personas.clusters} clusters need {personas.clusters} names, not {len(personas.names)}."
        yield at.fault("W137", message, "names")
    if len(personas.centroids) == 1:
        yield at.fault("W137", "One centroid makes no segments; give at least two.", "centroids")


def _last(personas: Personas, feature: str) -> tuple[str, str]:
    family = [family for family in FAMILIES if feature in getattr(personas, family)][-1]
    return family, feature


def check_micro_segments(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `micro_segments.yaml`; defaults that the workspace has no use for are none."""
    micro, at = scope.workspace.micro_segments, At(scope.workspace, "micro_segments.yaml")
    if at.states("dimensions"):
        yield from at.all_known("name", micro.dimensions, scope.profile, "dimensions")
    yield from patterns(scope, at, micro.describe, "describe")
    yield from at.all_known("product", micro.products, scope.products, "products")
