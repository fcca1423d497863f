"""How the adaptive models are, as the operational store has them now."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from tilltal.core.errors import DataError, nearest
from tilltal.core.instants import micros
from tilltal.decisions.live.decider import LiveDecider
from tilltal.engines.operational.opening import open_store
from tilltal.insight.report.charts.bubbles import bubbles, standalone
from tilltal.models.adaptive.report import AdaptiveReport, ModelReport, adaptive_report
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.teams import teams_of
from tilltal.runtime.live.places import store_place
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.runtime.storage import disk
from tilltal.workspace.workspace import Workspace


def report_models(workspace: Workspace, now: datetime, picture: Path | None = None) -> AdaptiveReport:
    """Report on every adaptive model; also as a picture (.svg), where one is asked for.

    Raises:
        EngineError: if the store cannot be reached.
        DataError: E542 if the place of the store is not set.
    """
    decider = LiveDecider(decision_plan(workspace, Clock(now, workspace.zone)))
    stored = asyncio.run(_stored(store_place(workspace))) if decider.adaptive else {}
    report = adaptive_report(teams_of(decider, stored, micros(now), set()).values(), micros(now))
    if picture is not None:
        with disk.explained():
            label = "Adaptive models: share of yes by AUC, larger with more answers"
            picture.write_text(standalone(bubbles(report.models, label)), encoding="utf-8")
    return report


def model_named(report: AdaptiveReport, name: str) -> ModelReport:
    """Return the report of one model.

    Raises:
        DataError: M414 if there is none of that name.
    """
    known = {each.name: each for each in report.models}
    if name not in known:
        raise DataError.of("M414", f"There is no adaptive model {name!r}.", valid=nearest(name, known))
    return known[name]


async def _stored(place: str) -> dict[str, bytes]:
    if "://" not in place and not Path(place).exists():  # nothing was ever served
        return {}
    store = await open_store(place)
    try:
        return await store.adaptive()
    finally:
        await store.close()
