"""Micro-segments: the crossing of stage, value, persona and leading product, and what sets each apart.

A segment's difference in a number is (its mean − everybody's mean) / everybody's standard deviation: the
standardised difference of J. Cohen, "Statistical Power Analysis", 1988. For yes/no names it is the
difference of shares over the standard deviation of the yes. Customers in crossings smaller than the minimum
are counted together, under no name, so that no small group can be singled out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.names import quote
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import MicroSegments
from tilltal.workspace.names import matching

SMALL = "(small)"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that sets a segment apart, in standard deviations of all customers."""

    name: str
    here: float
    everywhere: float
    deviations: float


class MicroSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A crossing of segments with its size and its strongest differences, strongest first."""

    values: tuple[str, ...]
    customers: int
    share: float
    differences: tuple[Difference, ...]

    @property
    def name(self) -> str:
        """The crossing's name: its values in order, joined."""
        return " · ".join(self.values)


def describing(definition: MicroSegments, schema: Mapping[str, Type]) -> tuple[str, ...]:
    """Return the numbers and yes/no names that describe segments: by patterns, else all plain ones."""
    usable = [name for name, kind in schema.items() if kind in (Type.INTEGER, Type.NUMBER, Type.BOOLEAN)]
    return matching(definition.describe or ("*",), usable)


def micro_segments_sql(definition: MicroSegments, names: Sequence[str], relation: str) -> str:
    """Return a SELECT of one row per crossing and one for all customers.

    Columns: the dimensions as d0, d1, ... (`(small)` where below the minimum size, all NULL for
    everybody), `customers`, and per name i `n<i>` (how many know it), `m<i>` (mean), `s<i>` (standard
    deviation).
    """
    dimensions = [f"COALESCE({quote(name)}, '–')" for name in definition.dimensions]
    keys = ", ".join(f"d{index}" for index in range(len(dimensions)))
    crossed = ", ".join(f"{sql} AS d{index}" for index, sql in enumerate(dimensions))
    values = ", ".join(f"CAST({quote(name)} AS DOUBLE) AS x{index}" for index, name in enumerate(names))
    measures = ", ".join(
        f"count(x{index}) AS n{index}, avg(x{index}) AS m{index}, stddev_pop(x{index}) AS s{index}"
        for index in range(len(names))
    )
    small = ", ".join(
        f"CASE WHEN size < {definition.minimum_size} THEN '{SMALL}' ELSE d{index} END AS d{index}"
        for index in range(len(dimensions))
    )
    tail = f", {values}" if names else ""
    carried = "".join(f", x{index}" for index in range(len(names)))
    return (
        f"WITH crossed AS (SELECT {crossed}{tail} FROM {relation}), "
        f"sized AS (SELECT *, count(*) OVER (PARTITION BY {keys}) AS size FROM crossed), "
        f"named AS (SELECT {small}{carried} FROM sized) "
        f"SELECT {keys}, count(*) AS customers{', ' + measures if names else ''} "
        f"FROM named GROUP BY GROUPING SETS (({keys}), ())"
    )


def describe(
    definition: MicroSegments, names: Sequence[str], table: pa.Table, strongest: int = 3
) -> tuple[MicroSegment, ...]:
    """Turn the result of `micro_segments_sql` into segments, largest first; the small ones last."""
    rows = table.to_pylist()
    keys = [f"d{index}" for index in range(len(definition.dimensions))]
    everybody = next((row for row in rows if all(row[key] is None for key in keys)), None)
    if everybody is None or not everybody["customers"]:
        return ()
    found = [
        MicroSegment(
            values=tuple(str(row[key]) for key in keys),
            customers=row["customers"],
            share=row["customers"] / everybody["customers"],
            differences=_differences(names, row, everybody)[:strongest],
        )
        for row in rows
        if row is not everybody
    ]
    return tuple(sorted(found, key=lambda each: (SMALL in each.values, -each.customers, each.values)))


def _differences(
    names: Sequence[str], row: Mapping[str, float | None], everybody: Mapping[str, float | None]
) -> tuple[Difference, ...]:
    found = []
    for index, name in enumerate(names):
        here, mean, deviation = row[f"m{index}"], everybody[f"m{index}"], everybody[f"s{index}"]
        if here is None or mean is None or not deviation or not np.isfinite(deviation):
            continue
        found.append(Difference(name=name, here=here, everywhere=mean, deviations=(here - mean) / deviation))
    return tuple(sorted(found, key=lambda each: (-abs(each.deviations), each.name)))
