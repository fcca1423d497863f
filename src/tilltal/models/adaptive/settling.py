"""When labels are settled: judgements are made on cases that had the full wait, whatever came of them.

A model learns while cases are open (`delays`), for it must act. Whoever judges models can wait: a case and
its label, yes or no, enter a judgement together, once every case decided in the same period had its time. A
later answer revises what has entered.
"""

from __future__ import annotations

import msgspec

_PER_WAIT = 8


class Settling(msgspec.Struct, frozen=True):
    """Periods of decisions, named by their last instant; `wait` is how long a label takes. Microseconds."""

    wait: int

    def period(self, at: int) -> int:
        """Return the period in which a decision's instant lies."""
        length = max(self.wait // _PER_WAIT, 1)
        return -(-at // length) * length

    def is_settled(self, period: int, now: int) -> bool:
        """True if every decision of a period had the full wait at an instant."""
        return period + self.wait <= now


AT_ONCE = Settling(0)
"""Where nothing is waited for."""
