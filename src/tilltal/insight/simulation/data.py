"""What the page, the terminal and the files show of a simulation."""

from __future__ import annotations

import msgspec

from tilltal.decisions.simulation.fairness import Lean, RateRatio
from tilltal.decisions.simulation.mix import (
    ActionShare,
    Beat,
    ChannelShare,
    Move,
    Segment,
    SegmentChange,
    Totals,
)
from tilltal.decisions.simulation.sensitivity import Sensitivity


class Niche(msgspec.Struct, frozen=True, kw_only=True):
    """Customers told apart by a condition, which can become an audience as it stands."""

    condition: str
    customers: int
    under_served: int

    @property
    def share(self) -> float:
        """Share of these customers who are under-served."""
        return self.under_served / self.customers if self.customers else 0.0


class ValueFinder(msgspec.Struct, frozen=True, kw_only=True):
    """Who has nothing relevant: `without` any action left, or with `improbable` ones only."""

    threshold: float
    customers: int
    without: int
    improbable: int
    niches: tuple[Niche, ...] = ()

    @property
    def share(self) -> float:
        """Share of all customers who are under-served."""
        return (self.without + self.improbable) / self.customers if self.customers else 0.0


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario. `changes` and `moves` are beside the first scenario, which has none of its own."""

    name: str
    words: str
    definitions: str
    is_experiment: bool
    totals: Totals
    actions: tuple[ActionShare, ...]
    channels: tuple[ChannelShare, ...]
    segments: tuple[Segment, ...]
    changes: tuple[SegmentChange, ...] = ()
    moves: tuple[Move, ...] = ()
    beats: tuple[Beat, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    value_finder: ValueFinder
    ratios: tuple[RateRatio, ...] = ()
    leans: tuple[Lean, ...] = ()

    @property
    def overall(self) -> SegmentChange | None:
        """What it changes for everybody; None for the first scenario."""
        return self.changes[0] if self.changes else None

    @property
    def flagged(self) -> tuple[RateRatio | Lean, ...]:
        """What is beyond the margin of fairness."""
        everything: tuple[RateRatio | Lean, ...] = (*self.ratios, *self.leans)
        return tuple(each for each in everything if each.is_flagged)


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """Scenarios side by side on the same customers; the first is what the others are compared with.

    `customers` of `known` were looked at. `money` is the currency, or `points` where priorities are no money.
    `margin` is that of fairness. `files` are those written.
    """

    bank: str
    as_of: str
    money: str
    known: int
    customers: int
    seed: int
    margin: float
    titles: dict[str, str]
    scenarios: tuple[Findings, ...]
    seconds: float
    files: tuple[str, ...] = ()
