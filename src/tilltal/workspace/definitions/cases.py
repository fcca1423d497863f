"""`cases/*.yaml`: what definitions are expected to do, tested by `tilltal test`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, Names

Scalar = str | int | float | bool | None


class CaseEvent(Definition, frozen=True, kw_only=True):
    """One event; money in major units, times ISO 8601 (local where without offset)."""

    type: str
    at: str
    fields: dict[str, Scalar] = {}


class CaseHolding(Definition, frozen=True, kw_only=True):
    """One product held."""

    product: str
    opened: str
    closed: str | None = None


class CaseConsent(Definition, frozen=True, kw_only=True):
    """One answer to a purpose in a channel; `*` is every channel."""

    purpose: str
    channel: str = "*"
    granted: bool
    at: str


class CaseCustomer(Definition, frozen=True, kw_only=True):
    """Everything known of the customer."""

    records: Annotated[dict[str, dict[str, Scalar]], Meta(description="Source → field → value.")] = {}
    events: tuple[CaseEvent, ...] = ()
    holdings: tuple[CaseHolding, ...] = ()
    consents: tuple[CaseConsent, ...] = ()
    scores: Annotated[dict[str, float], Meta(description="Model → probability, as if it had said so.")] = {}


class Expected(Definition, frozen=True, kw_only=True):
    """What must come out; what is not stated is not looked at."""

    profile: Annotated[dict[str, Scalar], Meta(description="Name of the profile → value.")] = {}
    audiences: Annotated[Names | None, Meta(description="Exactly these.")] = None
    within: Annotated[Names, Meta(description="At least these audiences.")] = ()
    stage: str | None = None
    decision: Annotated[str | None, Meta(description="The next best action; `none` for silence.")] = None
    actions: Annotated[Names | None, Meta(description="All shown actions in order.")] = None
    reasons: Annotated[dict[str, str], Meta(description="Action → why it is not shown.")] = {}


class Case(Definition, frozen=True, kw_only=True):
    """One customer at one instant."""

    title: str
    as_of: str
    customer: CaseCustomer = CaseCustomer()
    context: dict[str, str | int | float | bool] = {}
    expect: Expected


class CaseFile(Definition, frozen=True, kw_only=True):
    """A file of cases."""

    cases: tuple[Case, ...]
