"""Cool-downs: the silence that follows outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tilltal.decisions.contacting.windows import FOREVER, duration_micros
from tilltal.workspace.definitions.contact import CoolDown


class Silence(msgspec.Struct, frozen=True):
    """A cool-down: `times` outcomes, first and last less than `within` apart; `length` from the last."""

    times: int
    within: int
    length: int

    def until(self, outcomes: Sequence[int], now: int) -> int | None:
        """Return the end of the silence that holds at an instant, or None.

        Args:
            outcomes: instants of the outcomes of one scope, ascending; those after `now` do not count.
            now: the instant.
        """
        for place in range(len(outcomes) - 1, self.times - 2, -1):
            last = outcomes[place]
            if last > now:
                continue
            if last + self.length <= now:
                return None
            if last - outcomes[place - self.times + 1] < self.within:
                return last + self.length
        return None


def silence_of(rule: CoolDown) -> Silence:
    """Read a rule of the policy.

    Raises:
        ValueError: if a duration cannot be read.
    """
    within = FOREVER if rule.within is None else duration_micros(rule.within)
    return Silence(rule.times, within, duration_micros(rule.for_))
