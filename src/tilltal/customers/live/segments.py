"""Segments of one customer that stand on what a snapshot learned: place in the value grid, persona, scores.

Each is a step of a program (see `program`): it reads values by slot and writes its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from tilltal.customers.live.state import ProfileState
from tilltal.customers.personas.centroids import Centroids
from tilltal.customers.personas.features import Feature
from tilltal.customers.value import Borders, standing_of
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.running.coder import Coder
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Value

Slots = Mapping[str, int]
Compute = Callable[[Sequence[object], Clock], Any]
Step = Callable[[list[Any], Clock, ProfileState, int], int]
"""Works on the values of a customer by slot; returns the bits of the audiences that hold them.

It is told which audiences are to be found anew, as a mask; the customer's state knows the others.
"""


class Reads(Protocol):
    """The names a model reads."""

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of its columns."""


class Content(Protocol):
    """What a model holds."""

    @property
    def encoding(self) -> Reads:
        """How it reads a profile."""


class Scorer(Protocol):
    """A model in use, as `tilltal.models.model` has them; models stand above customers."""

    @property
    def content(self) -> Content:
        """What it holds."""

    def score_one(self, values: Mapping[str, object], as_of: date) -> float:
        """Return a probability for the values of one customer by name, NaN where nothing is known."""


def compute_of(expression: Expression, slots: Slots) -> Compute:
    """Compile an expression to a function of values by slot and the clock."""
    coder = Coder(lambda name: f"values[{slots[name]}]")
    function, _ = coder.function([f"return {coder.value(expression.tree)}"], "values")
    return function


def value_step(
    value: Value, axes: tuple[Expression, Expression], borders: Borders | None, slots: Slots
) -> Step:
    """Return what finds a customer's place in the value grid; nothing is found without borders."""
    income, affinity = (compute_of(axis, slots) for axis in axes)
    targets = [slots.get(name) for name in ("value.segment", "value.income", "value.affinity")]

    def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
        if borders is not None:
            found = standing_of(value, borders, income(values, clock), affinity(values, clock))
            for slot, each in zip(targets, (found.segment, found.income, found.affinity), strict=True):
                if slot is not None:
                    values[slot] = each
        return 0

    return step


def given_borders(value: Value | None, learned: Borders | None) -> Borders | None:
    """Return the borders in force: those learned, or those that the definition states."""
    if value is None or learned is not None or value.income.cuts.quantiles or value.affinity.cuts.quantiles:
        return learned
    return Borders(value.income.cuts.values, value.affinity.cuts.values)


class PersonaPlace:
    """Where a customer lies among the personas: `customers.personas.centroids` for a single row.

    A row of ten numbers is sooner done in plain Python than handed to numpy.
    """

    def __init__(self, centroids: Centroids, hysteresis: float) -> None:
        self.names = centroids.names
        self._hysteresis = hysteresis
        scale = centroids.scale
        roots = [math.sqrt(weight) for weight in scale.weight]
        self._scale = list(zip(scale.fill, scale.log, scale.mean, scale.deviation, roots, strict=True))
        self._points = centroids.points

    def distances(self, raw: Sequence[float | None]) -> list[float]:
        """Return the distance to each centroid of a customer's features in their own units."""
        scaled = [
            ((_log(number) if is_log else number) - mean) / deviation * root
            for number, (_, is_log, mean, deviation, root) in zip(self._filled(raw), self._scale, strict=True)
        ]
        return [math.dist(scaled, point) for point in self._points]

    def _filled(self, raw: Sequence[float | None]) -> list[float]:
        return [
            terms[0] if number is None else float(number)
            for number, terms in zip(raw, self._scale, strict=True)
        ]

    def closeness(self, distances: Sequence[float]) -> list[float]:
        """Return the share of closeness of each centroid; a customer on a centroid is all its own."""
        on_it = [float(distance <= 1e-9) for distance in distances]
        shares = on_it if any(on_it) else [distance**-2 for distance in distances]
        total = sum(shares)
        return [share / total for share in shares]

    def chosen(self, distances: Sequence[float], held: str | None) -> str:
        """Return the nearest persona, or the one held if it is nearly as near."""
        nearest = min(range(len(distances)), key=distances.__getitem__)
        if held not in self.names:
            return self.names[nearest]
        limit = (1 - self._hysteresis) * distances[self.names.index(held)]
        return self.names[nearest] if distances[nearest] < limit else held


def _log(number: float) -> float:
    return math.copysign(math.log1p(abs(number)), number)


def persona_step(
    place: PersonaPlace | None, features: Sequence[Feature], population: Expression | None, slots: Slots
) -> Step:
    """Return what finds a customer's persona; nothing is found without centroids."""
    computes = [compute_of(feature.value, slots) for feature in features]
    is_within = None if population is None else compute_of(population, slots)
    target = slots.get("persona.name")
    shares = [] if place is None else [slots.get(f"persona.{name}") for name in place.names]

    def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
        if place is None or (is_within is not None and is_within(values, clock) is not True):
            return 0
        distances = place.distances([compute(values, clock) for compute in computes])
        if target is not None:
            values[target] = place.chosen(distances, state.persona)
        for slot, share in zip(shares, place.closeness(distances), strict=True):
            if slot is not None:
                values[slot] = share
        return 0

    return step


def features_of(scorer: Scorer | None) -> tuple[str, ...]:
    """Return the names a model reads."""
    return () if scorer is None else scorer.content.encoding.names


def score_step(name: str, scorer: Scorer | None, types: Mapping[str, Type], slots: Slots) -> Step:
    """Return what scores a known customer; nothing is found without the model."""
    target = slots[name]
    plain, untyped = _names_of_kinds(scorer, types, slots)

    def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
        if scorer is not None and state.is_known:
            row = {each: values[slot] for each, slot in plain}
            for each, slot in untyped:
                row[each] = _in_json(values[slot])
            score = scorer.score_one(row, clock.today)
            values[target] = None if math.isnan(score) else score
        return 0

    return step


def _names_of_kinds(
    scorer: Scorer | None, types: Mapping[str, Type], slots: Slots
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the names a model reads with their slots: those of a type, and those without."""
    found = [(each, slots[each]) for each in features_of(scorer) if each in slots]
    untyped = [one for one in found if types[one[0]] is Type.ANY]
    return [one for one in found if one not in untyped], untyped


def _in_json(value: object) -> object:
    """Return an untyped value as the store has it."""
    return None if value is None else json.dumps(value, ensure_ascii=False)
