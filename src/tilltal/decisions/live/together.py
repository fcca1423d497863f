"""Contacts of one decision together: each counts against caps for those after it, reserved or not.

    shown, best first ──► kept │ one too many ──► decided again without what no longer fits ──► …
                            └── counts with what the customer had before

A cap that stands against a contact then stands against every other contact that it concerns, save those kept.
So a few rounds do, however many actions there are, and a decision's row needs to hold the kept ones alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from tilltal.decisions.contacting.checks import Check, is_cap
from tilltal.decisions.plan import DecisionPlan

Pair = tuple[str, str]  # action, channel
Kept = tuple[Pair, ...]


class Advised(Protocol):
    """An action that is shown, by a channel."""

    @property
    def action(self) -> str:
        """Its name."""

    @property
    def channel(self) -> str:
        """Its channel."""


class Decided(Protocol):
    """A decision: what it shows, best first."""

    @property
    def shown(self) -> Sequence[Advised]:
        """What is shown."""


D = TypeVar("D", bound=Decided)


class Fitted(msgspec.Struct, Generic[D], frozen=True):
    """A decision that exceeds no cap, and what was kept each time that there was one too many.

    `first` is the decision before anything was left out.
    """

    decision: D
    first: D
    crowds: tuple[Kept, ...] = ()


class Together:
    """The caps of a plan, by action and channel; `slots` says where readings lie among values."""

    __slots__ = ("_caps", "_slots")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int]) -> None:
        self._slots = slots
        self._caps = {
            (action.name, channel.name): caps
            for action in plan.actions
            for channel in action.channels
            if (caps := tuple(filter(is_cap, channel.checks)))
        }

    def fitted(
        self,
        ask: Callable[[Mapping[Pair, str], D | None], D],
        values: Sequence[object],
        barred: Mapping[Pair, str],
    ) -> Fitted[D]:
        """Decide until nothing that is shown is one too many.

        Args:
            ask: decides, without the pairs that are barred, by reason; is given the first decision from the
                second one on, so that chance draws once.
            values: of the customer, by slot.
            barred: what is barred in any case.
        """
        decision = first = ask(barred, None)
        crowds = list[Kept]()
        while self._caps and len(decision.shown) > 1:
            kept = self._kept([(one.action, one.channel) for one in decision.shown], values)
            if len(kept) == len(decision.shown):
                break
            crowds.append(kept)
            decision = ask(self.barred(crowds, values, barred), first)
        return Fitted(decision, first, tuple(crowds))

    def barred(
        self, crowds: Iterable[Kept], values: Sequence[object], barred: Mapping[Pair, str]
    ) -> Mapping[Pair, str]:
        """Return what is barred, with what no longer fits beside contacts that were kept."""
        found = dict(barred)
        for kept in crowds:
            counts = self._counts(kept)
            for pair, caps in self._caps.items():
                if pair not in kept and pair not in found:
                    full = self._full(caps, counts, values)
                    if full is not None:
                        found[pair] = full.reason
        return found

    def _kept(self, shown: Sequence[Pair], values: Sequence[object]) -> Kept:
        """Return what fits, up to the first contact that is one too many."""
        counts: dict[str, int] = {}
        for place, pair in enumerate(shown):
            caps = self._caps.get(pair, ())
            if place and self._full(caps, counts, values) is not None:
                return tuple(shown[:place])
            for cap in caps:
                counts[cap.name] = counts.get(cap.name, 0) + 1
        return tuple(shown)

    def _counts(self, kept: Kept) -> Counter[str]:
        return Counter(cap.name for pair in kept for cap in self._caps.get(pair, ()))

    def _full(
        self, caps: Iterable[Check], counts: Mapping[str, int], values: Sequence[object]
    ) -> Check | None:
        """Return the first cap that leaves no room."""
        for cap in caps:
            before = values[self._slots[cap.name]]
            if not cap.passes((before if isinstance(before, int) else 0) + counts.get(cap.name, 0)):
                return cap
        return None
