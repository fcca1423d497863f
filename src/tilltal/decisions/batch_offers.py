"""What many customers may be offered at once: every action by every channel that is allowed, and its worth.

As `batch.rank` compares them, but for two things: each channel is an offer of its own, less what a contact by
it costs, and nothing is ranked. Priorities are floats of nine decimals, and of no more than `MOST`.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import Compared, compared
from tilltal.decisions.batch_ranking import Bools, Floats, Worth, is_worthless
from tilltal.decisions.plan import DecisionPlan

Offer = tuple[int, int]  # places of the action in the plan, and of the channel in the action
Values = npt.NDArray[np.float32]


MOST = 1e30  # sums of such numbers stay within float32


class Offers(msgspec.Struct, frozen=True):
    """Offers to n customers: `priorities` of each (k, n), NaN where it is none; P × V by action (m, n)."""

    priorities: Values
    expected: Values


def offers(plan: DecisionPlan, table: pa.Table, context: Context, asked: tuple[Offer, ...]) -> Offers:
    """Return what each offer is worth to each customer.

    Args:
        plan: the plan that made the table.
        table: n rows of `batch.input_sql` with every channel.
        context: what is known of the moment, the same for all.
        asked: the k offers.
    """
    priorities = np.full((len(asked), table.num_rows), np.nan, dtype=np.float32)
    if not asked:
        return Offers(priorities, np.zeros((len(plan.actions), table.num_rows), dtype=np.float32))
    found = compared(plan, table, context)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.clip(found.known[0] * found.known[1], -MOST, MOST).T.astype(np.float32)
    for row, (number, place) in enumerate(asked):
        allowed = np.asarray(table.column(f"a{number}_{place}").fill_null(False).to_numpy(), dtype=np.bool_)
        priorities[row] = _priorities(plan, found, number, place, allowed)
    return Offers(priorities, expected)


def _priorities(plan: DecisionPlan, found: Compared, number: int, place: int, allowed: Bools) -> Floats:
    """Return the priorities (n,) of an action by a channel; NaN where it may not be offered."""
    action, policy = plan.actions[number], plan.arbitration
    p, c, v, pull = (factor[:, number] for factor in found.factors)
    cost = action.channels[place].cost if policy.factors.V else 0.0
    priority = Worth.of((p, c, v, pull), np.full(len(p), cost) if cost else None).priority
    is_offered = allowed & (found.removed[:, number] == 0)
    if not action.definition.mandatory:
        not_positive, below = is_worthless(priority, policy)
        is_offered &= ~(not_positive | below)
    return np.where(is_offered, np.clip(priority, -MOST, MOST), np.nan)
