"""Exploration while the server runs: who a new action is open to, and what is drawn."""

from __future__ import annotations

from tilltal.decisions.live.decider import LiveDecider
from tilltal.decisions.live.exploring import Chance
from tilltal.decisions.plan import opening_name
from tilltal.models.adaptive.exploration import is_open
from tilltal.models.adaptive.serving import Answers
from tilltal.runtime.live.answers.learning import Learning


class Exploring:
    """What the arbitration of one set of definitions says of exploration, compiled."""

    def __init__(self, decider: LiveDecider) -> None:
        self._is_drawn = decider.plan.arbitration.exploration.method == "thompson"
        self._openings = tuple(
            (action.name, decider.slots[opening_name(action.name)])
            for action in decider.plan.actions
            if opening_name(action.name) in decider.slots
        )

    def close(self, values: list[object], who: int, learning: Learning) -> None:
        """Note among values by slot which new actions are not open yet to a customer.

        Args:
            values: by slot.
            who: the customer; of somebody unknown, a number that another decision does not share.
            learning: knows how much is known of the actions.
        """
        for action, slot in self._openings:
            if not is_open(who, action, learning.positives(action)):
                values[slot] = 1

    def chance(self, answers: Answers | None, seed: bytes) -> Chance | None:
        """Return what a decision explores with; None if it does not."""
        return Chance(answers.evidence, seed) if self._is_drawn and answers is not None else None
