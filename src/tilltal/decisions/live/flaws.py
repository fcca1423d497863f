"""What of the definitions one decision could not use as it stands: counted, so that somebody mends it.

expired            an action is over, and still there
no_treatment       an action has no treatment for the channel that was asked for, or for any
division_by_zero   a rule or a value is NULL where it divides by zero
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.running.coder import Coder
from tilltal.rules.tree import Call, Node, walk

EXPIRED, NO_TREATMENT, DIVISION_BY_ZERO = "expired", "no_treatment", "division_by_zero"
FLAWS = (EXPIRED, NO_TREATMENT, DIVISION_BY_ZERO)

Values = Sequence[object]


class Flaws:
    """The flaws that decisions of one plan may meet; `slots` says where names lie among values."""

    __slots__ = ("_divides", "_everywhere", "_first_end", "_is_mute")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int]) -> None:
        self._first_end = min(
            (action.ends for action in plan.actions if action.ends is not None), default=None
        )
        channels = [{channel.name for channel in action.channels} for action in plan.actions]
        self._is_mute = not all(channels)
        self._everywhere = frozenset(set.intersection(*channels)) if channels else frozenset[str]()
        self._divides = _divides(plan, slots)

    def of(self, values: Values, clock: Clock, channel: str | None) -> tuple[str, ...]:
        """Return the flaws that a decision met, each once.

        Args:
            values: the customer's, by slot.
            clock: the instant of the decision.
            channel: that was asked for, None = any.
        """
        found = []
        if self._first_end is not None and clock.now >= self._first_end:
            found.append(EXPIRED)
        if self._is_mute if channel is None else channel not in self._everywhere:
            found.append(NO_TREATMENT)
        if self._divides is not None and self._divides(values, clock):
            found.append(DIVISION_BY_ZERO)
        return tuple(found)


def _divides(plan: DecisionPlan, slots: Mapping[str, int]) -> Callable[[Values, Clock], object] | None:
    """Compile whether any expression is NULL where it divides by zero; None where none divides."""
    trees = dict.fromkeys(each.tree for action in plan.actions for each in _expressions(action))
    dividing = {tree: divisors for tree in trees if (divisors := tuple(_divisors(tree)))}
    if not dividing:
        return None
    coder = Coder(lambda name: f"values[{slots[name]}]")
    body = [
        f"if ({coder.value(divisor)}) == 0 and ({coder.value(tree)}) is None: return True"
        for tree, divisors in dividing.items()
        for divisor in divisors
    ]
    function, _ = coder.function([*body, "return False"], "values")
    return function


def _expressions(action: ActionPlan) -> Iterator[Expression]:
    yield from (rule.condition for rule in action.rules)
    if isinstance(action.value, Expression):
        yield action.value


def _divisors(tree: Node) -> Iterator[Node]:
    for node in walk(tree):
        if isinstance(node, Call) and node.op in ("/", "%"):
            yield node.args[1]
