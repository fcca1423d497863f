from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.core.names import quote
from tilltal.customers.lifecycle.plan import KEPT, lifecycle_steps
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments, StageNames

CLOCK = Clock(datetime(2026, 6, 30, 12, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMAS = {kind: EventType(fields={"amount": Type.NUMBER}) for kind in ("buy", "login")}
BUYS = Moments(first_event=("buy",))


@pytest.mark.parametrize(
    ("lifecycle", "message"),
    [
        (Lifecycle(opened=Moments(silence=("buy",))), "`opened` cannot come from silence"),
        (
            Lifecycle(opened=BUYS, closed=Moments(silence=("login",))),
            "`closed.silence` does not watch the events that open the relation",
        ),
        (
            Lifecycle(opened=BUYS, closed=Moments(silence=("buy",), where="amount > 0")),
            "`closed.silence` does not watch the events that open the relation",
        ),
        (
            Lifecycle(opened=BUYS, engagement=Engagement(from_=("buy",), measure="recency")),
            "the measure recency is no measure of engagement",
        ),
    ],
)
def test_definitions_that_cannot_work_are_refused(lifecycle: Lifecycle, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message) as caught:
        lifecycle_steps(lifecycle, SCHEMAS, CLOCK)
    (fault,) = caught.value.faults
    assert (fault.code, str(fault.place)) == ("W166", "lifecycle.yaml")
    assert fault.hint or fault.valid


def test_a_bank_without_customers_has_empty_tables() -> None:
    with DuckDBEngine() as engine:
        columns = "profile BIGINT, product VARCHAR, opened DATE, closed DATE, received TIMESTAMP"
        engine.run(f"CREATE TABLE holdings ({columns})")
        held = Moments(holding=("any",))
        for step in lifecycle_steps(Lifecycle(opened=held, closed=held), {}, CLOCK):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        assert [engine.rows(f"SELECT * FROM {quote(name)}") for name in KEPT] == [[], [], []]


def test_the_result_has_the_names_that_expressions_use() -> None:
    names = StageNames(new="Ny")
    held = Lifecycle(opened=Moments(holding=("card",)), names=names)
    with DuckDBEngine() as engine:
        engine.run("""CREATE TABLE holdings AS SELECT * FROM (VALUES
            (7, 'card', DATE '2026-06-01', CAST(NULL AS DATE), TIMESTAMP '2026-06-01'),
            (8, 'loan', DATE '2026-06-01', NULL, TIMESTAMP '2026-06-01'))
            AS t(profile, product, opened, closed, received)""")
        for step in lifecycle_steps(held, {}, CLOCK):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        table = engine.arrow("SELECT * FROM lifecycle").to_pylist()
    day = date(2026, 6, 1)
    expected = {"stage": "Ny", "since": day, "days": 30, "opened": day}
    assert table == [{"profile": 7, **{f"lifecycle.{name}": value for name, value in expected.items()}}]
