"""`policies/*.yaml`: arbitration, consent, data use; and `kpis.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names, Spoken


class ActionScope(Definition, frozen=True, kw_only=True):
    """Narrows a rule to actions; what is not stated matches everything."""

    action: str | None = None
    group: str | None = None
    issue: str | None = None


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


class Nothing(Definition, frozen=True, kw_only=True):
    """Saying nothing is an action too: what would be worth less is not said, unless it is mandatory."""

    below: Annotated[float, Meta(description="The priority of saying nothing.")]


class Influencer(Definition, frozen=True, kw_only=True):
    """Per cent added to L for each past outcome of the same action, group or issue, fading with its age."""

    on: Annotated[
        str,
        Meta(
            description="`contact`, a kind of response, or a kind that `outcomes` of policies/contact.yaml "
            "gives an event type."
        ),
    ]
    scope: Annotated[
        Literal["action", "group", "issue"],
        Meta(description="What the outcome's contact shares with the actions it is about."),
    ] = "action"
    weight: Annotated[float, Meta(description="Per cent right after the outcome; negative lowers.")]
    half_life: Annotated[
        DurationText,
        Meta(description="After so long half of the weight is left; after ten times as long, nothing."),
    ]
    applies_to: Annotated[ActionScope, Meta(description="The actions whose L changes.")] = ActionScope()


class Exploration(Definition, frozen=True, kw_only=True):
    """How actions that are little known get their chance."""

    method: Annotated[
        Literal["none", "thompson"],
        Meta(
            description="`thompson`: P of an adaptive propensity is drawn from what is known of it, anew in "
            "each decision."
        ),
    ] = "none"
    opening: Annotated[
        bool,
        Meta(
            description="New adaptive actions begin with 2 % of customers and reach all of them with 200 "
            "positive answers."
        ),
    ] = False


class Arbitration(Definition, frozen=True, kw_only=True):
    """`policies/arbitration.yaml`: how candidates are ranked."""

    mode: Literal["pcvl", "nbo"] = "pcvl"
    slots: Annotated[int, Meta(ge=1)] = 1
    defaults: Defaults = Defaults()
    factors: Factors = Factors()
    offer_only_positive: bool = False
    nothing: Annotated[Nothing | None, Meta(description="When saying nothing is better.")] = None
    max_per_group: Annotated[int, Meta(ge=1)] | None = None
    max_per_issue: Annotated[int, Meta(ge=1)] | None = None
    context_rules: tuple[ContextRule, ...] = ()
    levers: Levers = Levers()
    influencers: tuple[Influencer, ...] = ()
    costs: Annotated[
        dict[str, Annotated[float, Meta(ge=0, le=1e12)]],
        Meta(
            description="Channel → what a contact costs, in major currency units: taken off P × C × V × L, "
            "whatever the answer. Without V a priority is no money, and costs do not count."
        ),
    ] = {}
    exploration: Exploration = Exploration()
    channels: Annotated[
        Literal["first", "best"],
        Meta(
            description="By which allowed channel an action is said: the first in order of preference, or "
            "the one whose learned probability is highest."
        ),
    ] = "first"


Basis = Literal["required", "unless_refused", "not_required"]


class Purpose(Definition, frozen=True, kw_only=True):
    """A purpose of processing. `required`: no answer means no; `unless_refused`: only a refusal does."""

    consent: Basis = "required"
    channels: Annotated[
        dict[str, Basis], Meta(description="Channel → what it needs instead, where it differs.")
    ] = {}
    description: str = ""
    words: Spoken = {}

    def basis(self, channel: str) -> Basis:
        """Return what a contact by a channel needs."""
        return self.channels.get(channel, self.consent)


class Consent(Definition, frozen=True, kw_only=True):
    """`policies/consent.yaml`: the purposes, and where the law asks for more or less than they say."""

    purposes: dict[str, Purpose]
    jurisdiction: Annotated[
        str | None, Meta(description="Text of the profile that says whose law holds for a customer.")
    ] = None
    jurisdictions: Annotated[
        dict[str, dict[str, Purpose]],
        Meta(
            description="Value of `jurisdiction` → purpose → what it needs there. Anywhere else a consent is "
            "required, unless the purpose never needs one."
        ),
    ] = {}


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
