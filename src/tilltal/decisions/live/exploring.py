"""Exploration within a decision: what is drawn, and with what probability each action would be shown.

Only what competes is drawn for. The draws take the place of the learned probabilities, so that the same
decision with these draws for its rates is the same without exploring: that is how it is replayed. What was
known before drawing is kept beside them, for the probabilities of selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.arbitration import Factored
from tilltal.decisions.batch_ranking import fill, is_worthless, order
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import Decision
from tilltal.models.adaptive.exploration import Keys, thompson

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Pair = tuple[str, str]  # action, channel

_DRAWS = 4096
_LEAST_SHARE, _LEAST_EVIDENCE = 1e-6, 0.1  # as `models.adaptive.exploration` takes them


class Chance(msgspec.Struct, frozen=True):
    """What a decision explores with: the answers behind the rate of each adaptive pair, and the seed."""

    evidence: Floats
    seed: bytes


class Explored(msgspec.Struct, frozen=True):
    """What was known of the pairs that competed, before drawing.

    `pairs` are places among the adaptive pairs, as uint32; `rates` and `evidence` are float64.
    """

    pairs: bytes
    rates: bytes
    evidence: bytes

    def known(self) -> dict[int, tuple[float, float]]:
        """Return place of a pair → its rate and the answers behind it."""
        pairs = np.frombuffer(self.pairs, dtype=np.uint32).tolist()
        told = zip(np.frombuffer(self.rates).tolist(), np.frombuffer(self.evidence).tolist(), strict=True)
        return dict(zip(pairs, told, strict=True))


class Selection(msgspec.Struct, frozen=True):
    """The probability that an action is shown at all, and that it is the first."""

    shown: float
    first: float


def explore(rates: Floats, chance: Chance, pairs: Places, keys: Keys) -> tuple[Floats, Explored]:
    """Return rates with draws for some pairs, and what was known of these."""
    known, evidence = rates[pairs], chance.evidence[pairs]
    drawn = rates.copy()
    drawn[pairs] = thompson(known, evidence, chance.seed, keys[pairs])
    return drawn, Explored(pairs.astype(np.uint32).tobytes(), known.tobytes(), evidence.tobytes())


def selections(
    plan: DecisionPlan,
    decision: Decision,
    adaptive: Mapping[Pair, int],
    explored: Explored | None,
    seed: bytes,
    draws: int = _DRAWS,
) -> dict[str, Selection]:
    """Return the probability of selection of each action that competed, by simulating the draws.

    The whole ranking is simulated: mandatory actions, limits of groups and issues, saying nothing. Standard
    errors are √(p(1 − p) / draws), at most 0.8 percentage points with 4096 draws. An action that no draw
    showed has the probability ½ / draws if it was drawn for, so that nothing that can happen has none.
    Without exploration all are 0 or 1. The same seed gives the same numbers.

    Args:
        plan: the plan, with as many slots as were asked for.
        decision: the whole decision, with the rates it was made with.
        adaptive: the place of each adaptive pair.
        explored: what was known before drawing; None if nothing was drawn.
        seed: the decision's, such as its id.
        draws: how often to draw.
    """
    factors = _competing(decision)
    actions = tuple(action for action in plan.actions if action.name in factors)
    if not actions:
        return {}
    known = {} if explored is None or not plan.arbitration.factors.P else explored.known()
    drawn = [_drawn_for(plan, action, decision, adaptive, known) for action in actions]
    times = draws if any(drawn) else 1
    rng = np.random.Generator(
        np.random.Philox(key=int.from_bytes(blake2b(seed, digest_size=8).digest(), "big"))
    )
    priorities = np.tile([float(factors[each.name].priority) for each in actions], (times, 1))
    for place, action in enumerate(actions):
        if drawn[place]:
            priorities[:, place] = _draw(rng, drawn[place], factors[action.name], times)
    shown = _shown(msgspec.structs.replace(plan, actions=actions), priorities)
    return {
        each.name: _selection(shown, place, is_drawn=bool(drawn[place])) for place, each in enumerate(actions)
    }


class _Drawn(msgspec.Struct, frozen=True):
    """A pair that is drawn for: rate, answers behind it, and what a contact costs."""

    rate: float
    evidence: float
    cost: float


def _competing(decision: Decision) -> dict[str, Factored]:
    lost = {one.action: one.factors for one in decision.ranking.lost if one.factors is not None}
    return {one.action: one.factors for one in decision.ranking.ranked} | lost


def _drawn_for(
    plan: DecisionPlan,
    action: ActionPlan,
    decision: Decision,
    adaptive: Mapping[Pair, int],
    known: Mapping[int, tuple[float, float]],
) -> list[_Drawn]:
    """Return the pairs of an action that were drawn for and might be its channel, in order of preference."""
    chosen = decision.proposals[action.name].channel
    counts = plan.arbitration.factors.V
    costs = {channel.name: channel.cost if counts else 0.0 for channel in action.channels}
    channels = costs if plan.arbitration.channels == "best" else (chosen or "",)
    found = ((channel, known.get(adaptive.get((action.name, channel), -1))) for channel in channels)
    return [_Drawn(*told, costs[channel]) for channel, told in found if told is not None]


def _draw(rng: np.random.Generator, pairs: Sequence[_Drawn], factors: Factored, times: int) -> Floats:
    """Return the priorities that draws give an action, by the channel whose draw is highest."""
    draws, worth = np.empty((times, len(pairs))), float(factors.C) * float(factors.L) * float(factors.V)
    for place, pair in enumerate(pairs):
        rate, evidence = (
            min(max(pair.rate, _LEAST_SHARE), 1 - _LEAST_SHARE),
            max(pair.evidence, _LEAST_EVIDENCE),
        )
        draws[:, place] = rng.beta(rate * evidence, (1 - rate) * evidence, size=times)
    best = draws.argmax(axis=1)
    found: Floats = draws[np.arange(times), best] * worth - np.array([pair.cost for pair in pairs])[best]
    return found


def _shown(plan: DecisionPlan, priorities: Floats) -> npt.NDArray[np.int64]:
    """Rank each row of priorities and fill the slots."""
    mandatory = np.array([action.definition.mandatory for action in plan.actions], dtype=bool)
    rounded = np.round(priorities, 9)
    not_positive, below = is_worthless(rounded, plan.arbitration)
    reasons = ((not_positive | below) & ~mandatory).astype(np.int64)
    return fill(plan, order(rounded, reasons, mandatory), reasons)


def _selection(shown: npt.NDArray[np.int64], place: int, *, is_drawn: bool) -> Selection:
    rows = len(shown)
    least = 0.5 / rows if is_drawn else 0.0
    at_all = float(np.count_nonzero((shown == place).any(axis=1))) / rows
    first = float(np.count_nonzero(shown[:, 0] == place)) / rows
    return Selection(max(at_all, least), max(first, least))
