"""`policies/*.yaml`: arbitration, consent, contact policy, data use."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names


class ActionScope(Definition, frozen=True, kw_only=True):
    """Narrows a rule to actions; what is not stated matches everything."""

    action: str | None = None
    group: str | None = None
    issue: str | None = None


class AppliesTo(ActionScope, frozen=True, kw_only=True):
    """Narrows a rule to contacts; what is not stated matches everything."""

    channel: str | None = None
    purpose: str | None = None


class ContextRule(Definition, frozen=True, kw_only=True):
    """Adds `weight` per cent to C where the context holds `key` = `value` and the action fits."""

    key: str
    value: str | int | float | bool
    weight: float
    applies_to: ActionScope = ActionScope()


class Levers(Definition, frozen=True, kw_only=True):
    """Per cent added to L by action, group and issue; one sum."""

    action: dict[str, float] = {}
    group: dict[str, float] = {}
    issue: dict[str, float] = {}


class Factors(Definition, frozen=True, kw_only=True):
    """A factor that is off counts as 1."""

    P: bool = True
    C: bool = True
    V: bool = True
    L: bool = True


class Defaults(Definition, frozen=True, kw_only=True):
    """What a candidate without its own propensity or value gets."""

    propensity: Annotated[float, Meta(ge=0, le=1)] = 0.5
    value: float = 0


class Arbitration(Definition, frozen=True, kw_only=True):
    """`policies/arbitration.yaml`: how candidates are ranked."""

    mode: Literal["pcvl", "nbo"] = "pcvl"
    slots: Annotated[int, Meta(ge=1)] = 1
    defaults: Defaults = Defaults()
    factors: Factors = Factors()
    offer_only_positive: bool = False
    max_per_group: Annotated[int, Meta(ge=1)] | None = None
    context_rules: tuple[ContextRule, ...] = ()
    levers: Levers = Levers()


class Purpose(Definition, frozen=True, kw_only=True):
    """A purpose of processing; `required`: no record means no."""

    consent: Literal["required", "not_required"] = "required"
    description: str = ""


class Consent(Definition, frozen=True, kw_only=True):
    """`policies/consent.yaml`: the purposes."""

    purposes: dict[str, Purpose]


class Cap(Definition, frozen=True, kw_only=True):
    """At most `limit` contacts in a window. Exactly one of `rolling` and `calendar`."""

    name: str
    limit: Annotated[int, Meta(ge=0)]
    rolling: DurationText | None = None
    calendar: Literal["day", "week", "month"] | None = None
    applies_to: AppliesTo = AppliesTo()
    each: Annotated[Names, Meta(description="Count separately per channel, group or action.")] = ()


class Contact(Definition, frozen=True, kw_only=True):
    """`policies/contact.yaml`: how often a customer is contacted. Contacts are events of type `events`."""

    caps: tuple[Cap, ...] = ()
    events: Annotated[
        Names, Meta(description="Event types that are contacts; with the text fields `action` and `channel`.")
    ] = ()
    default_channel: str = "email"


class DataUse(Definition, frozen=True, kw_only=True):
    """`policies/data_use.yaml`: label → purposes it must never serve.

    Labels are those of sources, fields, attributes and traits, and `<party>_party` of sources. They hold
    through everything made from the data: traits, audiences, segments, models.
    """

    forbid: dict[str, Names] = {}


class Kpis(Definition, frozen=True, kw_only=True):
    """`kpis.yaml`: periods and what counts as active and as income."""

    period: Literal["month", "quarter", "year"] = "month"
    periods: Annotated[int, Meta(ge=1, description="At most so many periods back.")] = 120
    active: Annotated[Names, Meta(description="Event types that make a customer active in a period.")] = ()
    sales: Annotated[Names, Meta(description="Event types that are sales.")] = ()
    income: Annotated[tuple[str, str] | None, Meta(description="Event type and money field of income.")] = (
        None
    )
    by: Annotated[Names, Meta(description="Segments to report by.")] = (
        "lifecycle.stage",
        "value.segment",
        "persona.name",
    )
