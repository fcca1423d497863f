"""What a shown action came to: a state machine over its responses, whatever their order of arrival.

shown ── impression ──► pending ── accept, conversion ──► yes
                           │  └─── reject ──────────────► no        (the latest answer counts)
                           └────── `wait` without answer ► no ── late accept ──► yes
"""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.operational import Answered

YES = frozenset({"accept", "conversion"})
NO = frozenset({"reject"})
SEEN = frozenset({"impression", "click"})


def outcome(responses: Sequence[Answered], now: int, wait: int) -> bool | None:
    """Return what is known of one shown action: yes, no, or None while nothing is.

    A yes and a no of the same instant are a yes.

    Args:
        responses: those to one action of one decision, in any order; kinds not named above count nothing.
        now: the instant of asking, microseconds.
        wait: how long an impression waits for its answer, microseconds.
    """
    answers = [(each.at, each.kind in YES) for each in responses if each.kind in YES | NO]
    if answers:
        return max(answers)[1]
    ends = time_out(responses, wait)
    return False if ends is not None and ends <= now else None


def time_out(responses: Sequence[Answered], wait: int) -> int | None:
    """Return when an unanswered impression becomes a no (microseconds), None where nothing waits."""
    if any(each.kind in YES | NO for each in responses):
        return None
    seen = [each.at for each in responses if each.kind in SEEN]
    return min(seen) + wait if seen else None
