"""What the server counts of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tilltal.decisions.live.flaws import FLAWS
from tilltal.runtime.live.contract import Collected, DecideAnswer, Sample

DEGRADED = ("model_missing", "adaptive_damaged", "late", "error", "store")
"""What decisions may do without: `serving.in_time` and `InForce.lacks`."""


class Figures:
    """Counters of one server process; `behind` is how many seconds a stage in the background is, by name."""

    def __init__(self) -> None:
        self.waking_lag = 0.0
        self.behind: dict[str, float] = {}
        self._messages = {"accepted": 0, "duplicate": 0, "rejected": 0}
        self._decisions = {"known": 0, "unknown": 0, "fallback": 0}
        self._degraded = dict.fromkeys(DEGRADED, 0)
        self._flawed = dict.fromkeys(FLAWS, 0)
        self._unlogged = 0

    def collected(self, result: Collected) -> None:
        """Count a call's messages."""
        self._messages["accepted"] += result.accepted
        self._messages["duplicate"] += result.duplicates
        self._messages["rejected"] += len(result.rejected)

    def decided(
        self,
        answer: DecideAnswer,
        lacks: Iterable[str] = (),
        flaws: Iterable[str] = (),
        *,
        is_logged: bool = True,
    ) -> None:
        """Count a decision, what it did without, and what of the definitions it could not use."""
        for reason in lacks:
            self._degraded[reason] += 1
        for reason in flaws:
            self._flawed[reason] += 1
        self._unlogged += not is_logged
        kind = "fallback" if answer.is_fallback else "known" if answer.is_known else "unknown"
        self._decisions[kind] += 1

    def samples(self, lags: Mapping[str, float], waiting: int, groups: int) -> Iterable[Sample]:
        """Return all figures."""
        for name, text, label, counts in self._counters():
            for key, count in counts.items():
                yield Sample(name=name, kind="counter", help=text, value=count, labels={label: key})
        yield Sample(
            name="tilltal_decisions_unlogged_total",
            kind="counter",
            help="Decisions that were answered before they were stored, or could not be.",
            value=self._unlogged,
        )
        for stage, seconds in lags.items():
            yield Sample(
                name="tilltal_lag_seconds",
                kind="gauge",
                help="How far a stage is behind.",
                value=seconds,
                labels={"stage": stage},
            )
        yield Sample(
            name="tilltal_waiting", kind="gauge", help="Messages that wait to be stored.", value=waiting
        )
        yield Sample(
            name="tilltal_commits_total", kind="counter", help="Transactions of intake.", value=groups
        )

    def _counters(self) -> Iterable[tuple[str, str, str, Mapping[str, int]]]:
        """Return name, help, label and counts of what is counted by kind."""
        return (
            ("tilltal_messages_total", "Messages by what became of them.", "outcome", self._messages),
            ("tilltal_decisions_total", "Decisions by whom they were for.", "kind", self._decisions),
            (
                "tilltal_decisions_degraded_total",
                "Decisions that did without something, by what that was.",
                "reason",
                self._degraded,
            ),
            (
                "tilltal_decisions_flawed_total",
                "Decisions that met what cannot be used as it is defined, by what that was.",
                "reason",
                self._flawed,
            ),
        )
