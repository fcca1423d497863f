"""Capacities in a transaction, and what a server remembers of them between transactions.

What is taken is one mark of the operational store. Whoever hands out changes it in the transaction that makes
the reservation, under the mark's lock: so a capacity holds whoever asks, of whichever server, and a crash
neither loses nor gives away anything. The lock is taken once per group of work, however many decisions share
it, after those of the customers; what is used up is remembered for a moment, so that nobody queues for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from tilltal.core.operational import Transaction
from tilltal.decisions.contacting.capacities import Rationed, Taken, period_key, span_of
from tilltal.decisions.contacting.reservations import Contacted
from tilltal.decisions.contacting.windows import calendar_span
from tilltal.decisions.live.reasons import Pair
from tilltal.decisions.plan import DecisionPlan
from tilltal.runtime.live.contract import Sample
from tilltal.workspace.definitions.actions import Capacity
from tilltal.workspace.workspace import Workspace

MARK = "capacities"
NOT_NAMED = "not_named"
"""Why nobody unnamed gets an action with a capacity: there is nobody to reserve it for."""
_REMEMBERED = 1_000_000  # microseconds: after that it is asked for again, as something may have been released

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rationed).decode


class Rations:
    """The capacities of a workspace, and what this server saw of them last."""

    def __init__(self, workspace: Workspace, plan: DecisionPlan) -> None:
        self.zone = workspace.zone
        self.capacities: Mapping[str, Capacity] = {
            name: action.capacity
            for name, action in sorted(workspace.actions.items())
            if action.capacity is not None
        }
        self._pairs = {
            action.name: tuple((action.name, channel.name) for channel in action.channels)
            for action in plan.actions
            if action.name in self.capacities
        }
        self._full: dict[Pair, int] = {}
        self._taken = dict.fromkeys(self.capacities, 0)
        self._refused: Counter[str] = Counter()

    def has(self, action: str | None) -> bool:
        """True for an action with a capacity."""
        return action in self.capacities

    def barred(self, now: int, *, is_named: bool) -> dict[Pair, str]:
        """Return the pairs that need not be tried now: used up a moment ago, or for nobody unnamed."""
        if not self.capacities:
            return {}
        if not is_named:
            return dict.fromkeys(self.pairs(), NOT_NAMED)
        return {pair: self.reason(pair[0]) for pair, until in self._full.items() if now < until}

    def pairs(self) -> Iterable[Pair]:
        """Return the pairs of all actions with a capacity."""
        return (pair for pairs in self._pairs.values() for pair in pairs)

    def reason(self, action: str) -> str:
        """Return why an action is not handed out when it is used up."""
        return f"capacity:{self.capacities[action].per}"

    def note(self, pair: Pair, taken: int, now: int, *, is_refused: bool) -> None:
        """Remember what was seen of the capacity of an action when it was to be handed out by a channel."""
        action = pair[0]
        self._taken[action] = taken
        if is_refused:
            self._refused[action] += 1
            self.used_up(pair, now)
            return
        for each in self._pairs.get(action, ()):
            self._full.pop(each, None)

    def used_up(self, pair: Pair, now: int) -> None:
        """Remember for a moment that a pair need not be tried: others of its action may be sent later."""
        if pair in self._pairs.get(pair[0], ()):
            self._full[pair] = now + _REMEMBERED

    def samples(self) -> Iterable[Sample]:
        """Return figures for monitoring."""
        for name, capacity in self.capacities.items():
            labels = {"action": name}
            yield Sample(
                name="tilltal_capacity_limit",
                kind="gauge",
                help="How many of an action may be handed out in its period.",
                value=capacity.limit,
                labels=labels,
            )
            yield Sample(
                name="tilltal_capacity_taken",
                kind="gauge",
                help="How many of an action were taken in the period that was asked for last.",
                value=self._taken[name],
                labels=labels,
            )
            yield Sample(
                name="tilltal_capacity_refused_total",
                kind="counter",
                help="Contacts that were not made because the action's capacity was used up.",
                value=self._refused[name],
                labels=labels,
            )


class Ration:
    """What is taken, in one transaction; `data` is what is to be written, or None."""

    def __init__(self, rations: Rations, now: int) -> None:
        self._rations = rations
        self._now = now
        self._rationed: Rationed | None = None
        self._is_changed = False

    async def open(self, tx: Transaction) -> None:
        """Read what is taken, and let nobody else change it until the transaction ends."""
        data = await tx.lock_mark(MARK)
        self._rationed = Rationed(actions={}) if data is None else _decode(data)
        self._rationed.prune(self._now, self._rations.capacities)

    def refuses(self, one: Contacted) -> str | None:
        """Return why a contact may not be reserved: its action's capacity is used up; None if it may."""
        action, capacity, taken = self._of(one)
        if capacity is None or taken is None:
            return None
        count = taken.count(one.at)
        is_refused = count >= capacity.limit
        pair = action, one.contact.channel or ""
        self._rations.note(pair, count + (not is_refused), one.at, is_refused=is_refused)
        return self._rations.reason(action) if is_refused else None

    def used_up(self, at: int, sends: Callable[[Pair], int | None]) -> dict[Pair, str]:
        """Return every pair whose capacity is used up, with the reason.

        `at` is the instant of the decision; `sends` says when a pair would be sent, None = then.
        """
        found = {}
        for pair in self._rations.pairs():
            sent = sends(pair)
            if self._is_used_up(pair[0], at, at if sent is None else sent):
                self._rations.used_up(pair, at)
                found[pair] = self._rations.reason(pair[0])
        return found

    def _is_used_up(self, action: str, at: int, sent: int) -> bool:
        assert self._rationed is not None, "opened for whoever may need it"
        capacity = self._rations.capacities[action]
        key = period_key(capacity, calendar_span(capacity.per, sent, self._rations.zone))
        taken = self._rationed.actions.get(action, {}).get(key)
        return (0 if taken is None else taken.count(at)) >= capacity.limit

    def since(self, one: Contacted) -> int:
        """Return the instant as of which a reservation that was not committed must at least be judged."""
        taken = self._of(one)[2]
        return 0 if taken is None else taken.seen

    def admits(self, one: Contacted, at: int) -> bool:
        """True if a reservation may be committed, though it lapsed: nobody else needs what it had."""
        _, capacity, taken = self._of(one)
        if capacity is None or taken is None or one.state(max(at, taken.seen)) == "reserved":
            return True
        return taken.count(max(at, taken.seen)) < capacity.limit

    def move(self, before: Contacted | None, after: Contacted | None) -> None:
        """Note that a contact became another."""
        one = after or before
        taken = None if one is None else self._of(one)[2]
        if taken is None or one is None:
            return
        taken.move(before, after)
        if before is None:
            taken.seen = max(taken.seen, one.at)
        self._is_changed = True

    @property
    def data(self) -> bytes | None:
        """What is to be written; None if nothing changed."""
        return _encode(self._rationed) if self._is_changed else None

    def _of(self, one: Contacted) -> tuple[str, Capacity | None, Taken | None]:
        """Return a contact's action, its capacity, and what of that is taken in the contact's period."""
        action = one.contact.action or ""
        capacity = self._rations.capacities.get(action)
        if capacity is None:
            return action, None, None
        assert self._rationed is not None, "opened for whoever may need it"
        span = span_of(capacity, one, self._rations.zone)
        return action, capacity, self._rationed.taken(action, period_key(capacity, span), span.end)
