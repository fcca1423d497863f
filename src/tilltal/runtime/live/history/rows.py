"""Facts of the rows of history's views, as live profiles take them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.traits.online import Event
from tilltal.runtime.live.history.past import kept_value
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace


def fact_maker(workspace: Workspace, view: str) -> Callable[[Mapping[str, Any]], Fact]:
    """Return what makes facts of the rows of a view of history, such as `events/login`."""
    kind, _, name = view.partition("/")
    if kind == "events":
        fields = event_fields(workspace)[name]
        return lambda row: _event(name, row, fields)
    if kind == "records":
        kept = kept_fields(workspace.sources[name])
        return lambda row: _record(name, row, kept)
    return _holding if kind == "holdings" else _consent


def _aware(row: Mapping[str, Any], name: str) -> datetime:
    instant: datetime = row[name]
    return instant.replace(tzinfo=UTC)


def _fields(row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> dict[str, object]:
    return {name: kept_value(row[name], kind) for name, kind in fields.items() if row.get(name) is not None}


def _event(name: str, row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> Event:
    return Event(
        type=name,
        at=_aware(row, "at"),
        received=_aware(row, "received"),
        event_id=str(row["event_id"]),
        fields=_fields(row, fields),
    )


def _record(name: str, row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> RecordFact:
    return RecordFact(
        source=name,
        at=_aware(row, "at"),
        received=_aware(row, "received"),
        event_id=str(row["event_id"]),
        fields=_fields(row, fields),
    )


def _holding(row: Mapping[str, Any]) -> HoldingFact:
    return HoldingFact(
        source=row["source"],
        product=row["product"],
        opened=row["opened"],
        closed=row["closed"],
        received=_aware(row, "received"),
    )


def _consent(row: Mapping[str, Any]) -> ConsentFact:
    return ConsentFact(
        purpose=row["purpose"],
        channel=row["channel"],
        granted=row["granted"],
        at=_aware(row, "at"),
        received=_aware(row, "received"),
    )
