"""Personas against populations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tilltal.core.errors import DataError
from tilltal.customers.personas.centroids import (
    Centroids,
    assign,
    closeness,
    distances,
    fit_centroids,
    place_on_map,
)
from tilltal.customers.personas.features import Feature, Floats, fit_scale, parse_features
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import PersonaFeature, Personas

SCHEMA = {"age": Type.INTEGER, "income": Type.NUMBER, "logins": Type.INTEGER}
PERSONAS = Personas(
    characteristics={"age": PersonaFeature(value="age")},
    financial={"income": PersonaFeature(value="income", log=True)},
    digital={"logins": PersonaFeature(value="logins", missing=0.0)},
    clusters=4,
)


def features(definition: Personas = PERSONAS) -> tuple[Feature, ...]:
    return parse_features(definition, SCHEMA)


def population(seed: int, groups: int = 4, each: int = 800) -> tuple[Floats, Floats]:
    """Return raw features and the true group of each customer, the groups far apart."""
    generator = np.random.default_rng(seed)
    centres = np.array([[20, 3, 0], [45, 9, 60], [70, 6, 10], [35, 12, 120]])[:groups]
    truth = np.repeat(np.arange(groups), each)
    raw = centres[truth] + generator.normal(size=(len(truth), 3)) * [2, 0.4, 3]
    raw[:, 1] = np.expm1(raw[:, 1])
    return raw, truth.astype(np.float64)


def test_true_groups_are_found_again_whatever_the_seed() -> None:
    raw, truth = population(1)
    fitted = fit_centroids(PERSONAS, features(), raw)
    labels = distances(fitted.scale.apply(raw), np.array(fitted.points)).argmin(axis=1)
    assert adjusted_rand_score(truth, labels) > 0.99
    assert fitted.stability is not None
    assert fitted.stability > 0.99
    assert sum(fitted.size) == pytest.approx(1)


def test_noise_is_not_called_stable() -> None:
    """One round cloud has no personas: runs with other seeds disagree, and the report says so."""
    raw = np.random.default_rng(2).normal(size=(3000, 3))
    raw[:, 1] = np.abs(raw[:, 1])
    fitted = fit_centroids(PERSONAS, features(), raw)
    assert fitted.stability is not None
    assert fitted.stability < 0.9


def test_given_centroids_keep_their_place_in_their_own_units() -> None:
    given = Personas(
        characteristics=PERSONAS.characteristics,
        financial=PERSONAS.financial,
        centroids={"young": {"age": 22, "income": 1000}, "settled": {"age": 50, "income": 40000}},
    )
    raw = np.array([[22.0, 1000.0], [50.0, 40000.0], [49.0, 30000.0]])
    fitted = fit_centroids(given, features(given), raw)
    assert fitted.names == ("young", "settled")
    assert fitted.in_own_units == pytest.approx(np.array([[22, 1000], [50, 40000]]))
    shares = closeness(distances(fitted.scale.apply(raw), np.array(fitted.points)))
    assert shares.sum(axis=1) == pytest.approx([1, 1, 1])
    assert shares[0] == pytest.approx([1, 0], abs=1e-6)
    assert shares[2, 1] > 0.9


def test_each_family_counts_alike() -> None:
    two = Personas(
        characteristics={"a": PersonaFeature(value="age"), "b": PersonaFeature(value="age")},
        digital={"c": PersonaFeature(value="logins")},
        clusters=2,
    )
    raw = np.random.default_rng(3).normal(size=(500, 1)) * np.ones(3)
    scale = fit_scale(features(two), raw)
    assert scale.weight == pytest.approx((0.5, 0.5, 1.0))
    assert scale.apply(raw).std(axis=0) ** 2 == pytest.approx([0.5, 0.5, 1.0])


def test_a_customer_keeps_the_persona_until_another_is_clearly_nearer() -> None:
    distance = np.array([[1.0, 0.95], [1.0, 0.8], [1.0, 0.95]])
    previous = np.array([0, 0, -1])
    assert assign(distance, previous, 0.1).tolist() == [0, 1, 1]
    assert assign(distance, previous, 0.0).tolist() == [1, 1, 1]


def test_the_map_shows_most_of_what_tells_customers_apart() -> None:
    raw, _ = population(4)
    fitted = fit_centroids(PERSONAS, features(), raw)
    scaled = fitted.scale.apply(raw)
    on_map = place_on_map(fitted, scaled)
    assert on_map.var(axis=0).sum() / scaled.var(axis=0).sum() > 0.7


def test_what_cannot_be_learned_says_what_to_do() -> None:
    with pytest.raises(DataError, match="Ask for fewer `clusters`"):
        fit_centroids(PERSONAS, features(), np.ones((50, 3)))


def test_centroids_survive_being_stored() -> None:
    import msgspec

    raw, _ = population(5)
    fitted = fit_centroids(PERSONAS, features(), raw)
    again = msgspec.json.decode(msgspec.json.encode(fitted), type=Centroids)
    assert again == fitted
    assert again.version == fitted.version


def test_the_order_of_the_customers_changes_nothing() -> None:
    raw = np.random.default_rng(8).normal(size=(3000, 3))  # no groups: here another start would show
    raw[::7, 1] = np.nan
    shuffled = np.random.default_rng(9).permutation(raw)
    assert fit_centroids(PERSONAS, features(), raw) == fit_centroids(PERSONAS, features(), shuffled)
