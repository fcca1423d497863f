"""What a contact costs, by option of a single fast decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilltal.decisions.live.factors import Floats, Option
from tilltal.decisions.plan import DecisionPlan


class Costs:
    """What a contact costs by option; `by_option` is None where nothing is taken off, `dearest` the most."""

    __slots__ = ("by_option", "dearest")

    def __init__(self, plan: DecisionPlan, options: Sequence[Option]) -> None:
        found = {option.number: option.cost for option in options if plan.arbitration.factors.V}
        self.dearest = max(found.values(), default=0.0)
        self.by_option: Floats | None = None
        if self.dearest:
            self.by_option = np.zeros(max(found) + 1)
            self.by_option[list(found)] = list(found.values())

    def of(self, option: int) -> float:
        """Return what a contact by an option costs."""
        return 0.0 if self.by_option is None else float(self.by_option[option])
