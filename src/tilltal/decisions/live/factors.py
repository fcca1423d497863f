"""The four factors of every option of a single fast decision, in tables by option.

Factors are floats here. `exact` gives the same factors as exact decimals, for where floats are too near to
tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.arbitration import (
    Candidate,
    Context,
    Factored,
    factors_of,
    has_value,
    lever,
    weight_of,
)
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import fuse_values
from tilltal.workspace.definitions.actions import Learned
from tilltal.workspace.definitions.policies import ContextRule

_MOST_MOMENTS = 1024  # combinations of context rules whose weights are kept
_TINY, _HUGE = Decimal("1e-150"), Decimal("1e150")

Values = Sequence[object]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class Weights(msgspec.Struct, frozen=True):
    """C × L by option, C and L by action, and the context rules that hold.

    `influences` are what past outcomes add to L, in units of `history.influences.UNIT`, of the actions where
    that is not nothing, and `changed` their L. `is_extreme`: some C × L is so large or small that products of
    floats could lose their digits.
    """

    both: Floats
    context: tuple[float, ...]
    levers: tuple[float, ...]
    rules: tuple[ContextRule, ...]
    is_extreme: bool
    influences: Mapping[int, int] = MappingProxyType({})
    changed: Mapping[int, float] = MappingProxyType({})

    def lever_of(self, action: int) -> float:
        """Return L of an action."""
        return self.changed[action] if action in self.changed else self.levers[action]


class Option(msgspec.Struct, frozen=True):
    """An action by one of its channels, and what a contact costs; `number` is its bit."""

    number: int
    action: ActionPlan
    channel: str
    cost: float = 0.0


class Numbers(msgspec.Struct, frozen=True, gc=False):
    """A factor: distinct numbers, and where each option's lies among them."""

    found: Floats
    at: Places

    def of(self, option: int) -> float:
        """Return one option's number."""
        return self.found.item(self.at.item(option))

    def take(self, options: Places) -> Floats:
        """Return the numbers of some options."""
        found: Floats = self.found[self.at[options]]
        return found


class Propensities:
    """P by option: constants, models' scores, and the rates of adaptive models.

    `adaptive` names the pairs of action and channel whose rate may be given, in order of their options;
    `lawful` is the mask of options whose constant is a probability.
    """

    __slots__ = ("_blank", "_default", "_effects", "_models", "_spans", "_tables", "adaptive", "lawful")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int], options: Sequence[Option]) -> None:
        self._default = plan.arbitration.defaults.propensity
        constants = [_constant(option.action, self._default) for option in options]
        place = {constant: number for number, constant in enumerate(dict.fromkeys(constants))}
        models = sorted({option.action.model for option in options if option.action.model})
        of_model = {name: len(place) + number for number, name in enumerate(models)}
        adaptive = [option for option in options if isinstance(option.action.definition.propensity, Learned)]
        self.adaptive = tuple((option.action.name, option.channel) for option in adaptive)
        first = len(place) + len(models)
        behind = first + len(adaptive)
        of_pair = {option.number: first + number for number, option in enumerate(adaptive)}
        at = {
            option.number: of_model.get(option.action.model or "", place[constant])
            for option, constant in zip(options, constants, strict=True)
        }
        self._effects, effect = _effects(options, at, slots)
        of_effect = {number: behind + which for number, which in effect.items()}
        self._tables = _table(at | of_effect), _table(at | of_pair | of_effect)
        self._blank = np.zeros(behind + len(self._effects))
        self._blank[: len(place)] = list(place)
        self._spans = slice(len(place), first), slice(first, behind), slice(behind, None)
        uses = {name: [option for option in options if option.action.model == name] for name in models}
        self._models = tuple(
            (
                name,
                slots[f"score.{name}"],
                ~_mask(one for one in uses[name] if one.action.uplift is None),
                uses[name][0].action.probability,
            )
            for name in models
        )
        self.lawful = _mask(
            option
            for option, constant in zip(options, constants, strict=True)
            if 0 <= constant <= 1 or option.action.uplift is not None
        )

    def known(
        self, values: Values, rates: Sequence[float] | Floats | None, lines: Mapping[str, Platt]
    ) -> tuple[Numbers, int]:
        """Return all probabilities and the mask of the options whose probability is one.

        `lines` are of those models whose probabilities are to be corrected.
        """
        scores: list[float] = []
        lawful = self.lawful
        for name, slot, others, probability in self._models:
            score = values[slot]
            if isinstance(score, int | float):
                share = probability(float(score))
                if name in lines:
                    share = recalibrated(share, lines[name])
            else:
                share = self._default
            if not 0 <= share <= 1:
                lawful &= others
            scores.append(share)
        found, (of_models, of_pairs, of_effects) = self._blank.copy(), self._spans
        if scores:
            found[of_models] = scores
        if rates is not None:
            found[of_pairs] = rates
        if self._effects:
            effects = [each.of(values, found) for each in self._effects]
            for effect, share in zip(self._effects, effects, strict=True):
                if not 0 <= share <= 1:
                    lawful &= effect.others
            found[of_effects] = effects
        fixed, rated = self._tables
        return Numbers(found, fixed if rates is None else rated), lawful

    def redrawn(self, known: Numbers, rates: Floats) -> Numbers:
        """Return what `known` gave for rates, with others in their place."""
        found = known.found.copy()
        found[self._spans[1]] = rates
        return Numbers(found, known.at)


class _Effect(msgspec.Struct, frozen=True):
    """What an experiment says that some options add, by the slot of its score; else the number that stays.

    `others` is the mask of all other options.
    """

    action: ActionPlan
    slot: int
    stays: int
    others: int

    def of(self, values: Values, numbers: Floats) -> float:
        """Return P of these options, given all numbers without effects."""
        added = self.action.effect(values[self.slot])
        return float(numbers[self.stays]) if added is None else added


def _effects(
    options: Sequence[Option], at: Mapping[int, int], slots: Mapping[str, int]
) -> tuple[tuple[_Effect, ...], dict[int, int]]:
    """Return the effects, and by option that asks for one its place among them."""
    asking: dict[tuple[str, int], list[Option]] = {}
    for option in options:
        if option.action.uplift is not None:
            asking.setdefault((option.action.uplift, at[option.number]), []).append(option)
    effects = tuple(
        _Effect(those[0].action, slots[f"score.{model}"], stays, ~_mask(those))
        for (model, stays), those in asking.items()
    )
    return effects, {one.number: place for place, those in enumerate(asking.values()) for one in those}


class Worths:
    """V by option: constants and the values of expressions, each computed once and only where needed.

    `plain` is all there is to know where no expression is computed, else None.
    """

    __slots__ = ("_at", "_compute", "_constants", "_everyone", "_shifts", "lawful", "plain")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int], options: Sequence[Option]) -> None:
        distinct = {_value_key(option): option.action.value for option in options}
        place = {key: number for number, key in enumerate(distinct)}
        constants = [value if isinstance(value, float) else 0.0 for value in distinct.values()]
        self._constants = np.array(constants, dtype=np.float64)
        self._at = _table({option.number: place[_value_key(option)] for option in options})
        needs = [
            (number, value, _mask(option for option in options if self._at[option.number] == number))
            for number, value in enumerate(distinct.values())
        ]
        self.lawful = _mask(options) & ~sum(
            mask for _, value, mask in needs if isinstance(value, float) and not math.isfinite(value)
        )
        width = len(plan.actions)
        self._shifts, self._everyone = range(width, len(self._at), max(width, 1)), (1 << width) - 1
        expressions = {
            number: (value, mask & self._everyone)
            for number, value, mask in needs
            if isinstance(value, Expression)
        }
        self.plain = None if expressions else Numbers(self._constants, self._at)
        self._compute = fuse_values(expressions, float(plan.arbitration.defaults.value), slots, width)

    def known(self, values: Values, clock: Clock, options: int) -> Numbers:
        """Return all constants and the values that the options of a mask need."""
        if self.plain is not None:
            return self.plain
        found, actions = self._constants.copy(), options
        for shift in self._shifts:
            actions |= options >> shift
        self._compute(values, actions & self._everyone, found, clock)
        return Numbers(found, self._at)


class Moments:
    """C and L by option, for whichever context rules hold at the moment."""

    __slots__ = ("_bare", "_influences", "_known", "_options", "_plan", "_tests", "levers")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int], options: Sequence[Option]) -> None:
        self._plan = plan
        self._options = tuple(option.number for option in options)
        self._bare = tuple(bare(action) for action in plan.actions)
        policy = plan.arbitration
        is_full = policy.mode == "pcvl"
        is_asked = policy.factors.C and is_full
        self._tests = tuple(
            (1 << number, rule, slots[rule.key] if rule.key in plan.schema else -1)
            for number, rule in enumerate(policy.context_rules if is_asked else ())
        )
        is_pulled = policy.factors.L and is_full
        self.levers = tuple(lever(each, policy) if is_pulled else Decimal(1) for each in self._bare)
        self._influences = tuple(
            (number, tuple(slots[name] for name in action.influences))
            for number, action in enumerate(plan.actions)
            if action.influences and is_pulled
        )
        self._known: dict[int, Weights] = {}

    def weights(self, values: Values, context: Context) -> Weights:
        """Return the weights of the moment; the context goes before the profile's own names."""
        mask = 0
        for bit, rule, slot in self._tests:
            if rule.key in context:
                if has_value(context, rule.key, rule.value):
                    mask |= bit
            elif slot >= 0 and _is(values[slot], rule.value):
                mask |= bit
        found = self._known.get(mask)
        if found is None:
            found = self._weigh(mask)
        if not self._influences:
            return found
        influences = _influences_now(self._influences, values)
        return self._influenced(found, influences) if influences else found

    def _influenced(self, weights: Weights, influences: Mapping[int, int]) -> Weights:
        """Return the weights with L changed by past outcomes."""
        both, width, policy = weights.both.copy(), len(self._bare), self._plan.arbitration
        changed, is_extreme = {}, weights.is_extreme
        for action, amount in influences.items():
            candidate = msgspec.structs.replace(self._bare[action], influence=amount / UNIT)
            pull = lever(candidate, policy)
            product = weight_of(weights.rules, candidate) * pull
            is_extreme |= bool(product) and not _TINY < product < _HUGE
            changed[action] = float(pull)
            both[action::width] = float(product)
        return Weights(both, weights.context, weights.levers, weights.rules, is_extreme, influences, changed)

    def _weigh(self, mask: int) -> Weights:
        rules = tuple(rule for bit, rule, _ in self._tests if mask & bit)
        shares = [weight_of(rules, each) for each in self._bare]
        products = [share * pull for share, pull in zip(shares, self.levers, strict=True)]
        both = np.zeros(max(self._options, default=-1) + 1)
        for number in self._options:
            both[number] = float(products[number % len(products)])
        weights = Weights(
            both,
            tuple(float(share) for share in shares),
            tuple(map(float, self.levers)),
            rules,
            any(product and not _TINY < product < _HUGE for product in products),
        )
        if len(self._known) >= _MOST_MOMENTS:
            self._known.clear()
        self._known[mask] = weights
        return weights


def exact(
    plan: DecisionPlan, action: int, propensity: float, value: float, weights: Weights, cost: float
) -> Factored:
    """Return an action's factors as exact decimals; those given as if they were on."""
    candidate = msgspec.structs.replace(
        bare(plan.actions[action]),
        propensity=propensity,
        value=value,
        influence=weights.influences.get(action, 0) / UNIT,
        cost=cost,
    )
    return factors_of(candidate, plan.arbitration, {rule.key: rule.value for rule in weights.rules})


def _influences_now(influences: Iterable[tuple[int, tuple[int, ...]]], values: Values) -> dict[int, int]:
    """Return what past outcomes add to L of each action, where that is not nothing."""
    found = {}
    for action, slots in influences:
        amount = 0
        for slot in slots:
            value = values[slot]
            if isinstance(value, int):
                amount += value
        if amount:
            found[action] = amount
    return found


def _is(held: object, wanted: object) -> bool:
    """True if a profile's value is the wanted one; 1 is not TRUE."""
    return held == wanted and isinstance(held, bool) is isinstance(wanted, bool)


def bare(action: ActionPlan) -> Candidate:
    """Return an action as a candidate of unknown propensity and value."""
    definition = action.definition
    return Candidate(
        action=action.name, group=definition.group, issue=definition.issue, mandatory=definition.mandatory
    )


def _constant(action: ActionPlan, default: float) -> float:
    return default if action.propensity is None else action.propensity


def _table(at: Mapping[int, int]) -> Places:
    """Return an array by option; options that there are not have 0."""
    table = np.zeros(max(at, default=-1) + 1, dtype=np.intp)
    for option, place in at.items():
        table[option] = place
    return table


def _value_key(option: Option) -> object:
    value = option.action.value
    return repr(value) if isinstance(value, float) else value.tree


def _mask(options: Iterable[Option]) -> int:
    mask = 0
    for option in options:
        mask |= 1 << option.number
    return mask
