"""When the decisions of a refresh are sent, and the population's rhythm in a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.core.instants import micros
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.core.time import known_zone
from tilltal.customers.rhythms.rhythm import FLAT, HOURS, Rhythm, population_of
from tilltal.decisions.contacting.parts import contact_of
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.sending.batch import TABLE, choose_all, histogram_sql, hours_sql, living_of
from tilltal.decisions.sending.choosing import Planned, Sender, habit_of
from tilltal.decisions.single import Row
from tilltal.rules.clock import Clock
from tilltal.workspace.workspace import Workspace

FILE = "rhythm.json"


class Pace(msgspec.Struct, frozen=True):
    """What tells when decisions are sent: the rules, the population's rhythm, and whose column has zones."""

    sender: Sender
    rhythm: Rhythm
    zones: str | None

    def moments(
        self,
        engine: BatchEngine,
        plan: DecisionPlan,
        shown: pa.Table,
        relation: str,
        chosen: str,
        clock: Clock,
    ) -> tuple[pa.Array, pa.Array]:
        """Return when each shown action is sent, and whose rhythm says so; NULL where it is not chosen.

        Args:
            engine: has `relation`, and the hours of `open_pace`.
            plan: the actions.
            shown: the rows, in order of profiles.
            relation: the profiles.
            chosen: the condition of those that may be among the rows.
            clock: the instant.
        """
        zone = "NULL" if self.zones is None else quote(self.zones)
        people = engine.arrow(
            f"SELECT profile, {zone} AS zone FROM {relation} WHERE {chosen} ORDER BY profile"
        )
        profiles = np.asarray(people.column("profile").to_numpy(), dtype=np.int64)
        hours = engine.arrow(
            f"SELECT profile, hour, n FROM {TABLE} WHERE {chosen} "
            f"AND profile IN (SELECT profile FROM {relation})"
        )
        texts = people.column("zone").to_pylist()
        living = living_of(profiles, texts, hours, self.rhythm, clock)
        return choose_all(self.sender, plan, shown, living, self.rhythm, clock)

    def of_one(
        self, engine: BatchEngine, plan: DecisionPlan, shown: Mapping[str, str | None], row: Row, clock: Clock
    ) -> dict[str, Planned]:
        """Return when what one customer is shown is sent, by action, where that is chosen.

        Args:
            engine: has the hours of `open_pace`.
            plan: the actions.
            shown: action → channel.
            row: the customer.
            clock: the instant.
        """
        counts = [0] * HOURS
        for hour, n in engine.rows(f"SELECT hour, n FROM {TABLE} WHERE profile = {row['profile']}"):
            counts[int(hour)] = int(n)
        habit, text = habit_of(counts, self.rhythm), row.get(self.zones or "")
        zone = (known_zone(text) if isinstance(text, str) else None) or clock.zone
        actions, now, found = {one.name: one for one in plan.actions}, micros(clock.now), {}
        for name, channel in shown.items():
            if channel is not None and self.sender.plans(channel):
                contact = contact_of(name, actions[name].definition, channel)
                planned = self.sender.choose(contact, actions[name].ends, now, zone, habit)
                if planned is not None:
                    found[name] = planned
        return found


def open_pace(
    engine: BatchEngine, workspace: Workspace, clock: Clock, relation: str, rhythm: Rhythm | None = None
) -> Pace | None:
    """Count the hours of all customers; None where no moment is chosen.

    Args:
        engine: has the events and `relation`.
        workspace: the definitions.
        clock: the instant.
        relation: the profiles.
        rhythm: the population's; learned from these profiles if None.
    """
    sending = workspace.sending
    if not sending.channels:
        return None
    engine.run(f"CREATE OR REPLACE TABLE {TABLE} AS {hours_sql(sending, workspace.contact, clock, relation)}")
    if rhythm is None:
        rows = engine.rows(histogram_sql())
        rhythm = population_of((int(hour), int(n), int(customers)) for hour, n, customers in rows)
    return Pace(Sender(sending, workspace.contact), rhythm, workspace.contact.time_zone)


def write_rhythm(pace: Pace | None, folder: Path) -> None:
    """Put the population's rhythm into a snapshot's folder."""
    if pace is not None:
        (folder / FILE).write_bytes(msgspec.json.encode(pace.rhythm))


def read_rhythm(folder: Path) -> Rhythm:
    """Return the population's rhythm of a snapshot; a flat one where it has none.

    Raises:
        DataError: E513 if it is damaged.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Rhythm)
    except FileNotFoundError:
        return FLAT
    except msgspec.DecodeError as error:
        raise DataError.of(
            "E513",
            f"The snapshot {folder.name} is damaged: {FILE} cannot be read.",
            hint="Run `tilltal refresh`.",
        ) from error
