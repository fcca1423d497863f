"""How a trait reads a field of one event type in SQL."""

from __future__ import annotations

from tilltal.core.names import quote
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.schema import EventType, Schemas, field_type
from tilltal.rules.clock import Clock
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type

_SQL_TYPES = {
    Type.TEXT: "VARCHAR",
    Type.ANY: "VARCHAR",
    Type.INTEGER: "BIGINT",
    Type.NUMBER: "DOUBLE",
    Type.BOOLEAN: "BOOLEAN",
    Type.DATE: "DATE",
    Type.TIMESTAMP: "TIMESTAMP",
}


class FieldReader:
    """Reads the fields of one event type as a trait over several types sees them."""

    def __init__(self, trait: CompiledTrait, event_type: str, schemas: Schemas) -> None:
        self._trait = trait
        self._own = schemas[event_type]
        self._all = [schemas[name] for name in trait.types]

    def condition(self, clock: Clock) -> str | None:
        """Return the trait's condition, or None where every event matches."""
        if self._trait.where is None:
            return None
        return to_sql(self._trait.where, self._seen, clock=clock)

    def value(self) -> str:
        """Return the measured field: whole minor units where the trait divides last."""
        assert self._trait.of is not None, "a measure without a field reads none"
        if self._trait.divisor is not None:
            return quote(self._trait.of) if self._trait.of in self._own.fields else "CAST(NULL AS BIGINT)"
        return self._seen(self._trait.of)

    def number(self) -> str:
        """Return the measured field as a number, NULL where it is none."""
        return json_number(self.value()) if self._trait.of_type is Type.ANY else self.value()

    def key(self) -> str:
        """Return the measured field so that equal values are equal texts or numbers: 1 and 1.0 are one."""
        value = self.value()
        if self._trait.of_type is not Type.ANY:
            return value
        return f"COALESCE(CAST({json_number(value)} AS VARCHAR), {value})"

    def _seen(self, name: str) -> str:
        """Return a field as expressions see it: money in major units, integers as numbers where types mix."""
        common = field_type(name, self._all)
        assert common is not None, "compiled expressions use common fields only"
        if name not in self._own.fields:
            return f"CAST(NULL AS {_SQL_TYPES[common]})"
        return _as_seen(self._own, name, common)


def _as_seen(kind: EventType, name: str, common: Type) -> str:
    column = quote(name)
    if name in kind.money:
        return f"(CAST({column} AS DOUBLE) / {float(kind.money[name])!r})"
    return f"CAST({column} AS DOUBLE)" if kind.fields[name] is not common else column


def json_number(value: str) -> str:
    """Return a JSON text as a number; texts (they are quoted), booleans and null give NULL."""
    return f"TRY_CAST({value} AS DOUBLE)"
