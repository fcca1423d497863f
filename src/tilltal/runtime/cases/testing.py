"""`tilltal test`: a workspace's own cases, run by the code that refreshes and decides.

Each case is a bank of one customer. Scores are what the case says; personas use the centroids of the snapshot
in force, and are empty without one; quantile cuts of the value grid mean nothing for one customer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, Place, WorkspaceError, nearest
from tilltal.core.names import quote
from tilltal.customers.audiences import PREFIX
from tilltal.decisions.single import as_row, decide
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.cases.case_story import ONE, CaseStory
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder
from tilltal.runtime.refresh.run import current_or_none
from tilltal.runtime.refresh.views import open_views
from tilltal.workspace.definitions.cases import Case, CaseFile, Scalar
from tilltal.workspace.graph import dependencies
from tilltal.workspace.shape import shape
from tilltal.workspace.workspace import Workspace
from tilltal.workspace.yaml_tree import parse as parse_yaml

_TOLERANCE = 1e-6


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """A case and how it differs from what was expected; no differences, it holds."""

    file: str
    title: str
    differences: tuple[str, ...]


class CaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """All cases of a run."""

    cases: tuple[CaseResult, ...]

    @property
    def failed(self) -> int:
        """How many cases differ."""
        return sum(bool(case.differences) for case in self.cases)


def run_cases(workspace: Workspace, files: Sequence[Path] | None) -> CaseReport:
    """Run case files, or all of the workspace's `cases/`.

    Raises:
        DataError: E511 where there are no cases; E512 where a case names what does not exist.
        WorkspaceError: with the faults of the case files.
    """
    root = Path(workspace.root)
    chosen = list(files) if files else sorted((root / "cases").glob("*.yaml"))
    if not chosen:
        raise DataError.of(
            "E511", "There are no cases to run.", hint=f"Write some: {root / 'cases'}/<name>.yaml."
        )
    results = []
    for path in chosen:
        for case in _read(path):
            story = CaseStory(workspace, case, str(path))
            results.append(
                CaseResult(file=path.name, title=case.title, differences=tuple(_run(workspace, case, story)))
            )
    return CaseReport(cases=tuple(results))


def _read(path: Path) -> tuple[Case, ...]:
    if not path.is_file():
        raise DataError.of("E511", "There is no such case file.", place=Place(file=str(path)))
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise WorkspaceError.of("W104", "The file is no UTF-8 text.", place=Place(file=str(path))) from error
    if document.faults:
        raise WorkspaceError(*document.faults)
    return shape(document, CaseFile).cases


def _run(workspace: Workspace, case: Case, story: CaseStory) -> Iterator[str]:
    """Yield each difference of a case."""
    story.check()
    clock = story.clock
    with DuckDBEngine(threads=1) as engine:
        story.tell(engine)
        open_views(engine, workspace, clock, "present")
        memory = PersonaMemory(current_or_none(store_of(workspace)), may_learn=False)
        builder = ProfileBuilder(
            engine, workspace, clock, memory, Silent(), lambda name, _: _score(engine, case, name)
        )
        nodes = [node for node in dependencies(workspace) if not node.startswith("action.")]
        builder.build("profiles", frozenset(nodes) - {"micro_segments"})
        plan = decision_plan(workspace, clock)
        open_input(engine, workspace, plan, clock, "profiles", only_known=False, context=case.context)
        row = as_row(engine.arrow(f"SELECT * FROM {INPUT}").to_pylist()[0], plan.schema)
    ranking = decide(plan, row, clock, case.context).ranking
    yield from _profile_differences(case, row)
    shown = [entry.action for entry in ranking.ranked]
    expect = case.expect
    if expect.decision is not None and (shown[0] if shown else "none") != expect.decision:
        yield f"decision: expected {expect.decision}, got {shown[0] if shown else 'none'}"
    if expect.actions is not None and list(expect.actions) != shown:
        yield f"actions: expected {', '.join(expect.actions) or 'none'}, got {', '.join(shown) or 'none'}"
    lost = {entry.action: entry.reason for entry in ranking.lost}
    for action, reason in expect.reasons.items():
        got = lost.get(action, "shown" if action in shown else "no such action")
        if got != reason:
            yield f"{action}: expected {reason}, got {got}"


def _profile_differences(case: Case, row: Mapping[str, object]) -> Iterator[str]:
    expect = case.expect
    wanted: dict[str, Scalar] = dict(expect.profile)
    if expect.stage is not None:
        wanted["lifecycle.stage"] = expect.stage
    for name, value in wanted.items():
        if name not in row:
            valid = ", ".join(nearest(name, row))
            yield f"{name}: the profile has no such name; nearest: {valid}"
        elif not _equal(value, row[name]):
            yield f"{name}: expected {_shown(value)}, got {_shown(row[name])}"
    held = {
        name.removeprefix(PREFIX) for name, value in row.items() if name.startswith(PREFIX) and value is True
    }
    if expect.audiences is not None and set(expect.audiences) != held:
        yield f"audiences: expected {_listed(expect.audiences)}, got {_listed(held)}"
    missing = set(expect.within) - held
    if missing:
        yield f"audiences: not within {_listed(missing)}; within {_listed(held)}"


def _equal(expected: Scalar, got: object) -> bool:
    if isinstance(got, date):
        return expected == got.isoformat()
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return math.isclose(expected, got, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return expected == got


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _score(engine: DuckDBEngine, case: Case, name: str) -> str:
    table = quote(f"made score.{name}")
    value = case.customer.scores.get(name)
    score = "NULL" if value is None else repr(value)
    engine.run(
        f"CREATE OR REPLACE TABLE {table} AS "
        f"SELECT {ONE} AS profile, CAST({score} AS DOUBLE) AS {quote('score.' + name)}"
    )
    return table
