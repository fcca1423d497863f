"""What a shown action came to: a state machine over its responses, whatever their order of arrival.

shown ── delivered, impression ──► pending ── accept, conversion ──► yes
                                      │  └─── reject ──────────────► no        (the latest answer counts)
                                      └────── `wait` without answer ► no ── late accept ──► yes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tilltal.core.operational import Answered

YES = frozenset({"accept", "conversion"})
NO = frozenset({"reject"})
SEEN = frozenset({"delivered", "impression", "click"})


def outcome(responses: Sequence[Answered], now: int, wait: int) -> bool | None:
    """Return what is known of one shown action: yes, no, or None while nothing is.

    A yes and a no of the same instant are a yes.

    Args:
        responses: those to one action of one decision, in any order; kinds not named above count nothing.
        now: the instant of asking, microseconds.
        wait: how long an impression waits for its answer, microseconds.
    """
    known = answer(responses)
    if known is not None:
        return known
    ends = time_out(responses, wait)
    return False if ends is not None and ends <= now else None


def answer(responses: Iterable[Answered]) -> bool | None:
    """Return the latest answer that was told, None without any."""
    answers = [(each.at, each.kind in YES) for each in responses if each.kind in YES | NO]
    return max(answers)[1] if answers else None


def seen(responses: Iterable[Answered]) -> int | None:
    """Return since when an action was seen (microseconds), None where nobody said so."""
    return min((each.at for each in responses if each.kind in SEEN), default=None)


def time_out(responses: Sequence[Answered], wait: int) -> int | None:
    """Return when an unanswered impression becomes a no (microseconds), None where nothing waits."""
    begin = seen(responses)
    return None if begin is None or answer(responses) is not None else begin + wait


def delay_of_yes(responses: Iterable[Answered]) -> tuple[int, int]:
    """Return when it was known that an action was seen, and how much later its first yes was (microseconds).

    A yes before any impression tells of the impression, too.
    """
    told = [(each.received, each.kind in YES) for each in responses if each.kind in YES | SEEN]
    begin = min(at for at, _ in told)
    return begin, min(at for at, is_yes in told if is_yes) - begin
