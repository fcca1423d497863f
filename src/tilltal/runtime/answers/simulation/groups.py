"""Customers by traits: the groups that a simulation tells apart, and the traits that describe customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.decisions.batch_ranking import Floats
from tilltal.decisions.simulation.fairness import MISSING
from tilltal.decisions.simulation.mix import Grouping
from tilltal.decisions.simulation.value_finder import USABLE
from tilltal.rules.types import Type
from tilltal.runtime.answers.simulation.deciding import PEOPLE

SEGMENTS = ("lifecycle.stage", "value.segment", "persona.name")
OTHERS = "(others)"
_MOST = 50  # groups of a trait; the smaller ones are taken together
_WORDS = {"true": "yes", "false": "no"}
_NUMBERS = (Type.INTEGER, Type.NUMBER)
_SAID_APART = ("score.", "persona.", "audience.", "consent.")  # made from traits, or no trait of the customer


def asked_names(schema: Mapping[str, Type], asked: Sequence[str], *, option: str, numbers: bool) -> None:
    """Refuse names that customers cannot be grouped by.

    Raises:
        TilltalError: C120 for a name that profiles do not have, or whose values are no groups.
    """
    kinds = (Type.BOOLEAN, Type.TEXT, *(_NUMBERS if numbers else ()))
    valid = [name for name, kind in schema.items() if kind in kinds]
    for name in asked:
        if name not in valid:
            why = "is no trait that makes groups" if name in schema else "is no name of the profile"
            raise TilltalError.of("C120", f"{option} {name!r} {why}.", valid=nearest(name, valid))


def segment_names(present: frozenset[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Return the segments that profiles have, and what was asked for."""
    return tuple(dict.fromkeys((*(name for name in SEGMENTS if name in present), *asked)))


def numbers_among(schema: Mapping[str, Type], names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the names whose values are numbers."""
    return tuple(name for name in names if schema[name] in _NUMBERS)


def read_groups(engine: BatchEngine, names: Sequence[str]) -> tuple[Grouping, ...]:
    """Return the customers of `PEOPLE`, in order, by each trait."""
    return tuple(_grouped(name, _read(engine, name, "VARCHAR")) for name in names)


def read_numbers(engine: BatchEngine, names: Sequence[str]) -> dict[str, Floats]:
    """Return a number of each customer of `PEOPLE`, in order; NaN where it is missing."""
    return {
        name: np.asarray(_read(engine, name, "DOUBLE").fill_null(np.nan).to_numpy(), dtype=np.float64)
        for name in names
    }


def missing_or_not(name: str, values: Floats) -> Grouping:
    """Return who has a number and who lacks it."""
    return Grouping(name, ("known", MISSING), np.isnan(values).astype(np.int64))


def describing_names(schema: Mapping[str, Type], present: frozenset[str]) -> dict[str, Type]:
    """Return the traits that may set customers apart, with their types."""
    return {
        name: kind
        for name, kind in schema.items()
        if name in present
        and kind in USABLE
        and name != "is_known"
        and (not name.startswith(_SAID_APART) or name == "persona.name")
    }


def read_traits(engine: BatchEngine, names: Sequence[str], chosen: str) -> pa.Table:
    """Return the traits of the customers whom a condition over `PEOPLE` chooses, in order."""
    listed = ", ".join(f"p.{quote(name)}" for name in names)
    return engine.arrow(
        f"SELECT {listed} FROM (SELECT profile FROM {PEOPLE} WHERE {chosen}) "
        "JOIN profiles AS p USING (profile) ORDER BY profile"
    )


def _read(engine: BatchEngine, name: str, kind: str) -> pa.ChunkedArray:
    return engine.arrow(
        f"SELECT CAST(p.{quote(name)} AS {kind}) AS value FROM (SELECT profile FROM {PEOPLE}) "
        "JOIN profiles AS p USING (profile) ORDER BY profile"
    ).column("value")


def _grouped(name: str, column: pa.ChunkedArray) -> Grouping:
    """Number the groups by size; beyond the most, the smaller ones are one."""
    whole = pc.fill_null(column, MISSING)
    sizes = sorted(
        ((row["values"], row["counts"]) for row in pc.value_counts(whole).to_pylist()),
        key=lambda each: (-each[1], each[0]),
    )
    names = [value for value, _ in sizes[:_MOST]]
    places = pc.index_in(whole, value_set=pa.array(names, pa.string())).fill_null(len(names))
    shown = [_WORDS.get(value, value) for value in names] + ([OTHERS] if len(sizes) > _MOST else [])
    return Grouping(name, tuple(shown), np.asarray(places.to_numpy()).astype(np.int64))
