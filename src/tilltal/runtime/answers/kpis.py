"""Key figures of the snapshot in force, as a table of periods."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tilltal.core.errors import DataError, nearest
from tilltal.core.names import literal
from tilltal.runtime.answers.snapshot import open_snapshot
from tilltal.workspace.workspace import Workspace


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One key figure of one segment, a value per period; None where it is undefined."""

    kpi: str
    segment: str
    values: tuple[float | None, ...]


class KpiTable(msgspec.Struct, frozen=True, kw_only=True):
    """Key figures by one dimension; `periods` are first days, ISO 8601."""

    dimension: str
    periods: tuple[str, ...]
    lines: tuple[Line, ...]


def read_kpis(workspace: Workspace, names: Sequence[str] | None, dimension: str, last: int) -> KpiTable:
    """Return key figures of the latest periods.

    Raises:
        DataError: E507 without a snapshot; E510 for a figure or dimension that it does not have.
    """
    with open_snapshot(workspace) as snapshot:
        if not snapshot.has("kpis"):
            raise DataError.of(
                "E510", "The snapshot has no key figures.", hint="Write a lifecycle.yaml, then refresh."
            )
        rows = snapshot.engine.rows("SELECT DISTINCT kpi, dimension FROM kpis")
        for asked in names or ():
            _known("key figure", asked, {kpi for kpi, _ in rows})
        _known("dimension", dimension, {one for _, one in rows})
        wanted = "" if not names else f" AND kpi IN ({', '.join(map(literal, names))})"
        found = snapshot.engine.rows(
            "SELECT kpi, segment, CAST(period_start AS VARCHAR), value FROM kpis "
            f"WHERE dimension = {literal(dimension)}{wanted} ORDER BY kpi, segment, period_start"
        )
    periods = tuple(sorted({row[2] for row in found})[-last:])
    values = {(kpi, segment, period): value for kpi, segment, period, value in found}
    lines = sorted({(kpi, segment) for kpi, segment, _, _ in found})
    return KpiTable(
        dimension=dimension,
        periods=periods,
        lines=tuple(
            Line(
                kpi=kpi,
                segment=segment,
                values=tuple(values.get((kpi, segment, period)) for period in periods),
            )
            for kpi, segment in lines
        ),
    )


def _known(kind: str, asked: str, valid: set[str]) -> None:
    if asked not in valid:
        raise DataError.of(
            "E510", f"There is no {kind} {asked!r}.", valid=nearest(asked, valid) or tuple(sorted(valid))
        )
