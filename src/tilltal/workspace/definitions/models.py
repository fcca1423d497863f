"""`models/<name>.yaml`: what to predict, for whom, from what."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, Names, Rule, WindowText


class Outcome(Definition, frozen=True, kw_only=True):
    """What counts as a yes within the horizon. Exactly one of `events`, `holding`, `closes`."""

    events: Names = ()
    where: Rule | None = None
    holding: Annotated[str | None, Meta(description="A product opened.")] = None
    closes: Annotated[bool, Meta(description="The relation ends (notice or closing): churn.")] = False


class Snapshots(Definition, frozen=True, kw_only=True):
    """The instants at which training rows are taken, counted back from the latest possible one."""

    every: WindowText = "1 month"
    count: Annotated[int, Meta(ge=2)] = 9
    sample: Annotated[int, Meta(ge=100, description="At most so many rows per snapshot.")] = 50_000


class Acceptance(Definition, frozen=True, kw_only=True):
    """What a model must reach on the latest snapshots (time-ordered) to replace the base rate."""

    auc: Annotated[float, Meta(ge=0.5, lt=1)] = 0.55
    positives: Annotated[int, Meta(ge=1, description="Fewest positives in training.")] = 100
    leak_auc: Annotated[
        float, Meta(gt=0.5, le=1, description="A single feature above this knows the future.")
    ] = 0.98


class Group(Definition, frozen=True, kw_only=True):
    """Events that put a customer into a group of an experiment."""

    events: Names
    where: Rule | None = None


class Uplift(Definition, frozen=True, kw_only=True):
    """The experiment that shows what an action changes."""

    treated: Annotated[Group, Meta(description="Who was treated.")]
    control: Annotated[Group, Meta(description="Who could have been, and was kept out.")]
    learner: Annotated[Literal["t", "x", "dr"], Meta(description="T-, X- or DR-learner.")] = "x"
    randomised: Annotated[
        bool,
        Meta(description="Chance alone decided; tested. If false, rows are weighted by what features show."),
    ] = True
    holdout: Annotated[
        float, Meta(ge=0.2, le=0.8, description="Share of the experiment kept to test what was learned.")
    ] = 0.5
    otherwise: Annotated[
        Literal["average", "none"],
        Meta(
            description="The score of everybody where no effect was found: the average effect, or none; then "
            "the `propensity` of an action with this model as its `uplift` stays."
        ),
    ] = "average"


class Model(Definition, frozen=True, kw_only=True):
    """A propensity, churn or uplift model."""

    outcome: Outcome
    uplift: Annotated[
        Uplift | None, Meta(description="If given, the score is what treatment adds to the probability.")
    ] = None
    horizon: WindowText
    eligible: Annotated[Rule | None, Meta(description="Who can have the outcome; everybody if absent.")] = (
        None
    )
    features: Annotated[Names, Meta(description="Names or patterns over the profile, such as `card_*`.")]
    exclude: Names = ()
    snapshots: Snapshots = Snapshots()
    calibration: Literal["isotonic", "platt", "none"] = "isotonic"
    acceptance: Acceptance = Acceptance()
    seed: int = 1
    purpose: Annotated[str | None, Meta(description="For data-use policies.")] = None
    description: str = ""
