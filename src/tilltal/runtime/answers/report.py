"""Report: read the snapshot in force, and write the page that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from tilltal.core.names import quote
from tilltal.core.time import parse_instant
from tilltal.customers.personas.centroids import Centroids
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.insight.report.data import About, ReportData
from tilltal.insight.report.gather.actions import next_best_actions
from tilltal.insight.report.gather.kpis import Order, kpis
from tilltal.insight.report.gather.lifecycle import lifecycle, stage_order
from tilltal.insight.report.gather.micro_segments import micro_segments
from tilltal.insight.report.gather.models import models
from tilltal.insight.report.gather.penetration import penetration
from tilltal.insight.report.gather.personas import personas
from tilltal.insight.report.gather.population import funnel, headline, knows_worth
from tilltal.insight.report.gather.tables import Tables
from tilltal.insight.report.gather.value import value_grid
from tilltal.insight.report.gather.why_not import why_not
from tilltal.insight.report.page import render
from tilltal.insight.report.worth import StudyView
from tilltal.models.model import Content, from_bytes
from tilltal.rules.clock import Clock
from tilltal.runtime.answers.snapshot import table_of
from tilltal.runtime.answers.studies import kept_study
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.refresh.personas import FILE as PERSONAS
from tilltal.runtime.refresh.personas import Kept
from tilltal.runtime.storage import disk
from tilltal.workspace.definitions.segments import StageNames
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

FILE = "report.html"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What the page needs of a snapshot's manifest."""

    as_of: str
    created: str
    definitions: str


def write_report(workspace: Workspace, target: Path | None = None) -> Path:
    """Write the page of the snapshot in force; return where it lies.

    Args:
        workspace: definitions that passed their check.
        target: the file to write; `report.html` in the workspace if None.

    Raises:
        DataError: E507 if there is no snapshot yet; E515 if a study that was kept is damaged.
        EngineError: if the disk or the engine gives up; the old page, if any, stays.
    """
    snapshot = store_of(workspace).current_snapshot()
    chosen = target or Path(workspace.root) / FILE
    page = render(_with_study(workspace, read_snapshot(workspace, snapshot)))
    with disk.explained():
        disk.write(chosen, page.encode())
    return chosen


def _with_study(workspace: Workspace, data: ReportData) -> ReportData:
    """Add what each step is worth, where a study of the known truth was made."""
    study = kept_study(workspace)
    if study is None:
        return data
    day = parse_instant(study.as_of, workspace.zone).astimezone(workspace.zone).date()
    is_earlier = study.definitions != data.about.definitions or day != data.about.as_of
    shown = StudyView(worth=study.worth, as_of=day, is_earlier=is_earlier)
    return msgspec.structs.replace(data, study=shown)


def read_snapshot(workspace: Workspace, snapshot: Path) -> ReportData:
    """Return what the page shows of a snapshot's folder."""
    with disk.explained():
        taken = msgspec.json.decode((snapshot / "manifest.json").read_bytes(), type=Taken)
        centroids = _centroids(snapshot)
        contents = tuple(_models(snapshot))
    engine = workspace.settings.engine
    with DuckDBEngine(memory_limit=engine.memory_limit, threads=engine.threads) as duck:
        return _gather(workspace, _open(duck, snapshot), taken, centroids, contents)


def _gather(
    workspace: Workspace,
    tables: Tables,
    taken: Taken,
    centroids: Centroids | None,
    contents: tuple[Content, ...],
) -> ReportData:
    clock = Clock(parse_instant(taken.as_of, workspace.zone), workspace.zone)
    known = tables.count("SELECT count(*) FROM profiles WHERE is_known")
    names = workspace.lifecycle.names if workspace.lifecycle else StageNames()
    stages = stage_order(names) if workspace.lifecycle else ()
    order = _order(workspace, stages, centroids)
    worth = knows_worth(workspace.arbitration)
    return ReportData(
        about=_about(workspace, taken, clock),
        headline=headline(tables, workspace.actions, workspace.arbitration, clock.today, known),
        funnel=funnel(tables),
        lifecycle=lifecycle(tables, names, clock.today),
        value=value_grid(tables, workspace.value, profile_schema(workspace), clock),
        personas=personas(tables, centroids),
        models=models(contents),
        actions=next_best_actions(tables, workspace.actions, stages, known, knows_worth=worth),
        why_not=why_not(tables, workspace.actions, known),
        kpis=kpis(tables, workspace.kpis.period, order, clock.today),
        penetration=penetration(tables, order),
        micro_segments=micro_segments(tables, workspace.micro_segments.dimensions),
    )


def _about(workspace: Workspace, taken: Taken, clock: Clock) -> About:
    return About(
        bank=workspace.settings.name,
        description=workspace.settings.description,
        currency=workspace.currency,
        as_of=clock.today,
        created=datetime.fromisoformat(taken.created),
        definitions=taken.definitions,
    )


def _order(workspace: Workspace, stages: tuple[str, ...], centroids: Centroids | None) -> Order:
    """Return in which order the segments of each dimension are shown."""
    order: dict[str, tuple[str, ...]] = {"lifecycle.stage": stages}
    if workspace.value:
        order["value.segment"] = tuple(cell.name for cell in workspace.value.cells)
    if centroids:
        order["persona.name"] = centroids.names
    return order


def _open(engine: DuckDBEngine, snapshot: Path) -> Tables:
    paths: Mapping[str, Path] = {path.stem: path for path in sorted(snapshot.glob("*.parquet"))}
    for name in paths:
        engine.run(f"CREATE VIEW {quote(name)} AS {table_of(engine, snapshot, name)}")
    return Tables(engine, paths)


def _centroids(snapshot: Path) -> Centroids | None:
    path = snapshot / PERSONAS
    return msgspec.json.decode(path.read_bytes(), type=Kept).centroids if path.exists() else None


def _models(snapshot: Path) -> Iterator[Content]:
    for path in sorted(snapshot.glob("models/*/model")):
        yield from_bytes(path.read_bytes()).content
