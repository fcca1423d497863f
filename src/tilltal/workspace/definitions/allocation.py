"""`policies/allocation.yaml`: capacities, budgets, households and minimums of an outbound run."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.definitions.contact import AppliesTo


class Use(Definition, frozen=True, kw_only=True):
    """What one contact takes of a resource."""

    applies_to: AppliesTo = AppliesTo()
    amount: Annotated[float, Meta(ge=0, description="In the resource's unit.")] = 1


class Resource(Definition, frozen=True, kw_only=True):
    """Something that contacts use up: hours, messages, money."""

    limit: Annotated[float, Meta(ge=0, description="How much there is for one run.")]
    unit: Annotated[str, Meta(description="What it is counted in, one of it: `hour`, `message`, `SEK`.")] = (
        "contact"
    )
    uses: Annotated[
        tuple[Use, ...],
        Meta(
            description="The first that fits a contact says what it takes; where none does, nothing. "
            "If absent, every contact takes 1."
        ),
    ] = ()


class HouseholdLimit(Definition, frozen=True, kw_only=True):
    """At most `limit` contacts for customers who share a value of the profile."""

    by: Annotated[str, Meta(description="Name of the profile, such as `household_id`; without it: alone.")]
    limit: Annotated[int, Meta(ge=1)] = 1


class Allocation(Definition, frozen=True, kw_only=True):
    """`policies/allocation.yaml`: one best action per customer, under limits that hold for all together."""

    resources: dict[str, Resource] = {}
    households: HouseholdLimit | None = None
    minimums: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(description="Action → how many customers it must reach, as far as there are enough."),
    ] = {}
