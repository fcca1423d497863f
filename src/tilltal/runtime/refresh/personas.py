"""Personas in a refresh: learn once, keep the centroids, and move customers between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tilltal.core.errors import DataError, Fault
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.customers.personas.centroids import (
    Centroids,
    assign,
    closeness,
    distances,
    fit_centroids,
    place_on_map,
)
from tilltal.customers.personas.features import Feature, features_sql, parse_features, population_sql
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.refresh.manifest import Manifest
from tilltal.workspace.definitions.segments import Personas
from tilltal.workspace.names import persona_names
from tilltal.workspace.workspace import Workspace

FILE = "personas.json"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot keeps of personas: the centroids and the definition they were made from."""

    definition: str
    centroids: Centroids


class PersonaMemory:
    """The centroids in force and who had which persona; starts from an earlier snapshot, if there is one.

    Centroids are learned anew only if their definition changed, or on demand: personas that move under the
    marketers' feet are of no use.
    """

    def __init__(
        self, snapshot: Path | None = None, *, relearn: bool = False, may_learn: bool = True
    ) -> None:
        self.kept: Kept | None = None
        self.may_learn = may_learn
        self.faults: tuple[Fault, ...] = ()
        self._snapshot: Path | None = None
        path = snapshot / FILE if snapshot and not relearn else None
        if path and path.exists():
            with suppress(msgspec.DecodeError):  # damaged: learned anew, like a damaged model
                self.kept = msgspec.json.decode(path.read_bytes(), type=Kept)
                self._snapshot = snapshot

    @property
    def centroids(self) -> Centroids | None:
        """The centroids in force, if any."""
        return self.kept.centroids if self.kept else None

    def centroids_for(
        self, definition: Personas, features: tuple[Feature, ...], raw: npt.NDArray[np.float64]
    ) -> Centroids:
        """Return the centroids in force, learning them from these customers if there are none yet."""
        fingerprint = hashlib.sha256(msgspec.json.encode(definition)).hexdigest()
        if self.kept is None or self.kept.definition != fingerprint:
            self.kept = Kept(definition=fingerprint, centroids=fit_centroids(definition, features, raw))
            self._snapshot = None
        return self.kept.centroids

    def held(
        self, profiles: npt.NDArray[np.int64], names: Sequence[str], now: datetime
    ) -> npt.NDArray[np.int64]:
        """Return each customer's persona of the snapshot before as a place in `names`; -1 for none.

        A snapshot as of a later instant than `now` is not asked: it would know the future.
        """
        nobody = np.full(len(profiles), -1, dtype=np.int64)
        if self._snapshot is None or not _is_before(self._snapshot, now):
            return nobody
        before = pq.read_table(self._snapshot / "profiles.parquet", columns=["profile", "persona.name"])
        known = np.asarray(before.column("profile").to_numpy())
        places = pc.index_in(before.column("persona.name"), value_set=pa.array(names, pa.string()))
        if not len(known):
            return nobody
        order = np.argsort(known)
        found = order[np.minimum(np.searchsorted(known[order], profiles), len(known) - 1)]
        held = np.asarray(places.fill_null(-1).to_numpy(), dtype=np.int64)[found]
        return np.where(known[found] == profiles, held, nobody)

    def frozen(self) -> PersonaMemory:
        """Return a memory of the same centroids that knows nobody's persona: for looking at past days."""
        copy = PersonaMemory()
        copy.kept = self.kept
        return copy

    def write(self, folder: Path) -> None:
        """Keep the centroids with a snapshot."""
        if self.kept:
            (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self.kept)))


def persona_table(
    engine: BatchEngine,
    workspace: Workspace,
    schema: Mapping[str, Type],
    relation: str,
    clock: Clock,
    memory: PersonaMemory,
) -> pa.Table:
    """Return `profile`, `persona.name`, `persona.<each>` (closeness), and the place `x`, `y` on the map."""
    definition = workspace.personas
    if definition is None:
        raise DataError.of("P363", "The workspace has no personas.", hint="Write a personas.yaml.")
    if memory.kept is None and not memory.may_learn:
        return _nobodys(engine, definition, relation)
    features = parse_features(definition, schema)
    table = engine.arrow(
        features_sql(features, relation, clock, population_sql(definition, schema, clock))
        + " ORDER BY profile"
    )
    raw = np.empty((table.num_rows, len(features)))
    for column, feature in enumerate(features):
        raw[:, column] = table.column(feature.name).fill_null(np.nan).to_numpy()
    try:
        centroids = memory.centroids_for(definition, features, raw)
    except DataError as error:  # too few customers to learn from is no reason to know nothing of them
        memory.faults = error.faults
        return _nobodys(engine, definition, relation)
    scaled = centroids.scale.apply(raw)
    distance = distances(scaled, np.array(centroids.points))
    held = memory.held(table.column("profile").to_numpy(), centroids.names, clock.now)
    chosen = assign(distance, held, definition.hysteresis)
    shares, place = closeness(distance), place_on_map(centroids, scaled)
    columns = {"profile": table.column("profile")}
    columns["persona.name"] = pa.array(np.array(centroids.names, dtype=object)[chosen], pa.string())
    columns |= {f"persona.{name}": shares[:, index] for index, name in enumerate(centroids.names)}
    columns |= {"x": place[:, 0], "y": place[:, 1]}
    return pa.table(columns)


def _nobodys(engine: BatchEngine, definition: Personas, relation: str) -> pa.Table:
    """Return the columns of personas with nothing in them: no centroids are known and none may be learned."""
    shares = "".join(
        f", CAST(NULL AS DOUBLE) AS {quote('persona.' + name)}" for name in persona_names(definition)
    )
    return engine.arrow(
        f"SELECT profile, CAST(NULL AS VARCHAR) AS {quote('persona.name')}{shares}, "
        f"CAST(NULL AS DOUBLE) AS x, CAST(NULL AS DOUBLE) AS y FROM {relation}"
    )


def _is_before(snapshot: Path, now: datetime) -> bool:
    try:
        manifest = msgspec.json.decode((snapshot / "manifest.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):  # a refresh is what makes up for a damaged snapshot
        return False
    return datetime.fromisoformat(manifest.as_of) <= now
