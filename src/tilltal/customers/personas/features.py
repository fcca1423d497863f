"""The numbers a persona is measured in: features of five families, brought to one scale.

Each feature is filled where missing, taken as log(1 + x) where asked, centred and divided by its standard
deviation. A feature's weight is shared within its family, so that each family counts alike however many
features it has (weighted squared distance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.core.names import quote
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.sql import condition_sql, to_sql
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import PersonaFeature, Personas

Floats = npt.NDArray[np.float64]

FAMILIES = ("characteristics", "attitudes", "banking", "financial", "digital")


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature with its family and its parsed value."""

    name: str
    family: str
    definition: PersonaFeature
    value: Expression


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How raw features become comparable; learned once, kept with the centroids. Tuples of m numbers."""

    names: tuple[str, ...]
    fill: tuple[float, ...]
    log: tuple[bool, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weight: tuple[float, ...]

    def apply(self, raw: Floats) -> Floats:
        """Bring an n × m matrix (NaN = missing) to the common scale; the result is finite."""
        filled = np.where(np.isnan(raw), np.array(self.fill), raw)
        logged = np.where(np.array(self.log), _log(filled), filled)
        scaled = (logged - np.array(self.mean)) / np.array(self.deviation)
        return np.asarray(scaled * np.sqrt(np.array(self.weight)))

    def undo(self, scaled: Floats) -> Floats:
        """Return scaled rows in the features' own units, to show a centroid to people."""
        logged = scaled / np.sqrt(np.array(self.weight)) * np.array(self.deviation) + np.array(self.mean)
        log = np.array(self.log)
        return np.asarray(np.where(log, np.sign(logged) * np.expm1(np.where(log, np.abs(logged), 0)), logged))


def parse_features(personas: Personas, schema: Mapping[str, Type]) -> tuple[Feature, ...]:
    """Parse the features of all families, in the families' order.

    Raises:
        WorkspaceError: where an expression is at fault.
    """
    return tuple(
        Feature(
            name=name,
            family=family,
            definition=definition,
            value=parse(definition.value, schema, want=Type.NUMBER),
        )
        for family in FAMILIES
        for name, definition in getattr(personas, family).items()
    )


def features_sql(features: Sequence[Feature], relation: str, clock: Clock, population: str = "TRUE") -> str:
    """Return a SELECT of `profile` and one DOUBLE column per feature, over the rows of `population`."""
    columns = (
        f"CAST({to_sql(feature.value, quote, clock=clock)} AS DOUBLE) AS {quote(feature.name)}"
        for feature in features
    )
    return f"SELECT profile, {', '.join(columns)} FROM {relation} WHERE {population}"


def population_sql(personas: Personas, schema: Mapping[str, Type], clock: Clock) -> str:
    """Return the condition of who has a persona; `TRUE` where the workspace does not say."""
    if personas.population is None:
        return "TRUE"
    return condition_sql(parse(personas.population, schema, want=Type.BOOLEAN), quote, clock=clock)


def fit_scale(features: Sequence[Feature], raw: Floats) -> Scale:
    """Learn the scale of an n × m matrix (NaN = missing) whose columns are `features`.

    A feature that is the same for everybody gets deviation 1: it then tells nobody apart.
    """
    log = np.array([feature.definition.log for feature in features])
    fill = np.array([_fill(feature, raw[:, column]) for column, feature in enumerate(features)])
    filled = np.where(np.isnan(raw), fill, raw)
    logged = np.where(log, _log(filled), filled)
    deviation = logged.std(axis=0) if len(logged) else np.ones(len(features))
    return Scale(
        names=tuple(feature.name for feature in features),
        fill=tuple(fill.tolist()),
        log=tuple(bool(each) for each in log),
        mean=tuple((logged.mean(axis=0) if len(logged) else np.zeros(len(features))).tolist()),
        deviation=tuple(np.where(deviation > 1e-12, deviation, 1.0).tolist()),
        weight=_weights(features),
    )


def _fill(feature: Feature, column: Floats) -> float:
    if feature.definition.missing is not None:
        return feature.definition.missing
    known = column[~np.isnan(column)]
    return float(known.mean()) if len(known) else 0.0


def _weights(features: Sequence[Feature]) -> tuple[float, ...]:
    totals: dict[str, float] = {}
    for feature in features:
        totals[feature.family] = totals.get(feature.family, 0.0) + feature.definition.weight
    return tuple(feature.definition.weight / totals[feature.family] for feature in features)


def _log(values: Floats) -> Floats:
    """log(1 + x) that takes losses too: the sign stays."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
