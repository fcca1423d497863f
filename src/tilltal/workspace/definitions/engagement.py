"""`policies/engagement.yaml`: conditions for groups and issues of actions, and what a request may tell."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.actions import Condition
from tilltal.workspace.definitions.base import Definition

ContextType = Literal["text", "integer", "number", "boolean", "date", "timestamp"]


class Tiers(Definition, frozen=True, kw_only=True):
    """Conditions that many actions share, in the three tiers of an action's own."""

    eligibility: Annotated[tuple[Condition, ...], Meta(description="May we? All must be true.")] = ()
    applicability: Annotated[tuple[Condition, ...], Meta(description="Is it relevant now?")] = ()
    suitability: Annotated[tuple[Condition, ...], Meta(description="Is it in the customer's interest?")] = ()


class EngagementPolicy(Definition, frozen=True, kw_only=True):
    """`policies/engagement.yaml`. Within a tier `all` is asked first, then issue, group and action."""

    context: Annotated[
        dict[str, ContextType],
        Meta(description="Fields of a request that conditions may name as `context.<field>`; else NULL."),
    ] = {}
    all_: Annotated[Tiers, Meta(description="Conditions of every action.")] = Tiers()
    issues: dict[str, Tiers] = {}
    groups: dict[str, Tiers] = {}
