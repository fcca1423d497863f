"""The lifecycle of all customers as a plan of steps over a refresh's views.

Run the steps in order, each into a table of its name; the last three are what a refresh keeps:
`transitions` (profile, date, from_stage, to_stage), `relations` (profile, opened, closed), and `lifecycle`
(profile and the names an expression may use).
"""

from __future__ import annotations

from datetime import date

from tilltal.customers.lifecycle import transitions
from tilltal.customers.lifecycle.engagement import engagement_steps
from tilltal.customers.lifecycle.moments import moment_steps
from tilltal.customers.lifecycle.occurrences import Past
from tilltal.customers.lifecycle.stage import Terms
from tilltal.customers.step import Step
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.segments import Lifecycle

KEPT = ("transitions", "relations", "lifecycle")


def lifecycle_steps(
    lifecycle: Lifecycle, schemas: Schemas, clock: Clock, *, since: date | None = None
) -> tuple[Step, ...]:
    """Return the steps that make the lifecycle as of the clock.

    Args:
        lifecycle: the definition.
        schemas: the event types.
        clock: the instant it is seen from, and the zone of its dates.
        since: a local day before which nothing happened, if known. The result is the same; a short history
            takes less time.

    Raises:
        WorkspaceError: if the definition does not fit the event types or itself.
    """
    past = Past(schemas, clock)
    return (
        *moment_steps(lifecycle, past),
        *relation_steps(past.today),
        *engagement_steps(lifecycle.engagement, Terms.of(lifecycle), past, since),
        *stage_steps(lifecycle, past.today),
    )


def relation_steps(today: int) -> tuple[Step, ...]:
    """Return the steps from `lifecycle_moments` to the relations they make, as of a day."""
    return (
        Step("lifecycle_marked", transitions.marked_sql(today)),
        Step("lifecycle_relations", transitions.relations_sql()),
    )


def stage_steps(lifecycle: Lifecycle, today: int) -> tuple[Step, ...]:
    """Return the steps from relations and `lifecycle_turns` to the tables that are kept, as of a day."""
    terms = Terms.of(lifecycle)
    return (
        Step("transitions", transitions.transitions_sql(terms, lifecycle.names, today)),
        Step("relations", transitions.relation_dates_sql()),
        Step("lifecycle", transitions.standing_sql(today)),
    )
