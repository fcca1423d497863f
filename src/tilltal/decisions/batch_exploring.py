"""Exploration for many customers at once: who a new action is open to, and what is drawn for whom.

The same functions as in the moment (`models.adaptive.exploration`) of a seed and a customer, so a server that
were given the same seed and knew the same of a pair would draw the same bits. What is known of a pair is what
all answers to it say together; a server tells customers apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.decisions.arbitration import Context
from tilltal.decisions.plan import NOT_OPEN, ActionPlan, DecisionPlan, opening_name
from tilltal.decisions.single import Decision, Row, decide
from tilltal.models.adaptive.exploration import (
    draws_at,
    keys_of,
    mixed_with,
    open_places,
    reach,
    seed_number,
    thompson,
)
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Learned

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Pair = tuple[str, str]  # action, channel


class Belief(msgspec.Struct, frozen=True):
    """What is known of a pair: the share of yes, the answers behind it, and how many of them are yes.

    The prior's answers are among `evidence`, not among `positives` and `negatives`.
    """

    rate: float
    evidence: float
    positives: float = 0.0
    negatives: float = 0.0


class Exploration(msgspec.Struct, frozen=True):
    """What a batch explores with: a seed, and what is known of each pair that learns."""

    seed: str
    beliefs: Mapping[Pair, Belief]

    def belief(self, pair: Pair, learned: Learned) -> Belief:
        """Return what is known of a pair; what its definition states where that is all."""
        return self.beliefs.get(pair) or belief_of(learned)

    def of_customer(self, profile: int) -> bytes:
        """Return the seed of one customer's draws."""
        return f"{self.seed}/".encode() + profile.to_bytes(8, "big")

    def positives(self, action: str) -> float:
        """Return how many yes are known of an action, by all channels."""
        return sum(belief.positives for (name, _), belief in self.beliefs.items() if name == action)


def learning(plan: DecisionPlan) -> dict[Pair, Learned]:
    """Return the definition of each pair that learns."""
    return {
        (action.name, channel.name): action.definition.propensity
        for action in plan.actions
        if isinstance(action.definition.propensity, Learned)
        for channel in action.channels
    }


def belief_of(learned: Learned, yes: float = 0.0, no: float = 0.0) -> Belief:
    """Return what is known after so many answers; before any the definition's base rate and its evidence."""
    prior = learned.adaptive
    evidence = prior.evidence + yes + no
    return Belief((prior.base_rate * prior.evidence + yes) / evidence, evidence, yes, no)


def is_drawn(plan: DecisionPlan) -> bool:
    """True if probabilities of some actions are drawn."""
    return plan.arbitration.exploration.method == "thompson" and bool(learning(plan))


def openings(plan: DecisionPlan, exploration: Exploration, profiles: Ints) -> dict[str, Bools]:
    """Return by its reading's name for whom each new action is not open yet.

    Args:
        plan: the plan.
        exploration: knows how much is known of the actions.
        profiles: (n,) the customers.
    """
    found = {}
    for action in plan.actions:
        if any(check.reason == NOT_OPEN for channel in action.channels for check in channel.checks):
            share = reach(exploration.positives(action.name))
            found[opening_name(action.name)] = open_places(profiles, action.name) >= share
    return found


def explored(plan: DecisionPlan, table: pa.Table, exploration: Exploration) -> pa.Table:
    """Return the result of `batch.input_sql` with draws for probabilities of what came through the funnel.

    An action by the channel that the funnel chose, which is the first allowed one.
    """
    if not is_drawn(plan) or not table.num_rows:
        return table
    profiles = table.column("profile").to_pylist()
    seeds = np.array([seed_number(exploration.of_customer(each)) for each in profiles], dtype=np.uint64)
    for index, action in enumerate(plan.actions):
        if isinstance(action.definition.propensity, Learned) and action.channels:
            drawn = _drawn(action, table, index, exploration, seeds)
            name = f"p{index}"
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(drawn))
    return table


def decide_exploring(
    plan: DecisionPlan, row: Row, clock: Clock, context: Context, exploration: Exploration, profile: int
) -> Decision:
    """Decide for one customer as the batch does, draws included."""
    first = decide(plan, row, clock, context)
    if not is_drawn(plan):
        return first
    seed = exploration.of_customer(profile)
    actions = tuple(
        _rated(action, first.proposals[action.name].channel, exploration, seed) for action in plan.actions
    )
    return decide(msgspec.structs.replace(plan, actions=actions), row, clock, context)


def _rated(action: ActionPlan, channel: str | None, exploration: Exploration, seed: bytes) -> ActionPlan:
    learned = action.definition.propensity
    if not isinstance(learned, Learned) or channel is None:
        return action
    belief = exploration.belief((action.name, channel), learned)
    rates, evidence = np.array([belief.rate]), np.array([belief.evidence])
    drawn = thompson(rates, evidence, seed, keys_of([(action.name, channel)]))
    return msgspec.structs.replace(action, propensity=float(drawn[0]))


def _drawn(
    action: ActionPlan, table: pa.Table, index: int, exploration: Exploration, seeds: npt.NDArray[np.uint64]
) -> Floats:
    """Return the action's probabilities (n,): draws for whom it came through the funnel."""
    pairs = [(action.name, channel.name) for channel in action.channels]
    learned = action.definition.propensity
    assert isinstance(learned, Learned), "only of what learns is drawn"
    beliefs = [exploration.belief(pair, learned) for pair in pairs]
    channel = table.column(f"h{index}").to_numpy().astype(np.intp)
    given: Floats = table.column(f"p{index}").fill_null(np.nan).to_numpy().copy()
    who = np.flatnonzero((table.column(f"f{index}").to_numpy() == 0) & (channel >= 0))
    place = channel[who]
    rates = np.array([belief.rate for belief in beliefs])[place]
    evidence = np.array([belief.evidence for belief in beliefs])[place]
    given[who] = draws_at(rates, evidence, mixed_with(seeds[who], keys_of(pairs)[place]))
    return given
