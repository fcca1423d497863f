"""`tilltal test`: a workspace's own cases, run by the code that refreshes and decides.

Each case is a bank of one customer. Scores are what the case says; personas use the centroids of the snapshot
in force, and are empty without one; quantile cuts of the value grid mean nothing for one customer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from tilltal.core.errors import DataError, Place, TilltalError, WorkspaceError, nearest
from tilltal.core.money import minor_per_major
from tilltal.core.names import quote
from tilltal.core.time import parse_instant, utc_naive
from tilltal.customers.audiences import PREFIX
from tilltal.decisions.single import decide
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.runtime.ingest import store_of
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder
from tilltal.runtime.refresh.run import current_or_none
from tilltal.runtime.refresh.views import declared_views, open_views, view_name
from tilltal.workspace.definitions.cases import Case, CaseFile, Scalar
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.graph import dependencies
from tilltal.workspace.names import declared_type, event_fields
from tilltal.workspace.shape import shape
from tilltal.workspace.workspace import Workspace
from tilltal.workspace.yaml_tree import parse as parse_yaml

_ONE = 1  # the profile of a case's only customer
_TOLERANCE = 1e-6
_ARROW = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "UUID": pa.string(),
    "STRUCT(namespace VARCHAR, token BIGINT)[]": pa.string(),  # nobody is resolved here
}

Row = dict[str, object]
T = TypeVar("T")


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
        DataError: E511 where there are no cases.
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
            results.append(
                CaseResult(file=path.name, title=case.title, differences=tuple(_run(workspace, case)))
            )
    return CaseReport(cases=tuple(results))


def _read(path: Path) -> tuple[Case, ...]:
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise WorkspaceError.of("W102", "The file is no UTF-8 text.", place=Place(file=str(path))) from error
    if document.faults:
        raise WorkspaceError(*document.faults)
    return shape(document, CaseFile).cases


def _run(workspace: Workspace, case: Case) -> Iterator[str]:
    """Yield each difference of a case."""
    clock = Clock(_instant(case.as_of, workspace.zone, case), workspace.zone)
    with DuckDBEngine(threads=1) as engine:
        _load(engine, workspace, case)
        open_views(engine, workspace, clock, "present")
        memory = PersonaMemory(current_or_none(store_of(workspace)), may_learn=False)
        builder = ProfileBuilder(
            engine, workspace, clock, memory, Silent(), lambda name, _: _score(engine, case, name)
        )
        nodes = [node for node in dependencies(workspace) if not node.startswith("action.")]
        builder.build("profiles", frozenset(nodes) - {"micro_segments"})
        plan = decision_plan(workspace, clock)
        open_input(engine, workspace, plan, clock, "profiles", only_known=False)
        row = engine.arrow(f"SELECT * FROM {INPUT}").to_pylist()[0]
    row = {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }
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
        f"SELECT {_ONE} AS profile, CAST({score} AS DOUBLE) AS {quote('score.' + name)}"
    )
    return table


def _load(engine: DuckDBEngine, workspace: Workspace, case: Case) -> None:
    """Make the schema `history` of one customer."""
    rows = _rows(workspace, case)
    engine.run("CREATE SCHEMA history")
    for view, columns in declared_views(workspace).items():
        schema = pa.schema(
            [("identity", pa.int64()), *((name, _ARROW[kind]) for name, kind in columns.items())]
        )
        engine.register("given", pa.Table.from_pylist(rows.get(view, []), schema=schema))
        engine.run(f"CREATE TABLE history.{quote(view_name(view))} AS SELECT * FROM given")
    engine.run(
        "CREATE TABLE history.identity_map (identity BIGINT, valid_from TIMESTAMP, valid_to TIMESTAMP, "
        "profile BIGINT); CREATE TABLE history.shared_values (identity BIGINT, namespace VARCHAR); "
        f"CREATE TABLE history.people_spine AS SELECT CAST({_ONE} AS BIGINT) AS profile, "
        "TRUE AS is_known, TIMESTAMP '0001-01-01' AS first_seen"
    )


def _rows(workspace: Workspace, case: Case) -> dict[str, list[Row]]:
    """Return the case's rows for each view of history, typed."""
    zone, rows = workspace.zone, dict[str, list[Row]]()
    fields = event_fields(workspace)
    for number, event in enumerate(case.customer.events):
        kinds = _known(event.type, fields, "event type", case)
        at = utc_naive(_instant(event.at, zone, case))
        rows.setdefault(f"events/{event.type}", []).append(
            {**_head(number, at), "source": "case", **_typed(event.fields, kinds, workspace, case)}
        )
    as_of = utc_naive(_instant(case.as_of, zone, case))
    records = {name: source for name, source in workspace.sources.items() if source.kind == "record"}
    for name, values in case.customer.records.items():
        source = _known(name, records, "record source", case)
        kinds = {field: declared_type(kind) for field, kind in source.fields.items()}
        rows[f"records/{name}"] = [{**_head(0, as_of), **_typed(values, kinds, workspace, case)}]
    rows["holdings"] = [
        {
            "identity": _ONE,
            "received": utc_naive(_instant(held.opened, zone, case)),
            "source": "case",
            "product": held.product,
            "opened": date.fromisoformat(held.opened),
            "closed": date.fromisoformat(held.closed) if held.closed else None,
        }
        for held in case.customer.holdings
    ]
    rows["consents"] = [
        {
            "identity": _ONE,
            "at": utc_naive(_instant(consent.at, zone, case)),
            "received": utc_naive(_instant(consent.at, zone, case)),
            "purpose": consent.purpose,
            "channel": consent.channel,
            "granted": consent.granted,
        }
        for consent in case.customer.consents
    ]
    return rows


def _head(number: int, at: datetime) -> Row:
    return {"identity": _ONE, "event_id": f"00000000-0000-0000-0000-{number:012d}", "at": at, "received": at}


def _typed(
    values: Mapping[str, Scalar], kinds: Mapping[str, FieldType], workspace: Workspace, case: Case
) -> Row:
    return {
        name: _value(value, _known(name, kinds, "field", case), workspace, case)
        for name, value in values.items()
    }


def _value(value: Scalar, kind: FieldType, workspace: Workspace, case: Case) -> object:
    """Return a value as history keeps it."""
    if kind == "any":
        return None if value is None else json.dumps(value, ensure_ascii=False)
    if value is None:
        return None
    try:
        match kind:
            case "money":
                return round(float(value) * minor_per_major(workspace.currency))
            case "number":
                return float(value)
            case "date":
                return date.fromisoformat(str(value))
            case "timestamp":
                return utc_naive(parse_instant(str(value), workspace.zone))
            case "text":
                return str(value)
    except ValueError as error:
        raise TilltalError.of("E512", f"{case.title}: {value!r} is no {kind}.") from error
    if isinstance(value, bool) != (kind == "boolean") or not isinstance(value, int):
        raise TilltalError.of("E512", f"{case.title}: {value!r} is no {kind}.")
    return value


def _known(name: str, known: Mapping[str, T], kind: str, case: Case) -> T:
    if name not in known:
        raise TilltalError.of(
            "E512", f"{case.title}: there is no {kind} {name!r}.", valid=nearest(name, known)
        )
    return known[name]


def _instant(text: str, zone: ZoneInfo, case: Case) -> datetime:
    try:
        return parse_instant(text, zone)
    except ValueError as error:
        raise TilltalError.of("E512", f"{case.title}: {text!r} is no instant.") from error
