"""Arbitration: which of the candidates go first, and why each of the others does not.

Priority = P × C × V × L − cost: propensity, context weight, value, lever, and what the contact costs, which
is paid whatever the answer. Mandatory actions go first, ties are broken by name, so the same candidates in
any order give the same answer. Priorities are exact decimals rounded to nine places: 0.1 × 3 and 0.3 are a
tie, as a reader with a pocket calculator would say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from decimal import Context as Precision

import msgspec

from tilltal.workspace.definitions.policies import ActionScope, Arbitration, ContextRule

Context = Mapping[str, str | int | float | bool]

_PLACES = Decimal("1e-9")
_ONE, _NOTHING = Decimal(1), Decimal(0)
_EXACT = Precision(prec=1500)  # the largest and the smallest floats multiply without rounding


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An action that might be chosen.

    `propensity` is a probability, `value` in major currency units; None means unknown. `failed` is the
    first rule that removed it, as `<stage>:<rule>`, or None. `influence` is what past outcomes add to L, in
    per cent. `cost` is what the contact costs, in major currency units, finite and not negative.
    """

    action: str
    group: str
    issue: str
    propensity: float | None = None
    value: float | None = None
    mandatory: bool = False
    failed: str | None = None
    influence: float = 0.0
    cost: float = 0.0


class Factored(msgspec.Struct, frozen=True, kw_only=True):
    """The four factors of a candidate's priority, and what its contact costs."""

    P: Decimal
    C: Decimal
    V: Decimal
    L: Decimal
    cost: Decimal = _NOTHING

    @property
    def priority(self) -> Decimal:
        """P × C × V × L − cost, rounded to nine decimals."""
        product = _EXACT.multiply(_EXACT.multiply(self.P, self.C), _EXACT.multiply(self.V, self.L))
        net = _EXACT.subtract(product, self.cost) if self.cost else product
        return net.quantize(_PLACES, ROUND_HALF_EVEN, context=_EXACT)


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that is shown; rank 1 is the next best action."""

    rank: int
    action: str
    priority: Decimal
    factors: Factored


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that is not shown. `priority` is None where it never came to a comparison."""

    action: str
    reason: str
    priority: Decimal | None = None
    factors: Factored | None = None


class Ranking(msgspec.Struct, frozen=True):
    """The answer of arbitration: what is shown, and every other candidate with its reason."""

    ranked: tuple[Ranked, ...]
    lost: tuple[Lost, ...]


class _Entry(msgspec.Struct, frozen=True):
    candidate: Candidate
    factors: Factored
    priority: Decimal


def arbitrate(candidates: Iterable[Candidate], policy: Arbitration, context: Context) -> Ranking:
    """Rank candidates under a policy.

    Args:
        candidates: in any order; names are unique.
        policy: mode, slots, defaults, factors, context rules and levers.
        context: what is known of the moment, such as the page or the channel.

    Returns:
        At most `policy.slots` ranked candidates, and all the others with a reason each.
    """
    lost: list[Lost] = []
    entries: list[_Entry] = []
    for candidate in candidates:
        removed = _removed(candidate, policy, context)
        if isinstance(removed, Lost):
            lost.append(removed)
        else:
            entries.append(removed)
    entries.sort(key=_order)
    ranked, outranked = _fill_slots(entries, policy)
    lost.extend(outranked)
    return Ranking(tuple(ranked), tuple(sorted(lost, key=lambda item: item.action)))


def factors_of(candidate: Candidate, policy: Arbitration, context: Context) -> Factored:
    """Return a candidate's P, C, V, L and cost; a factor that is off, or that the mode does not use, is 1.

    Without V a priority is no money, and no cost is taken off it.
    """
    on = policy.factors
    uses_context = policy.mode == "pcvl"
    propensity = policy.defaults.propensity if candidate.propensity is None else candidate.propensity
    value = policy.defaults.value if candidate.value is None else candidate.value
    return Factored(
        P=_decimal(propensity) if on.P else _ONE,
        C=context_weight(candidate, policy, context) if on.C and uses_context else _ONE,
        V=_decimal(value) if on.V else _ONE,
        L=lever(candidate, policy) if on.L and uses_context else _ONE,
        cost=_decimal(candidate.cost) if on.V and candidate.cost else _NOTHING,
    )


def is_money(policy: Arbitration) -> bool:
    """True if priorities are money to expect: by P and V, and neither contexts nor levers weigh them."""
    on, levers = policy.factors, policy.levers
    is_full = policy.mode == "pcvl"
    is_pulled = levers.action or levers.group or levers.issue or policy.influencers
    is_weighed = is_full and ((on.C and policy.context_rules) or (on.L and is_pulled))
    return on.P and on.V and not is_weighed


def context_weight(candidate: Candidate, policy: Arbitration, context: Context) -> Decimal:
    """Return C = 1 + (sum of the weights of all matching rules) / 100, never below 0."""
    rules = (rule for rule in policy.context_rules if has_value(context, rule.key, rule.value))
    return weight_of(rules, candidate)


def weight_of(rules: Iterable[ContextRule], candidate: Candidate) -> Decimal:
    """Return C of a candidate under the rules whose context holds."""
    return _share(rule.weight for rule in rules if fits(rule.applies_to, candidate))


def lever(candidate: Candidate, policy: Arbitration) -> Decimal:
    """Return L = 1 + (levers of action, group and issue, influence) / 100, never below 0."""
    levers = policy.levers
    return _share(
        (
            levers.action.get(candidate.action, 0),
            levers.group.get(candidate.group, 0),
            levers.issue.get(candidate.issue, 0),
            candidate.influence,
        )
    )


def fits(applies_to: ActionScope, candidate: Candidate) -> bool:
    """True if every part of `applies_to` that is stated equals the candidate's."""
    wanted = (
        (applies_to.action, candidate.action),
        (applies_to.group, candidate.group),
        (applies_to.issue, candidate.issue),
    )
    return all(want is None or want == got for want, got in wanted)


def has_value(context: Context, key: str, value: object) -> bool:
    """True if the context holds the key with this value; 1 is not TRUE and '1' is not 1."""
    if key not in context:
        return False
    held = context[key]
    return held == value and isinstance(held, bool) == isinstance(value, bool)


def _removed(candidate: Candidate, policy: Arbitration, context: Context) -> Lost | _Entry:
    propensity = candidate.propensity
    if propensity is not None and not (math.isfinite(propensity) and 0 <= propensity <= 1):
        return Lost(action=candidate.action, reason="invalid_propensity")
    if candidate.value is not None and not math.isfinite(candidate.value):
        return Lost(action=candidate.action, reason="invalid_value")
    if candidate.failed is not None:
        return Lost(action=candidate.action, reason=candidate.failed)
    factors = factors_of(candidate, policy, context)
    priority = factors.priority
    if policy.offer_only_positive and not candidate.mandatory and priority <= 0:
        return Lost(action=candidate.action, reason="not_positive", priority=priority, factors=factors)
    if policy.nothing is not None and not candidate.mandatory and priority < _decimal(policy.nothing.below):
        return Lost(action=candidate.action, reason="below_nothing", priority=priority, factors=factors)
    return _Entry(candidate, factors, priority)


def _order(entry: _Entry) -> tuple[bool, Decimal, str]:
    return (not entry.candidate.mandatory, -entry.priority, entry.candidate.action)


def _fill_slots(entries: Sequence[_Entry], policy: Arbitration) -> tuple[list[Ranked], list[Lost]]:
    ranked: list[_Entry] = []
    rest: list[_Entry] = []
    lost: list[Lost] = []
    for entry in entries:
        crowded = _crowded(entry.candidate, [taken.candidate for taken in ranked], policy)
        if crowded is not None:
            lost.append(_lost(entry, crowded))
        elif len(ranked) < policy.slots:
            ranked.append(entry)
        else:
            rest.append(entry)
    lost.extend(_lost(entry, _against(ranked[-1], entry)) for entry in rest)
    shown = [
        Ranked(rank=rank, action=entry.candidate.action, priority=entry.priority, factors=entry.factors)
        for rank, entry in enumerate(ranked, start=1)
    ]
    return shown, lost


def _crowded(candidate: Candidate, taken: Sequence[Candidate], policy: Arbitration) -> str | None:
    """Return the reason why no more of a candidate's group or issue may be shown, or None."""
    of_group = [one for one in taken if one.group == candidate.group]
    if policy.max_per_group is not None and len(of_group) >= policy.max_per_group:
        return f"group_limit:{of_group[-1].action}"
    of_issue = [one for one in taken if one.issue == candidate.issue]
    if policy.max_per_issue is not None and len(of_issue) >= policy.max_per_issue:
        return f"issue_limit:{of_issue[-1].action}"
    return None


def _against(holder: _Entry, loser: _Entry) -> str:
    """Say why `loser` is not shown in place of the holder of the last slot."""
    name = holder.candidate.action
    is_beaten_by_duty = holder.candidate.mandatory and not loser.candidate.mandatory
    if is_beaten_by_duty and loser.priority >= holder.priority:
        return f"mandatory:{name}"
    return f"tie_name:{name}" if loser.priority == holder.priority else f"outranked:{name}"


def _lost(entry: _Entry, reason: str) -> Lost:
    return Lost(action=entry.candidate.action, reason=reason, priority=entry.priority, factors=entry.factors)


def _share(percentages: Iterable[float]) -> Decimal:
    return max(_ONE + sum((_decimal(each) for each in percentages), Decimal(0)) / 100, Decimal(0))


def _decimal(number: float) -> Decimal:
    """Take a float as the number a reader sees: 0.1 is one tenth."""
    return Decimal(repr(float(number)))
