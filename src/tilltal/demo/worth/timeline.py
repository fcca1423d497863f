"""What customers do of their own accord in the months ahead, as the events the product takes in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.traits.online import Event
from tilltal.demo.bank import Bank, occurrences
from tilltal.demo.calendar import DAY_SECONDS, Span
from tilltal.demo.catalogue import PRODUCTS
from tilltal.demo.digital import APP_KINDS, LOGIN, TOPICS, WEB_KINDS, app_rates, visits
from tilltal.demo.encounters import branch_pace, calls
from tilltal.demo.movements import GROUPS, MEANS, PAYMENT_KINDS, payments, purchases, statements
from tilltal.demo.shapes import Ints, generator
from tilltal.demo.story import NEVER, NOTICE
from tilltal.demo.worth.world import World

_REASONS = ("complaint", "lost_card", "loan", "saving", "digital", "cancel")
_ERRANDS = ("cash", "advice", "loan", "card")


class Happening(NamedTuple):
    """Something that happens to a customer.

    Attributes:
        moment: local seconds from the first simulated day.
        row: the customer's place in the world.
        fact: what the bank's systems tell of it.
        product: what the customer looks into, -1 for nothing.
        place: the channel in which the customer is, `""` elsewhere, None where it is not there at all.
        opened: the product opened, -1 for none.
    """

    moment: int
    row: int
    fact: Fact
    product: int = -1
    place: str | None = None
    opened: int = -1


class _Drawn(NamedTuple):
    """Occurrences of the chunk, still to be told as facts."""

    who: Ints
    moment: Ints


def timeline(world: World, seed: int) -> list[Happening]:
    """Return all that happens in the months ahead, in order of time."""
    teller = _Teller(world)
    bank = world.bank
    found = [
        *_web(teller, bank, generator(seed, 0, "worth web")),
        *_app(teller, bank, generator(seed, 0, "worth app")),
        *_people(teller, bank, generator(seed, 0, "worth people")),
        *_money(teller, bank, generator(seed, 0, "worth money")),
        *_openings(teller, world),
        *_notices(teller, bank),
    ]
    return sorted(found, key=lambda one: (one.moment, one.row))


class _Teller:
    """Keeps what happens to the world's customers in the months ahead, and makes facts of it."""

    def __init__(self, world: World) -> None:
        self._rows = np.full(world.bank.people.size, -1, dtype=np.int64)
        self._rows[world.who] = np.arange(world.size)
        self.starts = world.starts * DAY_SECONDS
        self.span = world.span
        self._number = 0

    def kept(self, drawn: _Drawn) -> Iterator[tuple[int, int, int, datetime]]:
        """Give place among the drawn, row, moment and instant of what is kept."""
        rows = self._rows[drawn.who]
        places = np.flatnonzero((drawn.moment >= self.starts) & (rows >= 0))
        instants = instants_of(self.span, drawn.moment[places])
        yield from zip(
            places.tolist(), rows[places].tolist(), drawn.moment[places].tolist(), instants, strict=True
        )

    def event(self, kind: str, at: datetime, fields: dict[str, object]) -> Event:
        """Make an event."""
        self._number += 1
        return Event(type=kind, at=at, received=at, event_id=f"worth-{self._number}", fields=fields)


def instants_of(span: Span, moments: Ints) -> list[datetime]:
    """Return aware instants of moments."""
    if not len(moments):
        return []
    return [one.replace(tzinfo=UTC) for one in span.utc(moments).astype(object).tolist()]


def _web(teller: _Teller, bank: Bank, rng: np.random.Generator) -> Iterator[Happening]:
    for part in visits(bank, rng):
        for place, row, moment, at in teller.kept(_Drawn(part.who, part.moment)):
            kind, topic = int(part.kind[place]), int(part.topic[place])
            product = topic + 1 if kind != LOGIN and topic < len(PRODUCTS) - 1 else -1
            fact = teller.event(WEB_KINDS[kind], at, {"topic": TOPICS[topic]})
            yield Happening(moment, row, fact, product, "banner")


def _app(teller: _Teller, bank: Bank, rng: np.random.Generator) -> Iterator[Happening]:
    who, month, kind = occurrences(rng, app_rates(bank))
    for place, row, moment, at in teller.kept(_Drawn(who, bank.moments(rng, who, month))):
        yield Happening(moment, row, teller.event(APP_KINDS[int(kind[place])], at, {}), place="push")


def _people(teller: _Teller, bank: Bank, rng: np.random.Generator) -> Iterator[Happening]:
    """Calls and visits to branches."""
    who, moments, reason = calls(bank, rng)
    for place, row, moment, at in teller.kept(_Drawn(who, moments)):
        told: dict[str, object] = {"reason": _REASONS[int(reason[place])]}
        yield Happening(moment, row, teller.event("call", at, told), place="call")
    who, month = occurrences(rng, branch_pace(bank))
    errand = rng.choice(4, len(who), p=[0.35, 0.3, 0.15, 0.2])
    for place, row, moment, at in teller.kept(
        _Drawn(who, bank.moments(rng, who, month, opens=10, closes=16))
    ):
        fact = teller.event("branch_visit", at, {"errand": _ERRANDS[int(errand[place])]})
        yield Happening(moment, row, fact, place="branch")


def _money(teller: _Teller, bank: Bank, rng: np.random.Generator) -> Iterator[Happening]:
    """Purchases, payments and monthly statements."""
    who, month, group = occurrences(rng, purchases(bank))
    amount = np.round(100 * MEANS[group] * np.exp(rng.normal(-0.18, 0.6, len(who)))).astype(np.int64)
    for place, row, moment, at in teller.kept(_Drawn(who, bank.moments(rng, who, month))):
        told: dict[str, object] = {"amount": int(amount[place]), "merchant_group": GROUPS[int(group[place])]}
        yield Happening(moment, row, teller.event("card_purchase", at, told))
    for part in payments(bank, rng):
        for place, row, moment, at in teller.kept(_Drawn(part.who, part.moment)):
            fact = teller.event(
                PAYMENT_KINDS[int(part.kind[place])], at, {"amount": int(part.hundredths[place])}
            )
            yield Happening(moment, row, fact)
    figures = statements(bank)
    who, month = np.nonzero(bank.present_share() > 0)
    for place, row, moment, at in teller.kept(_Drawn(who, bank.story.last[who, month] * DAY_SECONDS)):
        cell = int(who[place]), int(month[place])
        hundredths = [round(100 * float(figure[cell])) for figure in figures]
        told = {"savings": hundredths[0], "loans": hundredths[1], "net_income": hundredths[2]}
        yield Happening(moment, row, teller.event("monthly_statement", at, told))


def _openings(teller: _Teller, world: World) -> Iterator[Happening]:
    """Products opened by the customers' own wish."""
    log = world.bank.story.holdings
    opened = log["opened"]
    ahead = (opened >= world.starts) & (opened < NEVER)
    product = log["product"][ahead]
    drawn = _Drawn(log["who"][ahead], opened[ahead] * DAY_SECONDS + 6 * 3600)
    for place, row, moment, at in teller.kept(drawn):
        name = PRODUCTS[int(product[place])]
        fact = holding(name, at, day_in(world.span, moment))
        yield Happening(moment, row, fact, opened=int(product[place]))


def _notices(teller: _Teller, bank: Bank) -> Iterator[Happening]:
    log = bank.story.relations
    notice = log["kind"] == NOTICE
    drawn = _Drawn(log["who"][notice], log["day"][notice] * DAY_SECONDS + 9 * 3600)
    for _, row, moment, at in teller.kept(drawn):
        yield Happening(moment, row, teller.event("leave_notice", at, {}))


def holding(product: str, at: datetime, opened: date) -> HoldingFact:
    """Make the fact that a product was opened."""
    return HoldingFact(source="holdings", product=product, opened=opened, closed=None, received=at)


def day_in(span: Span, moment: int) -> date:
    """Return the local date of a moment."""
    return span.first_day + timedelta(days=moment // DAY_SECONDS)
