"""`actions/<name>/action.yaml` and its treatments `<channel>.<language>.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Language, Names, Rule


class Condition(Definition, frozen=True, kw_only=True):
    """A named condition; its name is the reason shown when it fails."""

    name: str
    when: Rule
    description: str = ""
    words: Annotated[
        dict[Language, str],
        Meta(description="What it asks for, as a customer would understand it, by language."),
    ] = {}


Method = Literal["naive_bayes", "bayesian_logistic"]


class Challenger(Definition, frozen=True, kw_only=True):
    """Another method that learns from the same responses, and takes over once it is surely better."""

    method: Method
    most_share: Annotated[
        float, Meta(ge=0, le=0.5, description="The largest share of decisions it may serve before it wins.")
    ] = 0.2


class Adaptive(Definition, frozen=True, kw_only=True):
    """A propensity that learns from every response, per channel of the action."""

    method: Annotated[Method, Meta(description="How it learns.")] = "naive_bayes"
    challenger: Annotated[Challenger | None, Meta(description="What might learn better; none if absent.")] = (
        None
    )
    base_rate: Annotated[float, Meta(gt=0, lt=1, description="The share of yes to begin with.")]
    evidence: Annotated[
        float, Meta(gt=0, description="The base rate weighs as much as so many answered impressions.")
    ] = 100
    features: Annotated[Names, Meta(description="Profile names that a yes may depend on.")] = ()
    wait: Annotated[
        DurationText, Meta(description="An impression without an answer is a no by then at the latest.")
    ] = "7 days"
    half_life: Annotated[
        DurationText | None, Meta(description="Answers of that age weigh half; never less if absent.")
    ] = None


class Learned(Definition, frozen=True, kw_only=True):
    """A propensity that is learned while it is used."""

    adaptive: Adaptive


class Capacity(Definition, frozen=True, kw_only=True):
    """At most `limit` of an action are handed out in a period, to all customers together."""

    limit: Annotated[int, Meta(ge=0)]
    per: Annotated[
        Literal["day", "week", "month"],
        Meta(description="Of the calendar in the workspace's time zone; weeks begin on Monday."),
    ] = "day"


class Action(Definition, frozen=True, kw_only=True):
    """What we might do for a customer."""

    title: str
    titles: Annotated[
        dict[Language, str],
        Meta(description="The title by language, for explanations; `title` where one is missing."),
    ] = {}
    description: str = ""
    group: str
    issue: str = "sales"
    purpose: Annotated[str, Meta(description="Consent purpose, declared in policies/consent.yaml.")] = (
        "marketing"
    )
    eligibility: Annotated[tuple[Condition, ...], Meta(description="May we? All must be true.")] = ()
    applicability: Annotated[tuple[Condition, ...], Meta(description="Is it relevant now?")] = ()
    suitability: Annotated[tuple[Condition, ...], Meta(description="Is it in the customer's interest?")] = ()
    propensity: Annotated[
        str | float | Learned | None,
        Meta(description="A model's name, a fixed probability, or `adaptive`; the default if absent."),
    ] = None
    uplift: Annotated[
        str | None,
        Meta(
            description="An uplift model: what it says that a contact adds takes the place of `propensity`, "
            "where it says anything."
        ),
    ] = None
    value: Annotated[
        Rule | float | int, Meta(description="What a yes is worth to the bank, in major currency units.")
    ] = 0
    cost: Annotated[
        Annotated[float, Meta(ge=0, le=1e12)] | None,
        Meta(description="What a contact costs, in place of its channel's `costs`; major currency units."),
    ] = None
    mandatory: bool = False
    capacity: Annotated[
        Capacity | None, Meta(description="How many there are for everybody: gifts, calls; no end if absent.")
    ] = None
    starts: Annotated[str | None, Meta(description="First instant; ISO 8601.")] = None
    ends: Annotated[str | None, Meta(description="First instant after it; ISO 8601.")] = None


class Treatment(Definition, frozen=True, kw_only=True):
    """The wording of an action in one channel and language; the body is a Liquid template."""

    title: str = ""
    body: str
    link: str = ""
