"""The persona map: centroids, what is particular about each, and a sample of customers around them."""

from __future__ import annotations

import numpy as np

from tilltal.customers.personas.centroids import Centroids, place_on_map
from tilltal.insight.report.data import Particular, Persona, PersonaView
from tilltal.insight.report.gather.tables import Tables

_SAMPLE = 1400
_PARTICULARS = 3
_NOTABLE = 0.25  # standard deviations from the average customer


def personas(tables: Tables, centroids: Centroids | None) -> PersonaView | None:
    """Return the personas, largest first; None where the snapshot has none."""
    if centroids is None or not tables.has("profiles", "persona.name") or not tables.has("persona_map"):
        return None
    sizes: dict[str, int] = dict(
        tables.rows(
            'SELECT "persona.name", count(*) FROM profiles WHERE "persona.name" IS NOT NULL GROUP BY ALL'
        )
    )
    total = max(sum(sizes.values()), 1)
    sample = _sample(tables)
    places = place_on_map(centroids, np.array(centroids.points))
    found = [
        Persona(
            name=name,
            customers=sizes.get(name, 0),
            share=sizes.get(name, 0) / total,
            x=float(places[index, 0]),
            y=float(places[index, 1]),
            particulars=_particulars(centroids, index),
            sample=tuple(sample.get(name, ())),
        )
        for index, name in enumerate(centroids.names)
    ]
    return PersonaView(
        personas=tuple(sorted(found, key=lambda persona: (-persona.customers, persona.name))),
        stability=centroids.stability,
    )


def _sample(tables: Tables) -> dict[str, list[tuple[float, float]]]:
    """Return places by persona. Profile ids are pseudorandom, so the lowest are a random sample."""
    rows = tables.rows(
        'SELECT p."persona.name", m.x, m.y FROM persona_map AS m JOIN profiles AS p ON p.profile = m.profile'
        f' WHERE p."persona.name" IS NOT NULL ORDER BY m.profile LIMIT {_SAMPLE}'
    )
    found: dict[str, list[tuple[float, float]]] = {}
    for name, x, y in rows:
        found.setdefault(name, []).append((x, y))
    return found


def _particulars(centroids: Centroids, index: int) -> tuple[Particular, ...]:
    """Return the features in which a centroid lies furthest from the average customer."""
    deviations = np.array(centroids.points[index]) / np.sqrt(np.array(centroids.scale.weight))
    with np.errstate(over="ignore"):  # the exponential is also tried on features that are not logarithms
        here = centroids.in_own_units[index]
        everywhere = centroids.scale.undo(np.zeros((1, len(deviations))))[0]
    order = np.argsort(-np.abs(deviations), kind="stable")[:_PARTICULARS]
    return tuple(
        Particular(
            feature=centroids.scale.names[place],
            here=float(here[place]),
            everywhere=float(everywhere[place]),
            deviations=float(deviations[place]),
        )
        for place in order
        if abs(deviations[place]) >= _NOTABLE
    )
