"""The scale personas are measured on: weights by family, missing values, logarithms, and who belongs."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.customers.personas.centroids import assign, closeness, distances, fit_centroids
from tilltal.customers.personas.features import features_sql, fit_scale, parse_features, population_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import PersonaFeature, Personas

SCHEMA = {"age": Type.INTEGER, "spend": Type.NUMBER, "vip": Type.BOOLEAN, "logins": Type.INTEGER}
CLOCK = Clock(datetime(2026, 5, 4, tzinfo=UTC), ZoneInfo("UTC"))
PERSONAS = Personas(
    digital={"logins": PersonaFeature(value="logins", log=True)},
    characteristics={
        "age": PersonaFeature(value="age", weight=3),
        "vip": PersonaFeature(value="IF(vip, 1, 0)", weight=1, missing=0),
    },
    clusters=2,
)


def test_features_stand_in_the_order_of_the_families() -> None:
    assert [(each.family, each.name) for each in parse_features(PERSONAS, SCHEMA)] == [
        ("characteristics", "age"),
        ("characteristics", "vip"),
        ("digital", "logins"),
    ]


def test_each_family_counts_alike_however_many_features_it_has() -> None:
    scale = fit_scale(parse_features(PERSONAS, SCHEMA), np.ones((2, 3)))
    assert scale.weight == (0.75, 0.25, 1.0)


def test_a_condition_is_one_or_nought() -> None:
    with DuckDBEngine(threads=1) as engine:
        engine.register(
            "profiles",
            pa.table(
                {"profile": [1, 2, 3], "age": [1, 2, 3], "vip": [True, False, None], "logins": [0, 1, 2]}
            ),
        )
        rows = engine.rows(features_sql(parse_features(PERSONAS, SCHEMA), "profiles", CLOCK) + " ORDER BY 1")
    assert rows == [(1, 1.0, 1.0, 0.0), (2, 2.0, 0.0, 1.0), (3, 3.0, 0.0, 2.0)]


def test_only_the_population_has_a_persona() -> None:
    definition = Personas(characteristics={"age": PersonaFeature(value="age")}, clusters=1, population="vip")
    where = population_sql(definition, SCHEMA, CLOCK)
    with DuckDBEngine(threads=1) as engine:
        engine.register(
            "profiles", pa.table({"profile": [1, 2, 3], "age": [1, 2, 3], "vip": [True, False, None]})
        )
        rows = engine.rows(features_sql(parse_features(definition, SCHEMA), "profiles", CLOCK, where))
    assert rows == [(1, 1.0)]
    assert population_sql(PERSONAS, SCHEMA, CLOCK) == "TRUE"


def test_a_population_that_is_no_condition_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="D209"):
        population_sql(Personas(clusters=1, population="age"), SCHEMA, CLOCK)


def test_missing_values_are_the_mean_or_what_the_definition_says() -> None:
    raw = np.array([[20.0, 1.0, 0.0], [40.0, np.nan, 1.0], [np.nan, 1.0, 3.0]])
    scale = fit_scale(parse_features(PERSONAS, SCHEMA), raw)
    assert scale.fill == (30.0, 0.0, 4 / 3)
    assert np.isfinite(scale.apply(raw)).all()
    assert scale.apply(raw)[2, 0] == 0  # the mean


def test_logarithms_keep_the_sign_and_undo_restores_the_units() -> None:
    definition = Personas(financial={"spend": PersonaFeature(value="spend", log=True)}, clusters=1)
    raw = np.array([[-100.0], [0.0], [np.e - 1], [1e6]])
    scale = fit_scale(parse_features(definition, SCHEMA), raw)
    assert scale.mean[0] == pytest.approx((-np.log(101) + 0 + 1 + np.log(1e6 + 1)) / 4)
    assert np.allclose(scale.undo(scale.apply(raw)), raw)


def test_a_feature_that_is_the_same_for_all_tells_nobody_apart() -> None:
    scale = fit_scale(parse_features(PERSONAS, SCHEMA), np.array([[5.0, 1.0, 2.0]] * 4))
    assert np.array_equal(scale.apply(np.array([[5.0, 1.0, 2.0]])), np.zeros((1, 3)))


def test_nobody_at_all_has_a_scale() -> None:
    scale = fit_scale(parse_features(PERSONAS, SCHEMA), np.empty((0, 3)))
    assert np.isfinite(scale.apply(np.array([[1.0, 2.0, 3.0]]))).all()


def test_given_centroids_are_placed_in_their_own_units() -> None:
    definition = Personas(
        characteristics={"age": PersonaFeature(value="age")},
        centroids={"young": {"age": 20.0}, "old": {"age": 70.0}},
    )
    raw = np.array([[18.0], [22.0], [66.0], [74.0]])
    centroids = fit_centroids(definition, parse_features(definition, SCHEMA), raw)
    assert centroids.names == ("young", "old")
    assert np.allclose(centroids.in_own_units, [[20.0], [70.0]])
    assert centroids.size == (0.5, 0.5)
    assert centroids.stability is None
    nearest = distances(centroids.scale.apply(raw), np.array(centroids.points)).argmin(axis=1)
    assert nearest.tolist() == [0, 0, 1, 1]


def test_closeness_is_the_share_of_inverse_squares() -> None:
    shares = closeness(np.array([[1.0, 2.0], [0.0, 3.0], [5.0, 5.0]]))
    assert np.allclose(shares, [[0.8, 0.2], [1.0, 0.0], [0.5, 0.5]])


def test_a_persona_is_kept_until_another_is_clearly_nearer() -> None:
    distance = np.array([[1.0, 0.95], [1.0, 0.85], [1.0, 0.85], [1.0, 0.95]])
    previous = np.array([0, 0, 1, -1])
    assert assign(distance, previous, 0.1).tolist() == [0, 1, 1, 1]
    assert assign(distance, previous, 0.0).tolist() == [1, 1, 1, 1]
