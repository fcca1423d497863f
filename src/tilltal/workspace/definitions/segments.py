"""`lifecycle.yaml`, `value.yaml`, `personas.yaml`, `audiences/<name>.yaml`: segments that live."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, Names, Rule
from tilltal.workspace.definitions.profile import Measure


class Moments(Definition, frozen=True, kw_only=True):
    """Where dates of the relation come from: exactly one of the keys.

    `events`: each such event. `first_event`: a customer's first event of these types, and the first after a
    closing. `holding`: the first product held (of these, or `any`), or, for closing, the last one given up.
    `silence`: no event of these types for so many days (the first silent day + days).
    """

    events: Names = ()
    first_event: Names = ()
    holding: Names = ()
    silence: Names = ()
    days: Annotated[int, Meta(ge=1, description="For `silence`.")] = 365
    where: Rule | None = None


class Engagement(Definition, frozen=True, kw_only=True):
    """Readings of engagement: an event's field, or a measure over each finished calendar period.

    A measured reading is dated on the first day after its period and covers `over` periods.
    """

    from_: Names
    measure: Measure | None = None
    of: str | None = None
    where: Rule | None = None
    every: Literal["week", "month", "quarter"] = "month"
    over: Annotated[int, Meta(ge=1)] = 3


class StageNames(Definition, frozen=True, kw_only=True):
    """What the workspace calls the stages."""

    new: str = "New"
    loyal: str = "Loyal"
    retain: str = "Retain"
    regain: str = "Regain"
    comeback: str = "New comeback"


class Lifecycle(Definition, frozen=True, kw_only=True):
    """The lifecycle (CLC); semantics in docs/explanation/lifecycle.md."""

    new_days: Annotated[int, Meta(ge=1)] = 90
    trend_days: Annotated[int, Meta(ge=1)] = 90
    tolerance: Annotated[float, Meta(ge=0, lt=1, description="A fall up to this share counts as kept.")] = 0.0
    opened: Moments
    closed: Moments | None = None
    notice: Moments | None = None
    notice_withdrawn: Moments | None = None
    engagement: Engagement | None = None
    names: StageNames = StageNames()


class Cuts(Definition, frozen=True, kw_only=True):
    """Borders between classes, as values or quantiles; a value at a border belongs to the class above."""

    values: tuple[float, ...] = ()
    quantiles: tuple[Annotated[float, Meta(gt=0, lt=1)], ...] = ()


class Axis(Definition, frozen=True, kw_only=True):
    """One axis of the grid: a value per customer and its classes from low to high."""

    value: Rule
    cuts: Cuts
    classes: Names


class Cell(Definition, frozen=True, kw_only=True):
    """A named cell of the grid."""

    income: str
    affinity: str
    name: str


class Value(Definition, frozen=True, kw_only=True):
    """The customer value segment (CVS): income × affinity. No affinity, no cell; no income counts as 0."""

    income: Axis
    affinity: Axis
    cells: tuple[Cell, ...]


class PersonaFeature(Definition, frozen=True, kw_only=True):
    """A number describing a customer; `missing` stands in where it is NULL (else the average)."""

    value: Rule
    missing: float | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0
    log: Annotated[bool, Meta(description="Use log(1 + x), for amounts and counts.")] = False


class Personas(Definition, frozen=True, kw_only=True):
    """Personas: centroids over five feature families; learned (`clusters`) or given (`centroids`)."""

    characteristics: dict[str, PersonaFeature] = {}
    attitudes: dict[str, PersonaFeature] = {}
    banking: dict[str, PersonaFeature] = {}
    financial: dict[str, PersonaFeature] = {}
    digital: dict[str, PersonaFeature] = {}
    clusters: Annotated[int, Meta(ge=2, le=64)] | None = None
    seed: int = 1
    centroids: Annotated[
        dict[str, dict[str, float]], Meta(description="Name → feature → value, in the features' own units.")
    ] = {}
    names: Annotated[
        Names, Meta(description="Names of learned personas, in order of size; else described.")
    ] = ()
    hysteresis: Annotated[
        float, Meta(ge=0, lt=1, description="Another centroid must be nearer by this share to take over.")
    ] = 0.1
    population: Annotated[Rule | None, Meta(description="Who has a persona; everybody if absent.")] = None


class Lookalike(Definition, frozen=True, kw_only=True):
    """Customers who resemble an audience's members without being in it."""

    of: str
    features: Annotated[Names, Meta(description="Names or patterns such as `card_*`.")] = ()
    similarity: Annotated[float, Meta(ge=0, le=1, description="At least so similar, 0 to 1.")] | None = None
    size: Annotated[int, Meta(ge=1, description="Or the so many most similar.")] | None = None


class Audience(Definition, frozen=True, kw_only=True):
    """A live set of customers: a condition, or a lookalike of another audience."""

    condition: Rule | None = None
    lookalike: Lookalike | None = None
    description: str = ""


class MicroSegments(Definition, frozen=True, kw_only=True):
    """`micro_segments.yaml`: how the crossing of segments is described."""

    dimensions: Names = ("lifecycle.stage", "value.segment", "persona.name", "leading_product")
    minimum_size: Annotated[int, Meta(ge=1)] = 50
    describe: Annotated[Names, Meta(description="Traits and attributes to describe by; patterns.")] = ()
    products: Annotated[
        Names, Meta(description="Order of products for the leading product; else by rarity.")
    ] = ()
