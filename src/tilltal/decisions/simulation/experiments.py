"""Impact experiments: the same definitions with one part of the decision taken out, to see what it is worth.

Contact policy, consent and mandatory actions hold in all of them. What is drawn is drawn from a generator
that the caller seeds.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.decisions.plan import DecisionPlan
from tilltal.workspace.definitions.policies import Factors


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """A variation of a plan.

    `factors` replace those of the policy; `is_drawn`: a number between 0 and 1 by chance takes the place of
    every propensity; `only_eligibility` leaves applicability and suitability out.
    """

    name: str
    words: str
    factors: Factors | None = None
    is_drawn: bool = False
    only_eligibility: bool = False


_ONE = Factors(P=True, C=False, V=False, L=False)

EXPERIMENTS = (
    Experiment(
        name="random_action",
        words="any action that passed the funnel, by chance",
        factors=_ONE,
        is_drawn=True,
    ),
    Experiment(name="propensity_only", words="the most probable action", factors=_ONE),
    Experiment(name="without_levers", words="no levers"),
    Experiment(
        name="eligibility_only", words="neither applicability nor suitability asked", only_eligibility=True
    ),
    Experiment(name="random_propensity", words="propensities by chance, all else as it is", is_drawn=True),
)


def varied(plan: DecisionPlan, experiment: Experiment) -> DecisionPlan:
    """Return the plan of an experiment."""
    policy = plan.arbitration
    if experiment.name == "without_levers":
        policy = msgspec.structs.replace(policy, factors=msgspec.structs.replace(policy.factors, L=False))
    elif experiment.factors is not None:  # and what saying nothing is worth is measured by all factors
        policy = msgspec.structs.replace(policy, factors=experiment.factors, nothing=None)
    elif experiment.is_drawn:
        policy = msgspec.structs.replace(policy, factors=msgspec.structs.replace(policy.factors, P=True))
    actions = plan.actions
    if experiment.only_eligibility:
        actions = tuple(
            msgspec.structs.replace(
                action, rules=tuple(rule for rule in action.rules if rule.reason.startswith("eligibility:"))
            )
            for action in actions
        )
    return msgspec.structs.replace(plan, arbitration=policy, actions=actions)


def drawn(table: pa.Table, plan: DecisionPlan, chance: np.random.Generator) -> pa.Table:
    """Return the result of `input_sql` with a number by chance for every propensity; impossible ones stay."""
    for index in range(len(plan.actions)):
        name = f"p{index}"
        given = table.column(name).fill_null(np.nan).to_numpy()
        is_kept = ~np.isnan(given) & ~((given >= 0) & (given <= 1))
        values = np.where(is_kept, given, chance.random(table.num_rows))
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table
