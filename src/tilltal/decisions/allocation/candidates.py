"""From candidates to a problem: an option per action and allowed channel, worth arbitration's priority."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.allocation.problem import Bools, Floats, Households, Ints, Minimum, Problem, Resource
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


def problem_of(
    plan: DecisionPlan, options: tuple[Option, ...], values: Values, limits: Allocation, homes: Ints | None
) -> Problem:
    """Return the problem that a workspace states.

    Args:
        plan: its actions.
        options: of `options_of`.
        values: (m, n) priorities by option, NaN where it is none; customers in order of their ids.
        limits: `policies/allocation.yaml`.
        homes: (n,) household of each customer, negative for none; None if households do not count.
    """
    named = np.array([option.action for option in options], dtype=object)
    return Problem(
        options=tuple(f"{option.action} by {option.channel}" for option in options),
        values=values.T,
        resources=tuple(
            Resource(
                name=name, limit=resource.limit, use=_use(resource.uses or (Use(),), options, plan.actions)
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


def _flags(actions: tuple[ActionPlan, ...], options: tuple[Option, ...]) -> Bools:
    return np.array([actions[option.number].definition.mandatory for option in options], dtype=bool)


def _use(uses: tuple[Use, ...], options: tuple[Option, ...], actions: tuple[ActionPlan, ...]) -> Floats:
    """Return what each option takes (m,): what the first use says that fits it, or nothing."""
    return np.array([_taken(uses, option, actions[option.number]) for option in options], dtype=np.float64)


def _taken(uses: tuple[Use, ...], option: Option, action: ActionPlan) -> float:
    use = next((use for use in uses if _fits(use, option, action.definition)), None)
    if use is None:
        return 0.0
    return action.channels[option.place].cost if use.amount == "cost" else use.amount


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
