"""Micro-segments: the largest, with what sets each apart."""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.customers.micro_segments import SMALL, Difference, MicroSegment
from tilltal.insight.report.data import MicroSegmentView
from tilltal.insight.report.gather.tables import Tables

_SHOWN = 12


def micro_segments(tables: Tables, wanted: Sequence[str]) -> MicroSegmentView | None:
    """Return the largest micro-segments; None where the snapshot has none.

    Args:
        tables: reads `micro_segments`.
        wanted: the dimensions of the definition; those that no profile has were left out of the crossing.
    """
    if not tables.has("micro_segments"):
        return None
    rows = tables.rows("SELECT name, customers, share, differences FROM micro_segments")
    found = [
        MicroSegment(
            values=tuple(name.split(" · ")),
            customers=customers,
            share=share,
            differences=tuple(Difference(**difference) for difference in differences),
        )
        for name, customers, share, differences in rows
    ]
    named = sorted(
        (each for each in found if SMALL not in each.values), key=lambda each: (-each.customers, each.values)
    )
    if not named:
        return None
    return MicroSegmentView(
        dimensions=tuple(name for name in wanted if tables.has("profiles", name)),
        shown=tuple(named[:_SHOWN]),
        count=len(named),
        elsewhere=sum(each.customers for each in found if SMALL in each.values),
    )
