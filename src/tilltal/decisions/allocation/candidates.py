"""From decided candidates to a problem: an option per action and channel, worth arbitration's priority."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.allocation.problem import Bools, Floats, Households, Ints, Minimum, Problem, Resource
from tilltal.decisions.batch import BatchDecision
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.allocation import Allocation, Use
from tilltal.workspace.definitions.contact import PARTS

Values = npt.NDArray[np.float32]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer may get: an action by a channel; the numbers are places in the plan."""

    action: str
    channel: str
    number: int
    place: int


def options_of(plan: DecisionPlan) -> tuple[Option, ...]:
    """Return every action with each of its channels, in order of action, then of the channel's preference."""
    return tuple(
        Option(action=action.name, channel=channel.name, number=number, place=place)
        for number, action in enumerate(plan.actions)
        for place, channel in enumerate(action.channels)
    )


def ranking_all(plan: DecisionPlan) -> DecisionPlan:
    """Return the plan that ranks every candidate of a customer, not the best few."""
    everything = msgspec.structs.replace(
        plan.arbitration, slots=max(len(plan.actions), 1), max_per_group=None, max_per_issue=None
    )
    return msgspec.structs.replace(plan, arbitration=everything)


def values_of(options: tuple[Option, ...], decision: BatchDecision) -> Values:
    """Return what each option is worth to each customer (m, n); NaN where it is no candidate.

    The value is the priority; a customer's channel for an action is the first that the contact policy allows.
    """
    customers = len(decision.actions)
    shape = [max((key[axis] for key in _keys(options)), default=-1) + 1 for axis in (0, 1)]
    place = np.full(shape, -1)
    for index, key in enumerate(_keys(options)):
        place[key] = index
    values = np.full((len(options), customers), np.nan, dtype=np.float32)
    who, slot = np.nonzero((decision.actions >= 0) & (decision.channels >= 0))
    if len(who):
        column = place[decision.actions[who, slot], decision.channels[who, slot]]
        values[column, who] = decision.priority[who, slot]
    return values


def problem_of(
    plan: DecisionPlan, options: tuple[Option, ...], values: Values, limits: Allocation, homes: Ints | None
) -> Problem:
    """Return the problem that a workspace states.

    Args:
        plan: its actions.
        options: of `options_of`.
        values: (m, n) of `values_of`, customers in order of their ids.
        limits: `policies/allocation.yaml`.
        homes: (n,) household of each customer, negative for none; None if households do not count.
    """
    definitions = {action.name: action.definition for action in plan.actions}
    named = np.array([option.action for option in options], dtype=object)
    return Problem(
        options=tuple(f"{option.action} by {option.channel}" for option in options),
        values=values.T,
        resources=tuple(
            Resource(
                name=name, limit=resource.limit, use=_use(resource.uses or (Use(),), options, definitions)
            )
            for name, resource in sorted(limits.resources.items())
        ),
        minimums=tuple(
            Minimum(name=action, at_least=count, options=np.asarray(named == action, dtype=bool))
            for action, count in sorted(limits.minimums.items())
        ),
        households=(
            Households(ids=homes, limit=limits.households.limit)
            if limits.households and homes is not None
            else None
        ),
        mandatory=_flags(plan.actions, options),
    )


def _keys(options: tuple[Option, ...]) -> list[tuple[int, int]]:
    return [(option.number, option.place) for option in options]


def _flags(actions: tuple[ActionPlan, ...], options: tuple[Option, ...]) -> Bools:
    return np.array([actions[option.number].definition.mandatory for option in options], dtype=bool)


def _use(uses: tuple[Use, ...], options: tuple[Option, ...], definitions: Mapping[str, Action]) -> Floats:
    """Return what each option takes (m,): what the first use says that fits it, or nothing."""
    taken = [
        next((use.amount for use in uses if _fits(use, option, definitions[option.action])), 0.0)
        for option in options
    ]
    return np.array(taken, dtype=np.float64)


def _fits(use: Use, option: Option, action: Action) -> bool:
    has = {
        "action": option.action,
        "group": action.group,
        "issue": action.issue,
        "channel": option.channel,
        "purpose": action.purpose,
    }
    allowed = {part: use.applies_to.allowed(part) for part in PARTS}
    return all(names is None or has[part] in names for part, names in allowed.items())
