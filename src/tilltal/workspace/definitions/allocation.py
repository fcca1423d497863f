"""`policies/allocation.yaml`: capacities, budgets, households and minimums of an outbound run."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.definitions.contact import AppliesTo


class Use(Definition, frozen=True, kw_only=True):
    """What one contact takes of a resource."""

    applies_to: AppliesTo = AppliesTo()
    amount: Annotated[
        Annotated[float, Meta(ge=0)] | Literal["cost"],
        Meta(
            description="In the resource's unit; `cost`: what the contact costs, by the action's `cost` or "
            "the channel's in policies/arbitration.yaml, in major currency units."
        ),
    ] = 1


class Resource(Definition, frozen=True, kw_only=True):
    """Something that contacts use up: hours, messages, money."""

    limit: Annotated[float, Meta(ge=0, description="How much there is for one run.")]
    unit: Annotated[
        str | None,
        Meta(
            description="What it is counted in, one of it: `hour`, `message`, `SEK`; if absent `contact`, or "
            "the currency where costs count."
        ),
    ] = None
    uses: Annotated[
        tuple[Use, ...],
        Meta(
            description="The first that fits a contact says what it takes; where none does, nothing. "
            "If absent, every contact takes 1."
        ),
    ] = ()

    @property
    def is_money(self) -> bool:
        """True if contacts take what they cost of it."""
        return any(use.amount == "cost" for use in self.uses)

    def counted_in(self, currency: str) -> str:
        """Return one of what it is counted in."""
        return self.unit or (currency if self.is_money else "contact")


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
