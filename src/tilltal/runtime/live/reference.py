"""What live profiles take from the last snapshot: borders, centroids, models, the order of products."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.core.names import quote
from tilltal.customers.live.program import Reference
from tilltal.customers.value import Borders, borders_of, value_steps
from tilltal.decisions.words.saying import UNTRAINED
from tilltal.models.model import Scorer, from_bytes
from tilltal.rules.types import Type
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.sending import read_rhythm
from tilltal.workspace.names import products, profile_schema
from tilltal.workspace.workspace import Workspace

_COLUMNS: dict[Type, pa.DataType] = {
    Type.BOOLEAN: pa.bool_(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.TEXT: pa.string(),
    Type.DATE: pa.date32(),
    Type.TIMESTAMP: pa.timestamp("us"),
    Type.ANY: pa.string(),
}
_log = logging.getLogger("tilltal.server")


class Snapshotted(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken from the snapshot in force, and its name; empty without one."""

    reference: Reference
    lookalikes: dict[int, frozenset[str]] = {}
    name: str = ""


def snapshotted(workspace: Workspace) -> Snapshotted:
    """Read what live profiles need of the snapshot in force, if there is one."""
    try:
        with open_snapshot(workspace) as snapshot:
            return Snapshotted(
                reference=reference_of(snapshot),
                lookalikes=lookalikes_of(snapshot),
                name=snapshot.folder.name,
            )
    except DataError as error:
        if error.faults[0].code != "E507":
            raise
        return Snapshotted(reference=bare_reference(workspace))


def bare_reference(workspace: Workspace) -> Reference:
    """Return what there is without a snapshot: fixed borders alone."""
    borders = None if workspace.value is None else borders_of(workspace.value, [])
    missing = dict.fromkeys(sorted(workspace.models), UNTRAINED)
    return Reference(borders=borders, centroids=None, product_order={}, models={}, faulty=missing, version="")


def reference_of(snapshot: Snapshot) -> Reference:
    """Return what a snapshot gives; a model that cannot be used is left out, and told of with the reason."""
    workspace = snapshot.workspace
    memory = PersonaMemory(snapshot.folder, may_learn=False)
    models, faulty = usable_models(snapshot.folder, workspace)
    for name, reason in faulty.items():
        _log.warning("the model %s cannot be used: %s", name, reason)
    return Reference(
        borders=_borders(snapshot),
        centroids=memory.centroids,
        product_order=_product_order(snapshot),
        models=models,
        editions={name: hashlib.sha256(one.to_bytes()).hexdigest()[:16] for name, one in models.items()},
        faulty=faulty,
        rhythm=read_rhythm(snapshot.folder),
        as_of=snapshot.manifest.as_of,
        version=snapshot.folder.name,
    )


def usable_models(folder: Path, workspace: Workspace) -> tuple[dict[str, Scorer], dict[str, str]]:
    """Return a snapshot's models that fit the profiles of a workspace, and why each other one does not."""
    models: dict[str, Scorer] = {}
    faulty: dict[str, str] = {}
    nobody = _nobody(profile_schema(workspace))
    for name in sorted(workspace.models):
        try:
            model = from_bytes((folder / "models" / name / "model").read_bytes())
            model.score(nobody, date(2000, 1, 1))
        except FileNotFoundError:
            faulty[name] = UNTRAINED
        except OSError as error:
            faulty[name] = f"its file cannot be read: {error.strerror or error}"
        except DataError as error:
            faulty[name] = str(error)
        else:
            models[name] = model
    return models, faulty


def _nobody(schema: Mapping[str, Type]) -> pa.Table:
    """Return a profile of which nothing is known: it tells whether a model finds its names and types."""
    return pa.table({name: pa.nulls(1, _COLUMNS[kind]) for name, kind in schema.items()})


def lookalikes_of(snapshot: Snapshot) -> dict[int, frozenset[str]]:
    """Return profile → the lookalike audiences that hold it."""
    columns = {row[0] for row in snapshot.engine.rows("DESCRIBE profiles")}
    names = [
        name
        for name, audience in sorted(snapshot.workspace.audiences.items())
        if audience.lookalike is not None and f"audience.{name}" in columns
    ]
    found: dict[int, frozenset[str]] = {}
    for name in names:
        rows = snapshot.engine.rows(f"SELECT profile FROM profiles WHERE {quote(f'audience.{name}')}")
        for (profile,) in rows:
            found[profile] = found.get(profile, frozenset()) | {name}
    return found


def _borders(snapshot: Snapshot) -> Borders | None:
    value = snapshot.workspace.value
    if value is None:
        return None
    steps = value_steps(
        value,
        profile_schema(snapshot.workspace),
        snapshot.clock,
        relation="profiles",
        customers="is_known",
    )
    for step in steps[:2]:
        snapshot.engine.run(f"CREATE OR REPLACE TEMP TABLE {quote(step.name)} AS {step.sql}")
    table: pa.Table = snapshot.engine.arrow("SELECT * FROM value_borders")
    row = table.to_pylist()[0]
    axes = {"income": value.income.cuts, "affinity": value.affinity.cuts}
    found = {
        axis: tuple(float(row[f"{axis}_{n + 1}"]) for n in range(len(cuts.quantiles or cuts.values)))
        for axis, cuts in axes.items()
    }
    return Borders(found["income"], found["affinity"])


def _product_order(snapshot: Snapshot) -> dict[str, int]:
    """Return product → its place, as a refresh ranks products: those declared, then the rarest first."""
    columns = {row[0] for row in snapshot.engine.rows("DESCRIBE profiles")}
    names = [name for name in products(snapshot.workspace) if f"holding.{name}" in columns]
    if not names:
        return {}
    counts = ", ".join(f"count(*) FILTER (WHERE {quote(f'holding.{name}')})" for name in names)
    holders = snapshot.engine.rows(f"SELECT {counts} FROM profiles")[0]
    first = snapshot.workspace.micro_segments.products
    ranked = sorted(
        zip(holders, names, strict=True),
        key=lambda one: (first.index(one[1]) if one[1] in first else len(first), *one),
    )
    return {name: place for place, (_, name) in enumerate(ranked, start=1)}
