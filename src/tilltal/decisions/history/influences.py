"""Influencers: after an outcome an action's L is raised or lowered, and the effect fades.

The weight right after the outcome halves with every half-life, in steps of a 24th of it, so that the sum over
outcomes is one of whole numbers: the same in SQL and in Python, whatever the order. After ten half-lives,
when a thousandth of the weight is left, the outcome is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from tilltal.decisions.contacting.checks import READINGS, caseless
from tilltal.decisions.contacting.windows import duration_micros
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import ActionScope, Influencer

STEPS = 24
"""Steps of a half-life."""
HALF_LIVES = 10
"""How many of them an outcome is remembered."""
UNIT = 1_000_000
"""Readings count millionths of a per cent."""


def influences_of(name: str, action: Action, influencers: Sequence[Influencer]) -> tuple[str, ...]:
    """Return the readings whose sum is added to an action's L."""
    return tuple(
        influence_name(number, _part(name, action, one.scope))
        for number, one in enumerate(influencers)
        if _fits(one.applies_to, name, action)
    )


def influence_name(number: int, value: str) -> str:
    """Name the reading of the influencer of that number for one action, group or issue."""
    return f"{READINGS}influence.{number}.{caseless(value)}"


@lru_cache(maxsize=256)
def fading(weight: float) -> tuple[int, ...]:
    """Return what is left of a weight after so many steps, in millionths of a per cent."""
    exact = Fraction(repr(float(weight))) * UNIT
    left = (0.5 ** (step / STEPS) for step in range(STEPS * HALF_LIVES))
    return tuple(round(exact * Fraction(share)) for share in left)


def step_of(one: Influencer) -> int:
    """Return how long a step is, in microseconds; at least one."""
    return max(duration_micros(one.half_life) // STEPS, 1)


def remembered(one: Influencer) -> int:
    """Return how long an outcome is remembered, in microseconds."""
    return step_of(one) * STEPS * HALF_LIVES


def left_of(one: Influencer, age: int) -> int:
    """Return what is left of the weight at an age of the outcome (microseconds, not negative)."""
    step = age // step_of(one)
    table = fading(one.weight)
    return table[step] if step < len(table) else 0


def _part(name: str, action: Action, scope: str) -> str:
    return {"action": name, "group": action.group, "issue": action.issue}[scope]


def _fits(scope: ActionScope, name: str, action: Action) -> bool:
    return (
        scope.action in (None, name)
        and scope.group in (None, action.group)
        and scope.issue in (None, action.issue)
    )
