"""Sensitivity: how often another action would win if one factor of the priority counted as 1 for all.

Dropping a factor is a policy with that factor off, decided by the same code as the decision itself. What
saying nothing is worth does not count then: it is measured by the whole priority. Customers who have no
winner are not counted; losing every action is a change too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import rank
from tilltal.decisions.batch_ranking import Ints
from tilltal.decisions.plan import DecisionPlan
from tilltal.workspace.definitions.policies import Arbitration

Factor = Literal["P", "C", "V", "L"]
FACTORS: tuple[Factor, ...] = ("P", "C", "V", "L")


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """A factor, and how many of the winners change without it."""

    factor: Factor
    changed: int
    winners: int

    @property
    def share(self) -> float:
        """Share of the winners that change, 0 where nobody has one."""
        return self.changed / self.winners if self.winners else 0.0


def changed_winners(
    plan: DecisionPlan, table: pa.Table, context: Context, first: Ints
) -> Mapping[Factor, int]:
    """Count the winners that change without each factor.

    Args:
        plan: the plan that made the table.
        table: n rows of `batch.input_sql`.
        context: what is known of the moment.
        first: (n,) place of each customer's first action under the plan, negative for none.
    """
    has = first >= 0
    found: dict[Factor, int] = {}
    for factor in FACTORS:
        policy = _without(plan.arbitration, factor)
        if policy is None or not has.any():
            found[factor] = 0
            continue
        winners = rank(msgspec.structs.replace(plan, arbitration=policy), table, context).actions[:, 0]
        found[factor] = int(np.count_nonzero(has & (winners != first)))
    return found


def _without(policy: Arbitration, factor: Factor) -> Arbitration | None:
    """Return the policy without a factor; None where that factor is 1 for all as it is."""
    is_moment = factor in ("C", "L")
    levers = policy.levers
    is_idle = (
        not getattr(policy.factors, factor)
        or (is_moment and policy.mode != "pcvl")
        or (factor == "C" and not policy.context_rules)
        or (factor == "L" and not (levers.action or levers.group or levers.issue or policy.influencers))
    )
    if is_idle:
        return None
    factors = msgspec.structs.replace(policy.factors, **{factor: False})
    return msgspec.structs.replace(
        policy, factors=factors, nothing=None, slots=1, max_per_group=None, max_per_issue=None
    )
