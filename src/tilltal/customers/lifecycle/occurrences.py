"""Events that matter to the lifecycle, as SELECT texts: who, when, and a number where one is asked for."""

from __future__ import annotations

import msgspec

from tilltal.core.names import quote
from tilltal.customers.lifecycle.days import day_number, local_day_sql, to_date
from tilltal.customers.traits.columns import FieldReader
from tilltal.customers.traits.compiled import CompiledTrait, compile_trait
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.profile import Measure, Trait


class Past(msgspec.Struct, frozen=True):
    """What the lifecycle looks back on: the event types there are, and the instant it is seen from."""

    schemas: Schemas
    clock: Clock

    @property
    def today(self) -> int:
        """The local day from which the lifecycle looks back."""
        return day_number(self.clock.today)

    @property
    def local_day(self) -> str:
        """SQL for the local day, in days since 1970-01-01, of the column `instant`."""
        return local_day_sql("instant", self.clock.zone, self.clock.now)

    @property
    def local_date(self) -> str:
        """SQL for the local DATE of the column `instant`."""
        return to_date(self.local_day)

    def events(self, types: tuple[str, ...], where: str | None) -> str:
        """Return a SELECT of `profile`, `instant` of the events of these types that fulfil a condition."""
        compiled = self._compiled("count", types, where, None)
        return "\nUNION ALL\n".join(self._of_type(compiled, name, "") for name in compiled.types)

    def numbers(self, types: tuple[str, ...], where: str | None, of: str) -> str:
        """Return the same with what orders events, and the field `of` as `value`: finite, in minor units."""
        compiled = self._compiled("avg", types, where, of)
        selects = [
            self._of_type(
                compiled,
                name,
                f", received, event_id, CAST({self._reader(compiled, name).number()} AS DOUBLE) AS value",
            )
            for name in compiled.types
        ]
        finite = "ABS(value) < CAST('inf' AS DOUBLE)"
        return f"SELECT * FROM ({' UNION ALL '.join(selects)}) AS numbers WHERE {finite}"

    def keys(self, types: tuple[str, ...], where: str | None, of: str) -> str:
        """Return the same with the field `of` as `value`, equal where the field is equal, never NULL."""
        compiled = self._compiled("distinct", types, where, of)
        selects = [
            self._of_type(compiled, name, f", {self._reader(compiled, name).key()} AS value")
            for name in compiled.types
        ]
        return f"SELECT * FROM ({' UNION ALL '.join(selects)}) AS keys WHERE value IS NOT NULL"

    def _compiled(
        self, measure: Measure, types: tuple[str, ...], where: str | None, of: str | None
    ) -> CompiledTrait:
        trait = Trait(measure=measure, from_=types, where=where, of=of)
        return compile_trait("lifecycle", trait, self.schemas)

    def _reader(self, compiled: CompiledTrait, name: str) -> FieldReader:
        return FieldReader(compiled, name, self.schemas)

    def _of_type(self, compiled: CompiledTrait, name: str, columns: str) -> str:
        condition = self._reader(compiled, name).condition(self.clock)
        where = f" WHERE {condition}" if condition else ""
        return f"SELECT profile, {quote('at')} AS instant{columns} FROM {quote(f'event.{name}')}{where}"
