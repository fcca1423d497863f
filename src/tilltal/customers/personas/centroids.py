"""Centroids: learned by k-means or given by marketers, with how far to trust them.

Source: S. Lloyd, "Least squares quantization in PCM", 1982, begun ten times by k-means++ (D. Arthur and
S. Vassilvitskii, 2007) on a sample; scikit-learn's KMeans. Stability is the adjusted Rand index between runs
with other seeds: L. Hubert and P. Arabie, "Comparing partitions",
Journal of Classification 2, 1985; 1 = the same personas whatever the seed, 0 = as by chance.

    u_k = d_k^-2 / sum_j d_j^-2

is a customer's closeness to centroid k (fuzzy c-means membership with m = 2: J. C. Bezdek, "Pattern
Recognition with Fuzzy Objective Function Algorithms", 1981).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from tilltal.core.errors import DataError
from tilltal.customers.personas.features import Feature, Floats, Scale, fit_scale
from tilltal.workspace.definitions.segments import Personas

Ints = npt.NDArray[np.int64]

_TRAINING_ROWS = 30_000
_BEGINNINGS = 10
_STABILITY_ROWS = 5_000
_STABILITY_SEEDS = 4


class Centroids(msgspec.Struct, frozen=True, kw_only=True):
    """Personas as points; k centroids of m features on the common scale.

    `size` is each persona's share of the customers it was learned from; `stability` the mean adjusted Rand
    index across seeds (None where the centroids were given); `axes` the two directions of the map.
    """

    names: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    scale: Scale
    size: tuple[float, ...]
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    stability: float | None = None

    @property
    def version(self) -> str:
        """A short hash of where the centroids lie."""
        return hashlib.sha256(msgspec.json.encode((self.points, self.scale))).hexdigest()[:12]

    @property
    def in_own_units(self) -> Floats:
        """The k × m centroids in the features' own units."""
        return self.scale.undo(np.array(self.points))


def fit_centroids(definition: Personas, features: Sequence[Feature], raw: Floats) -> Centroids:
    """Learn, or place, the personas of a population. The order of the rows changes nothing.

    Args:
        definition: `clusters` to learn, or `centroids` given in the features' own units.
        features: the m features, in the order of the columns.
        raw: n × m, NaN = missing.

    Raises:
        DataError: if there are fewer customers than personas to learn.
    """
    raw = raw[_by_content(raw)]  # customers come by pseudonym, whose order differs from vault to vault
    scale = fit_scale(features, raw)
    scaled = scale.apply(raw)
    if definition.centroids:
        points, stability = _given(definition, scale), None
        names = tuple(definition.centroids)
    else:
        clusters = definition.clusters or 6
        if _different(scaled) < clusters:
            raise DataError.of(
                "P361",
                f"{clusters} personas cannot be learned from {len(raw)} customers.",
                hint="Ask for fewer `clusters` in personas.yaml, or give `centroids`.",
            )
        points = _learned(scaled, clusters, definition.seed)
        stability = _stability(scaled, clusters, definition.seed)
        names = _names(definition, features, points)
    return Centroids(
        names=names,
        points=tuple(tuple(row) for row in points.tolist()),
        scale=scale,
        size=_shares(scaled, points),
        axes=_axes(scaled),
        stability=stability,
    )


def distances(scaled: Floats, points: Floats) -> Floats:
    """Return the n × k Euclidean distances of n rows to k centroids."""
    squared = (scaled**2).sum(axis=1)[:, None] + (points**2).sum(axis=1)[None, :] - 2 * scaled @ points.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def closeness(distance: Floats) -> Floats:
    """Return u_k of the formula: n × k shares that sum to 1; a customer on a centroid is all its own."""
    on_it = distance <= 1e-9
    inverse = 1 / np.maximum(distance, 1e-9) ** 2
    shares = np.where(on_it.any(axis=1, keepdims=True), on_it, inverse)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def assign(distance: Floats, previous: Ints, hysteresis: float) -> Ints:
    """Return each customer's persona: the nearest, unless the previous one is nearly as near.

    Args:
        distance: n × k.
        previous: n indices, -1 = none yet.
        hysteresis: another centroid takes over only if nearer by this share.
    """
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(distance))
    held = np.where(previous >= 0, previous, nearest)
    takes_over = distance[rows, nearest] < (1 - hysteresis) * distance[rows, held]
    return np.asarray(np.where(takes_over, nearest, held))


def place_on_map(centroids: Centroids, scaled: Floats) -> Floats:
    """Return n × 2 coordinates: the two directions in which customers differ most."""
    return np.asarray(scaled @ np.array(centroids.axes).T)


def _by_content(raw: Floats) -> Ints:
    """Return an order of rows that depends on their content alone: along a direction of no meaning."""
    direction = np.random.default_rng(0).normal(size=raw.shape[1])
    return np.argsort(np.nan_to_num(raw) @ direction, kind="stable")


def _different(ordered: Floats) -> int:
    """Return how many different rows there are at least, where equal rows lie together."""
    return 1 + int((np.diff(ordered, axis=0) != 0).any(axis=1).sum()) if len(ordered) else 0


def _learned(scaled: Floats, clusters: int, seed: int) -> Floats:
    rows = scaled
    if len(scaled) > _TRAINING_ROWS:
        rows = scaled[np.random.default_rng(seed).choice(len(scaled), _TRAINING_ROWS, replace=False)]
    model = KMeans(clusters, random_state=seed, n_init=_BEGINNINGS)
    labels = model.fit_predict(rows)
    sizes = np.bincount(labels, minlength=clusters)
    return np.asarray(model.cluster_centers_[np.argsort(-sizes, kind="stable")], dtype=np.float64)


def _given(definition: Personas, scale: Scale) -> Floats:
    raw = np.array(
        [[centroid.get(name, np.nan) for name in scale.names] for centroid in definition.centroids.values()],
        dtype=np.float64,
    )
    return scale.apply(raw)


def _stability(scaled: Floats, clusters: int, seed: int) -> float:
    generator = np.random.default_rng(seed)
    rows = scaled[generator.choice(len(scaled), min(len(scaled), _STABILITY_ROWS), replace=False)]
    runs = [
        distances(rows, _learned(rows, clusters, seed + shift)).argmin(axis=1)
        for shift in range(_STABILITY_SEEDS)
    ]
    return float(np.mean([adjusted_rand_score(a, b) for a, b in itertools.combinations(runs, 2)]))


def _names(definition: Personas, features: Sequence[Feature], points: Floats) -> tuple[str, ...]:
    """Take the given names; describe the others by their two most particular features."""
    names = list(definition.names[: len(points)])
    for point in points[len(names) :]:
        strongest = np.argsort(-np.abs(point), kind="stable")[:2]
        words = [f"{'high' if point[index] > 0 else 'low'}_{features[index].name}" for index in strongest]
        name = "_".join(words)
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
    return tuple(names)


def _shares(scaled: Floats, points: Floats) -> tuple[float, ...]:
    counts = np.bincount(distances(scaled, points).argmin(axis=1), minlength=len(points))
    return tuple((counts / max(counts.sum(), 1)).tolist())


def _axes(scaled: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the first two principal directions; each points to where its largest part is positive."""
    width = scaled.shape[1]
    covariance = scaled.T @ scaled / max(len(scaled), 1)
    _, vectors = np.linalg.eigh(covariance + np.eye(width) * 1e-12)
    first = vectors[:, -1]
    second = vectors[:, -2] if width > 1 else np.zeros(width)
    signs = [np.sign(axis[np.abs(axis).argmax()]) or 1.0 for axis in (first, second)]
    return tuple((first * signs[0]).tolist()), tuple((second * signs[1]).tolist())
