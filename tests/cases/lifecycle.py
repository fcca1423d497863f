"""Lifecycle cases: stages of a customer, cells of the value grid, key figures of the customer base.

Each case runs twice: one customer at a time in Python, and all at once in the SQL of a refresh. Stages are
told a third time as a server has them, live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from tests.cases.lifecycle_figures import figure_mismatches
from tests.cases.lifecycle_grid import grid_mismatches
from tests.cases.lifecycle_stages import stage_mismatches
from tests.cases.report import Document, Mismatch, case_id, unknown_keys

from tilltal.core.errors import TilltalError
from tilltal.core.time import zone_of

_KEYS = {
    "stage": {"config", "history", "stages", "transitions_until", "transitions"},
    "value_grid": {"thresholds", "date", "customers", "grid", "grid_columns"},
    "kpi": {"periods", "period", "relations", "expect"},
}
_COMMON = {"id", "kind", "title", "note", "needs"}
_DEFAULTS = {"config", "thresholds", "grid", "grid_columns"}


def run(document: Document) -> list[Mismatch]:
    """Run all cases of a document."""
    defaults = document.get("defaults") or {}
    zone = zone_of(document.get("workspace_time_zone", "UTC"))
    found = unknown_keys("defaults", "defaults", defaults, _DEFAULTS)
    for case in document["cases"]:
        try:
            found += _run_case(case, defaults, zone)
        except (TilltalError, msgspec.ValidationError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            found.append(Mismatch(case=case_id(case), what="cannot be run", got=reason))
    return found


def _run_case(case: Mapping[str, Any], defaults: Mapping[str, Any], zone: ZoneInfo) -> Iterator[Mismatch]:
    kind = case.get("kind")
    if kind not in _KEYS:
        yield Mismatch(case=case_id(case), what="kind", expected=sorted(_KEYS), got=kind)
        return
    yield from unknown_keys(case_id(case), "case", case, _COMMON | _KEYS[kind])
    if kind == "stage":
        yield from stage_mismatches(case, defaults.get("config") or {}, zone)
    elif kind == "value_grid":
        yield from grid_mismatches(case, defaults, zone)
    else:
        yield from figure_mismatches(case, zone)
