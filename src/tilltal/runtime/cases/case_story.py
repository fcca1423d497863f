"""What a case tells of its only customer, as rows of history.

Every name and value is checked: a case that misspells an event would hold for the wrong reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TypeVar

import pyarrow as pa

from tilltal.core.errors import DataError, Place, nearest
from tilltal.core.money import minor_per_major
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.core.time import parse_instant, utc_naive
from tilltal.rules.clock import Clock
from tilltal.runtime.refresh.views import declared_views, view_name
from tilltal.workspace.definitions.cases import Case, Scalar
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import declared_type, event_fields, products
from tilltal.workspace.workspace import Workspace

ONE = 1  # the customer's profile

_NOBODY = "none"
_EVERY = "*"
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


class CaseStory:
    """The customer of one case of a file.

    Whatever the methods read may raise DataError: E512 for an unknown name, or a value of a wrong type.
    """

    def __init__(self, workspace: Workspace, case: Case, file: str) -> None:
        self._workspace = workspace
        self._case = case
        self._file = file

    @property
    def clock(self) -> Clock:
        """The instant of the case."""
        return Clock(self._instant(self._case.as_of), self._workspace.zone)

    def check(self) -> None:
        """Refuse a case that names models, audiences or actions which do not exist."""
        workspace, expect = self._workspace, self._case.expect
        actions = {*(expect.actions or ()), *expect.reasons, *filter(None, [expect.decision])}
        self._all_known("model", self._case.customer.scores, workspace.models)
        self._all_known("audience", (*(expect.audiences or ()), *expect.within), workspace.audiences)
        self._all_known("action", actions - {_NOBODY}, workspace.actions)

    def tell(self, engine: BatchEngine) -> None:
        """Make the schema `history` of one customer, whose id is `ONE`."""
        rows = {**self._events(), **self._records()}
        rows |= {"holdings": self._holdings(), "consents": self._consents()}
        engine.run("CREATE SCHEMA history")
        for view, columns in declared_views(self._workspace).items():
            typed = [("identity", pa.int64()), *((name, _ARROW[kind]) for name, kind in columns.items())]
            engine.register("given", pa.Table.from_pylist(rows.get(view, []), schema=pa.schema(typed)))
            engine.run(f"CREATE TABLE history.{quote(view_name(view))} AS SELECT * FROM given")
        engine.run(
            "CREATE TABLE history.identity_map (identity BIGINT, valid_from TIMESTAMP, valid_to TIMESTAMP, "
            "profile BIGINT); CREATE TABLE history.shared_values (identity BIGINT, namespace VARCHAR); "
            f"CREATE TABLE history.people_spine AS SELECT CAST({ONE} AS BIGINT) AS profile, "
            "TRUE AS is_known, TIMESTAMP '0001-01-01' AS first_seen"
        )

    def _events(self) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {}
        fields = event_fields(self._workspace)
        for number, event in enumerate(self._case.customer.events):
            kinds = self._known("event type", event.type, fields)
            row = _head(number, utc_naive(self._instant(event.at)))
            row |= {"source": "case", **self._typed(event.fields, kinds)}
            rows.setdefault(f"events/{event.type}", []).append(row)
        return rows

    def _records(self) -> dict[str, list[Row]]:
        as_of = utc_naive(self.clock.now)
        sources = {
            name: source for name, source in self._workspace.sources.items() if source.kind == "record"
        }
        rows = {}
        for name, values in self._case.customer.records.items():
            fields = self._known("record source", name, sources).fields
            kinds = {field: declared_type(kind) for field, kind in fields.items()}
            rows[f"records/{name}"] = [{**_head(0, as_of), **self._typed(values, kinds)}]
        return rows

    def _holdings(self) -> list[Row]:
        held = self._case.customer.holdings
        self._all_known("product", (each.product for each in held), products(self._workspace))
        return [
            {
                "identity": ONE,
                "received": utc_naive(self._instant(each.opened)),
                "source": "case",
                "product": each.product,
                "opened": self._date(each.opened),
                "closed": self._date(each.closed) if each.closed else None,
            }
            for each in held
        ]

    def _consents(self) -> list[Row]:
        answers, workspace = self._case.customer.consents, self._workspace
        self._all_known("purpose", (each.purpose for each in answers), workspace.consent.purposes)
        channels = (each.channel for each in answers if each.channel != _EVERY)
        self._all_known("channel", channels, workspace.settings.channels)
        return [
            {
                "identity": ONE,
                "at": utc_naive(self._instant(each.at)),
                "received": utc_naive(self._instant(each.at)),
                "purpose": each.purpose,
                "channel": each.channel,
                "granted": each.granted,
            }
            for each in answers
        ]

    def _typed(self, values: Mapping[str, Scalar], kinds: Mapping[str, FieldType]) -> Row:
        return {name: self._value(value, self._known("field", name, kinds)) for name, value in values.items()}

    def _value(self, value: Scalar, kind: FieldType) -> object:
        """Return a value as history keeps it."""
        if value is None:
            return None
        if kind == "any":
            return json.dumps(value, ensure_ascii=False)
        try:
            return _read(value, kind, self._workspace)
        except (ValueError, OverflowError) as error:
            raise self._fault(f"{value!r} is no {kind}.") from error

    def _instant(self, text: str) -> datetime:
        try:
            return parse_instant(text, self._workspace.zone)
        except (ValueError, OverflowError) as error:
            raise self._fault(
                f"{text!r} is no instant.", hint="Write one such as 2026-05-04T10:00."
            ) from error

    def _date(self, text: str) -> date:
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise self._fault(f"{text!r} is no date.", hint="Write one such as 2026-05-04.") from error

    def _known(self, kind: str, name: str, known: Mapping[str, T]) -> T:
        self._all_known(kind, [name], known)
        return known[name]

    def _all_known(self, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
        valid = tuple(known)
        for name in names:
            if name not in valid:
                raise self._fault(f"There is no {kind} {name!r}.", valid=nearest(name, valid))

    def _fault(self, message: str, *, valid: tuple[str, ...] = (), hint: str = "") -> DataError:
        place = Place(file=self._file)
        return DataError.of("E512", f"{self._case.title}: {message}", place=place, valid=valid, hint=hint)


def _head(number: int, at: datetime) -> Row:
    return {"identity": ONE, "event_id": f"00000000-0000-0000-0000-{number:012d}", "at": at, "received": at}


def _read(value: str | float | bool, kind: FieldType, workspace: Workspace) -> object:
    """Read a value as its field's type.

    Raises:
        ValueError, OverflowError: if it is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "money" if is_number:
            return round(float(value) * minor_per_major(workspace.currency))
        case "number" if is_number:
            return float(value)
        case "integer" if is_number and value == int(value):
            return int(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "date":
            return date.fromisoformat(str(value))
        case "timestamp":
            return utc_naive(parse_instant(str(value), workspace.zone))
        case "text" if not isinstance(value, bool):
            return str(value)
    raise ValueError(f"{value!r} is no {kind}")
