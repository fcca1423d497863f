"""The files of a simulation: a page to read, JSON for machines, and who gets what as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.core.ids import profile_text
from tilltal.decisions.batch_ranking import Ints
from tilltal.decisions.simulation.observed import Observed
from tilltal.insight.simulation.data import Simulation
from tilltal.insight.simulation.page import render
from tilltal.runtime.storage import disk

PAGE, FIGURES, CUSTOMERS = "simulation.html", "simulation.json", "customers.parquet"
_COLUMNS = pa.schema(
    [
        ("scenario", pa.string()),
        ("profile", pa.string()),
        ("action", pa.string()),
        ("channel", pa.string()),
        ("contacts", pa.int32()),
        ("expected", pa.float64()),
    ]
)


def write_all(made: Simulation, profiles: Ints, observed: Mapping[str, Observed], folder: Path) -> Simulation:
    """Write the files into a folder, which is made if need be; return the simulation that names them.

    Raises:
        EngineError: E501, E505 if the disk refuses.
    """
    places = tuple(folder / name for name in (PAGE, FIGURES, CUSTOMERS))
    told = msgspec.structs.replace(made, files=tuple(str(place) for place in places))
    page, figures, customers = places
    with disk.explained():
        folder.mkdir(parents=True, exist_ok=True)
        disk.write(page, render(told).encode())
        disk.write(figures, msgspec.json.format(msgspec.json.encode(told, order="deterministic")))
        _write_customers(customers, profiles, observed)
    return told


def _write_customers(target: Path, profiles: Ints, observed: Mapping[str, Observed]) -> None:
    """Write one row per scenario and customer: the first action, and what all shown ones come to."""
    beside = target.with_name(f".{target.name}.tmp")
    ids = pa.array([profile_text(profile) for profile in profiles.tolist()], pa.string())
    try:
        with pq.ParquetWriter(beside, _COLUMNS, compression="zstd") as writer:
            for name, one in observed.items():
                writer.write_table(_rows(name, ids, one))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _rows(name: str, ids: pa.Array, one: Observed) -> pa.Table:
    return pa.table(
        [
            pa.array([name] * one.customers, pa.string()),
            ids,
            _named(one.actions, one.first),
            _named(one.channels, one.channel),
            pa.array(one.contacts, pa.int32()),
            pa.array(one.expected, pa.float64()),
        ],
        schema=_COLUMNS,
    )


def _named(names: tuple[str, ...], places: Ints) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(np.maximum(places, 0), mask=places < 0))
