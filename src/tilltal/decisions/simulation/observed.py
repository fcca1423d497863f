"""What one scenario gives every customer, in arrays: made in pieces, joined, then summed up by `mix`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import BatchDecision, matrix, rank
from tilltal.decisions.batch_ranking import Bools, Floats, Ints
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.simulation.sensitivity import FACTORS, Factor, changed_winners

_NOBODY = -1


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions for n customers over m actions and k channels.

    `first` and `channel` are places of each customer's first action and its channel, -1 for none; `contacts`
    counts all shown actions, `expected` sums their P × V less what they cost, `most` is the highest
    propensity among the actions that were left after the funnel (NaN: none was). `shown`, `worth` (m,) and
    `by_channel` (k,) sum over customers. `beaten` (m, m) counts customers whose first action is the row's
    while the column's lost.
    `remaining` holds propensities of what was left, or every so-many-th of them. `changed` is of
    `sensitivity`; None where it was not asked for.
    """

    actions: tuple[str, ...]
    channels: tuple[str, ...]
    first: Ints
    channel: Ints
    contacts: Ints
    expected: Floats
    most: Floats
    shown: Ints
    worth: Floats
    by_channel: Ints
    beaten: Ints
    remaining: Floats
    changed: Mapping[Factor, int] | None = None

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return len(self.first)

    @property
    def reached(self) -> Bools:
        """(n,) who has an action."""
        return np.asarray(self.first >= 0)


def observe(
    plan: DecisionPlan,
    table: pa.Table,
    context: Context,
    *,
    ranked: pa.Table | None = None,
    is_sensitivity_asked: bool = False,
    thinning: int = 1,
) -> Observed:
    """Decide for the customers of a table and note what comes of it.

    Args:
        plan: the plan that made the table.
        table: n rows of `batch.input_sql`; what is expected is counted with its propensities and values.
        context: what is known of the moment, the same for all.
        ranked: the table to decide by, if that is another: an experiment's.
        is_sensitivity_asked: also count the winners that change without each factor.
        thinning: keep every so-many-th propensity of what remained.
    """
    decided = table if ranked is None else ranked
    decision = rank(plan, decided, context)
    channels = channels_of(plan)
    first = decision.actions[:, 0]
    if not plan.actions:
        return _silent(plan, len(first), is_sensitivity_asked=is_sensitivity_asked)
    propensity, value = _given(plan, table)
    took_part = decision.reasons == 0
    customer, slot = np.nonzero(decision.actions >= 0)
    action = decision.actions[customer, slot]
    places = _channel_places(plan, channels)[action, decision.channels[customer, slot]]
    place = decision.channels[customer, slot]
    worth = propensity[customer, action] * value[customer, action] - _costs(plan)[action, place]
    left = propensity[took_part]
    return Observed(
        actions=tuple(each.name for each in plan.actions),
        channels=channels,
        first=first,
        channel=_firsts(len(first), customer, slot, places),
        contacts=np.bincount(customer, minlength=len(first)),
        expected=_summed(customer, worth, len(first)),
        most=_most(propensity, took_part),
        shown=np.bincount(action, minlength=len(plan.actions)),
        worth=_summed(action, worth, len(plan.actions)),
        by_channel=np.bincount(places, minlength=len(channels)),
        beaten=_beaten(decision, took_part),
        remaining=left[::thinning].copy(),
        changed=changed_winners(plan, decided, context, first) if is_sensitivity_asked else None,
    )


def join(pieces: Sequence[Observed]) -> Observed:
    """Return what was observed of all customers, in the order of the pieces; at least one.

    Raises:
        ValueError: if the pieces are of different plans.
    """
    one = pieces[0]
    if any((each.actions, each.channels) != (one.actions, one.channels) for each in pieces):
        raise ValueError("pieces of different plans")
    counted = [each.changed for each in pieces if each.changed is not None]
    return Observed(
        actions=one.actions,
        channels=one.channels,
        first=np.concatenate([each.first for each in pieces]),
        channel=np.concatenate([each.channel for each in pieces]),
        contacts=np.concatenate([each.contacts for each in pieces]),
        expected=np.concatenate([each.expected for each in pieces]),
        most=np.concatenate([each.most for each in pieces]),
        shown=np.sum([each.shown for each in pieces], axis=0),
        worth=np.sum([each.worth for each in pieces], axis=0),
        by_channel=np.sum([each.by_channel for each in pieces], axis=0),
        beaten=np.sum([each.beaten for each in pieces], axis=0),
        remaining=np.concatenate([each.remaining for each in pieces]),
        changed={factor: sum(each[factor] for each in counted) for factor in FACTORS} if counted else None,
    )


def recorded(table: pa.Table, profiles: Ints) -> Observed:
    """Return decisions made before as if they were observed now.

    Args:
        table: `profile`, `rank`, `action`, `channel`, `P`, `V`, `cost` of every shown action.
        profiles: (n,) all customers in order; decisions for others are left out.

    What was left behind the shown actions is not recorded: nobody is beaten, nothing remains.
    """
    ids = np.asarray(table.column("profile").to_numpy(), dtype=np.int64)
    customer = np.searchsorted(profiles, ids)
    is_there = customer < len(profiles)
    is_there[is_there] = profiles[customer[is_there]] == ids[is_there]
    kept = table.filter(pa.array(is_there))
    customer = customer[is_there]
    actions, action = _coded(kept.column("action"))
    channels, channel = _coded(kept.column("channel"))
    slot = np.asarray(kept.column("rank").to_numpy(), dtype=np.int64) - 1
    share, value, cost = (np.asarray(kept.column(name).to_numpy()) for name in ("P", "V", "cost"))
    worth = share * value - cost
    return Observed(
        actions=actions,
        channels=channels,
        first=_firsts(len(profiles), customer, slot, action),
        channel=_firsts(len(profiles), customer, slot, channel),
        contacts=np.bincount(customer, minlength=len(profiles)),
        expected=_summed(customer, worth, len(profiles)),
        most=np.full(len(profiles), np.nan),
        shown=np.bincount(action, minlength=len(actions)),
        worth=_summed(action, worth, len(actions)),
        by_channel=np.bincount(channel, minlength=len(channels)),
        beaten=np.zeros((len(actions), len(actions)), dtype=np.int64),
        remaining=np.zeros(0),
    )


def channels_of(plan: DecisionPlan) -> tuple[str, ...]:
    """Return every channel that an action of the plan may use, by name."""
    return tuple(sorted({channel.name for action in plan.actions for channel in action.channels}))


def _silent(plan: DecisionPlan, customers: int, *, is_sensitivity_asked: bool) -> Observed:
    """Return what a plan without actions gives: nothing."""
    nothing, nobody = np.zeros(0, dtype=np.int64), np.full(customers, _NOBODY, dtype=np.int64)
    return Observed(
        actions=(),
        channels=channels_of(plan),
        first=nobody,
        channel=nobody,
        contacts=np.zeros(customers, dtype=np.int64),
        expected=np.zeros(customers),
        most=np.full(customers, np.nan),
        shown=nothing,
        worth=np.zeros(0),
        by_channel=nothing,
        beaten=np.zeros((0, 0), dtype=np.int64),
        remaining=np.zeros(0),
        changed=dict.fromkeys(FACTORS, 0) if is_sensitivity_asked else None,
    )


def _given(plan: DecisionPlan, table: pa.Table) -> tuple[Floats, Floats]:
    """Return (n, m) propensities and values, those unknown as the policy's defaults."""
    defaults = plan.arbitration.defaults
    propensity, value = matrix(table, "p", plan, np.nan), matrix(table, "v", plan, np.nan)
    np.copyto(propensity, defaults.propensity, where=np.isnan(propensity))
    np.copyto(value, defaults.value, where=np.isnan(value))
    return propensity, value


def _channel_places(plan: DecisionPlan, channels: Sequence[str]) -> Ints:
    """Return the place among all channels of each action's channel by its own place."""
    width = max((len(action.channels) for action in plan.actions), default=0)
    places = np.full((len(plan.actions), max(width, 1)), _NOBODY, dtype=np.int64)
    for number, action in enumerate(plan.actions):
        for place, channel in enumerate(action.channels):
            places[number, place] = channels.index(channel.name)
    return places


def _costs(plan: DecisionPlan) -> Floats:
    """Return what a contact costs, by action and the place of its channel; money, whatever is ranked by."""
    width = max((len(action.channels) for action in plan.actions), default=0)
    costs = np.zeros((len(plan.actions), max(width, 1)))
    for number, action in enumerate(plan.actions):
        costs[number, : len(action.channels)] = [channel.cost for channel in action.channels]
    return costs


def _coded(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Ints]:
    """Return the distinct texts in order, and each row's place among them."""
    texts = np.array(column.fill_null("").to_pylist(), dtype=object).astype(str)
    names, places = np.unique(texts, return_inverse=True)
    return tuple(names.tolist()), places.astype(np.int64)


def _summed(places: Ints, weights: Floats, size: int) -> Floats:
    return np.bincount(places, weights=weights, minlength=size).astype(np.float64)


def _firsts(customers: int, customer: Ints, slot: Ints, places: Ints) -> Ints:
    first = np.full(customers, _NOBODY, dtype=np.int64)
    is_first = slot == 0
    first[customer[is_first]] = places[is_first]
    return first


def _most(propensity: Floats, took_part: Bools) -> Floats:
    """Return the highest propensity of what was left; NaN where nothing was."""
    most = np.where(took_part, propensity, -1.0).max(axis=1)
    return np.asarray(np.where(most < 0, np.nan, most))


def _beaten(decision: BatchDecision, took_part: Bools) -> Ints:
    first, width = decision.actions[:, 0], took_part.shape[1]
    beaten = np.zeros((width, width), dtype=np.int64)
    for winner in np.unique(first[first >= 0]):
        beaten[winner] = np.count_nonzero(took_part[first == winner], axis=0)
    np.fill_diagonal(beaten, 0)
    return beaten
