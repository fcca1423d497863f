"""With what probability a logged decision showed what it showed, and what other definitions would have shown.

Nothing of it is computed while the server decides: it follows from the row.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from tilltal.decisions.context import context_values
from tilltal.decisions.live.exploring import Explored, Selection, selections
from tilltal.decisions.live.reasons import narrowed
from tilltal.runtime.live.answers.deciding import Logged
from tilltal.runtime.live.answers.replaying import Then

NOTHING = "(nothing)"
"""Saying nothing, as an action: no action has such a name."""

Pair = tuple[str, str]  # action, channel


def selection_of(then: Then, logged: Logged, decision: bytes, at: int) -> dict[str, Selection]:
    """Return the probability with which each action that competed was selected, from the decision's row.

    What gave way to contacts shown before it competed all the same: with other draws it might have been
    first. That each contact counts for the next one of the same decision is not simulated, so of what is
    shown after the first it says what would be shown if there were room.

    Args:
        then: the definitions that decided.
        logged: the row.
        decision: its id, the seed of the simulation.
        at: the instant of the decision, in microseconds.
    """
    again = then.decide(msgspec.structs.replace(logged, crowds=()), at)
    decider = then.decider(logged)
    pairs = {pair: number for number, pair in enumerate(decider.adaptive)}
    plan = narrowed(decider.plan, again.moment.count, logged.channel)
    return selections(plan, again.explain(), pairs, logged.explored, decision)


def firsts(found: Mapping[str, Selection]) -> dict[str, float]:
    """Return the probability of each action to be the first, NOTHING among them; together 1."""
    chances = {name: one.first for name, one in found.items() if one.first > 0}
    nothing = 1 - sum(chances.values())
    if nothing > 1e-9:
        chances[NOTHING] = nothing
    whole = sum(chances.values())
    return {name: chance / whole for name, chance in chances.items()}


def lacking(new: Then, then: Then, logged: Logged) -> frozenset[str]:
    """Return the names that definitions read and a row cannot have: those of then did not read them.

    A name that is read and not in the row is NULL; one that was not read may have been anything. The context
    is kept whole.
    """
    told = context_values(new.workspace.engagement, logged.context)
    return frozenset(new.decider(logged).slots.keys() - then.decider(logged).slots.keys() - told.keys())


def by_others(new: Then, then: Then, logged: Logged) -> Logged:
    """Return the row as other definitions would have found it: what was learned, by their own pairs.

    What was known before drawing stands in for draws; of pairs that did not learn then, the base rate does.
    All names that are read must be there (`lacking`).
    """
    old, decider = then.decider(logged), new.decider(logged)
    told = context_values(new.workspace.engagement, logged.context)
    known = {name: value for name, value in told.items() if value is not None}
    logged = msgspec.structs.replace(logged, values={**logged.values, **known})
    if not logged.rates:
        return msgspec.structs.replace(logged, explored=None)
    rates = dict(zip(old.adaptive, np.frombuffer(logged.rates).tolist(), strict=True))
    before = {} if logged.explored is None else logged.explored.known()
    drawn = {old.adaptive[place]: known for place, known in before.items()}
    base = {action.name: action.propensity or 0.0 for action in decider.plan.actions}
    means = [drawn[pair][0] if pair in drawn else rates.get(pair, base[pair[0]]) for pair in decider.adaptive]
    is_drawn = decider.plan.arbitration.exploration.method == "thompson"
    return msgspec.structs.replace(
        logged,
        rates=np.array(means, dtype=np.float64).tobytes(),
        explored=_explored(decider.adaptive, drawn) if is_drawn else None,
    )


def _explored(pairs: tuple[Pair, ...], drawn: Mapping[Pair, tuple[float, float]]) -> Explored:
    places = [place for place, pair in enumerate(pairs) if pair in drawn]
    told = np.array([drawn[pairs[place]] for place in places], dtype=np.float64).reshape(-1, 2)
    return Explored(
        np.array(places, dtype=np.uint32).tobytes(),
        np.ascontiguousarray(told[:, 0]).tobytes(),
        np.ascontiguousarray(told[:, 1]).tobytes(),
    )
