"""What the page shows, as values: a struct per section. A section whose data is absent is None or empty.

Money is in major units, shares lie within 0 and 1, and tables are tuples in the order they are shown in.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec

from tilltal.customers.micro_segments import MicroSegment
from tilltal.insight.report.worth import StudyView
from tilltal.models.quality.evaluation import Evaluation

Unit = Literal["count", "share", "money", "periods"]
Loss = Literal["eligibility", "applicability", "suitability", "contact_policy", "worth", "lost", "won"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Whose page this is, and as of when. `definitions` is the content hash of the workspace's files."""

    bank: str
    description: str
    currency: str
    as_of: date
    created: datetime
    definitions: str


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The figures at the top. Of `known` customers, `with_action` have a next best action.

    `customers` have a relation today, None where the workspace has no lifecycle. `expected` is the sum of
    P × V less costs over everybody's first action, None where the ranking does not use both.
    """

    known: int
    customers: int | None
    with_action: int
    actions: int
    most_common: str
    most_common_share: float
    expected: float | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the funnel: who is still in it."""

    name: str
    meaning: str
    customers: int


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """The funnel; `aside` have a next best action without having passed all steps before it."""

    steps: tuple[Step, ...]
    aside: int


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A lifecycle stage, its size today and at the end of each month shown."""

    name: str
    customers: int
    share: float
    history: tuple[int, ...]


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How many were in one stage on the day before the period and in another at its end.

    `before` is empty for those who were no customers yet.
    """

    before: str
    after: str
    customers: int


class LifecycleView(msgspec.Struct, frozen=True, kw_only=True):
    """Stages with their history, and the flows between them from `start` to `end`, both included."""

    stages: tuple[Stage, ...]
    months: tuple[date, ...]
    start: date
    end: date
    flows: tuple[Flow, ...]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the value grid. `persona` is its most common one; averages are absent where nobody is."""

    name: str
    income: str
    affinity: str
    customers: int
    share: float
    average_income: float | None
    persona: str
    persona_share: float


class ValueView(msgspec.Struct, frozen=True, kw_only=True):
    """The value grid; classes run from low to high. `without` have no cell: no affinity is known."""

    incomes: tuple[str, ...]
    affinities: tuple[str, ...]
    cells: tuple[Cell, ...]
    without: int


class Particular(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that makes a persona: its centroid against the average customer, in the feature's own unit.

    `deviations` is how far the centroid lies from the average, in standard deviations.
    """

    feature: str
    here: float
    everywhere: float
    deviations: float


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """A persona: its size, its place on the map, what is particular, and where a sample of it lies."""

    name: str
    customers: int
    share: float
    x: float
    y: float
    particulars: tuple[Particular, ...]
    sample: tuple[tuple[float, float], ...]


class PersonaView(msgspec.Struct, frozen=True, kw_only=True):
    """The personas, largest first. `stability` is None where marketers gave the centroids."""

    personas: tuple[Persona, ...]
    stability: float | None


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """A model and what its test showed; `test` is absent where there was too little data for one.

    `features` are the strongest, with their share of the model's gain.
    """

    name: str
    predicts: str
    horizon: str
    is_accepted: bool
    verdict: str
    base_rate: float
    base_low: float
    base_high: float
    test: Evaluation | None
    features: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]


class ActionUse(msgspec.Struct, frozen=True, kw_only=True):
    """An action as somebody's first: for how many, and its average probability and value there."""

    name: str
    title: str
    group: str
    customers: int
    share: float
    propensity: float
    value: float
    expected: float


class ChannelUse(msgspec.Struct, frozen=True, kw_only=True):
    """A channel and for how many the first action goes through it."""

    name: str
    customers: int
    share: float


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """A table of shares: `rows` by `columns`, with the customers behind each row."""

    dimension: str
    rows: tuple[str, ...]
    customers: tuple[int, ...]
    columns: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]


class ActionView(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets which action first. `knows_worth` is False where the ranking leaves out P or V."""

    known: int
    actions: tuple[ActionUse, ...]
    unused: tuple[str, ...]
    channels: tuple[ChannelUse, ...]
    by_stage: Crossing | None
    knows_worth: bool


class LossReason(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that took an action away from customers."""

    step: Loss
    words: str
    customers: int


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one action for all known customers: how many ended at each step, and the top rules."""

    title: str
    ends: tuple[tuple[Loss, int], ...]
    reasons: tuple[LossReason, ...]


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every action, and the rules that took most away over all actions."""

    known: int
    actions: tuple[Losses, ...]
    reasons: tuple[LossReason, ...]


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """A key figure over the periods; None where it is undefined."""

    name: str
    title: str
    meaning: str
    unit: Unit
    values: tuple[float | None, ...]


class SegmentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The key figures of one segment in the last complete period, in the order of `KpiView.compared`."""

    name: str
    values: tuple[float | None, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The segments of one dimension beside each other."""

    dimension: str
    segments: tuple[SegmentFigures, ...]


class KpiView(msgspec.Struct, frozen=True, kw_only=True):
    """Key figures per period; the last period `is_open` where as-of lies before its end.

    `complete` is the place of the last complete period, -1 if there is none. `compared` names the key
    figures of the comparisons, with their units.
    """

    period: str
    starts: tuple[date, ...]
    ends: tuple[date, ...]
    is_open: bool
    complete: int
    kpis: tuple[Kpi, ...]
    compared: tuple[tuple[str, Unit], ...]
    comparisons: tuple[Comparison, ...]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product, its holders today, and its penetration at the end of each period."""

    name: str
    holders: int
    share: float
    history: tuple[float | None, ...]


class PenetrationView(msgspec.Struct, frozen=True, kw_only=True):
    """Products, most held first, and their penetration by segment today."""

    ends: tuple[date, ...]
    customers: int
    products: tuple[Product, ...]
    crossings: tuple[Crossing, ...]


class MicroSegmentView(msgspec.Struct, frozen=True, kw_only=True):
    """The largest micro-segments with names; how many there are; how many customers are in none."""

    dimensions: tuple[str, ...]
    shown: tuple[MicroSegment, ...]
    count: int
    elsewhere: int


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page shows."""

    about: About
    headline: Headline
    funnel: Funnel
    lifecycle: LifecycleView | None = None
    value: ValueView | None = None
    personas: PersonaView | None = None
    models: tuple[ModelView, ...] = ()
    actions: ActionView | None = None
    why_not: WhyNot | None = None
    kpis: KpiView | None = None
    penetration: PenetrationView | None = None
    micro_segments: MicroSegmentView | None = None
    study: StudyView | None = None
