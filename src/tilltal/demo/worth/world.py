"""The customers and the months to come, the same for every strategy: needs, moods, visits, luck.

All that does not depend on the bank's contacts is drawn once. Each customer and day has its own random
numbers, so the same contact on the same day is answered the same, whoever makes it, and strategies differ
by what they do alone (common random numbers).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from tilltal.demo.bank import Bank, live
from tilltal.demo.calendar import DAY_SECONDS, Span
from tilltal.demo.movements import Statements, statements
from tilltal.demo.shapes import Bools, Floats, Ints, generator
from tilltal.demo.simulate import CHUNK
from tilltal.demo.story import CLOSED, NEVER
from tilltal.demo.worth.economy import product_worth, service_worth

LUCK = ("answer", "complaint", "refusal", "opting_out", "keeping", "leaving")
_TURN, _STEP = 0.6180339887498949, 0.4142135623730951


class World(msgspec.Struct, frozen=True):
    """n customers over m months ahead; days and moments count from the first simulated day.

    Attributes:
        bank: the chunk they belong to.
        who: their places in it, shape (n,).
        needs: log odds per month and product, shape (n, m, products).
        satisfaction: without any contact, shape (n, m).
        price: how price-minded, shape (n,).
        years: of the relation as the months begin, shape (n,).
        leaves: the day on which a customer leaves without any contact, NEVER for most, shape (n,).
        is_leaving: who has begun to leave, without any contact, shape (n, m).
        owned: products held as the months begin, shape (n, products).
        worth: first year's income by product, shape (n, products).
        service: what a yes brings otherwise, shape (n, actions).
        yearly: net income of the last twelve months, shape (n,).
        luck: uniform numbers, shape (n, days, kinds of luck).
    """

    bank: Bank
    who: Ints
    needs: Floats
    satisfaction: Floats
    price: Floats
    years: Floats
    leaves: Ints
    is_leaving: Bools
    owned: Bools
    worth: Floats
    service: Floats
    yearly: Floats
    luck: Floats

    @property
    def size(self) -> int:
        """How many customers."""
        return len(self.who)

    @property
    def span(self) -> Span:
        """The past and the months ahead."""
        return self.bank.span

    @property
    def starts(self) -> int:
        """The first day ahead."""
        return int(self.span.month_start[self.span.past])

    def month_of(self, day: int) -> int:
        """Return which of the months ahead a day lies in, from 0."""
        return int(np.searchsorted(self.span.month_start, day, side="right")) - 1 - self.span.past

    def chance(self, who: Ints, day: int, kind: str, action: Ints, channel: Ints) -> Floats:
        """Return the luck of contacts: uniform on [0, 1), the same whenever the contact is the same."""
        base = self.luck[who, day - self.starts, LUCK.index(kind)]
        return np.asarray((base + _TURN * action + _STEP * channel) % 1.0, dtype=np.float64)

    def instant(self, moment: int) -> datetime:
        """Return a moment as an aware instant."""
        local = np.array([moment], dtype=np.int64)
        return datetime.fromisoformat(str(self.span.utc(local)[0])).replace(tzinfo=UTC)

    def of(self, rows: Ints) -> World:
        """Return the world of some of the customers."""
        whole = {name: getattr(self, name) for name in self.__struct_fields__}
        return World(**{name: value if name == "bank" else value[rows] for name, value in whole.items()})


def future(seed: int, customers: int, months: int, ahead: int) -> Bank:
    """Let the first chunk of the demo bank live on for some months in which the bank says nothing."""
    return live(seed, 0, 0, min(customers, CHUNK), Span(months, ahead), Path())


def present(bank: Bank) -> Ints:
    """Return who is a customer as the months ahead begin: places in the chunk."""
    start = int(bank.span.month_start[bank.span.past])
    return np.flatnonzero(
        (bank.people.joined < start - 1)
        & (bank.story.first[:, bank.span.past] == start)
        & (bank.story.last[:, bank.span.past - 1] == start - 1)
    )


def world_of(bank: Bank, who: Ints, seed: int) -> World:
    """Draw the luck of some customers of a chunk, and gather what is true of them.

    The luck of a customer depends neither on how many there are nor on the strategy.
    """
    span, story, past = bank.span, bank.story, bank.span.past
    days = span.days - int(span.month_start[past])
    known = statements(bank)
    years = np.maximum(span.month_start[past] - bank.people.joined[who], 0) / 365.25
    owned = story.holds[who, past - 1]
    return World(
        bank=bank,
        who=who,
        needs=story.needs[who, past:].astype(np.float64),
        satisfaction=story.satisfactions[who, past:],
        price=bank.people.price[who],
        years=years,
        leaves=_closing_days(bank)[who],
        is_leaving=story.is_leaving[who, past - 1 : -1],
        owned=owned,
        worth=product_worth(bank, who, _savings(bank, who, known)),
        service=service_worth(owned, years),
        yearly=known.income[who, max(past - 12, 0) : past].sum(axis=1),
        luck=generator(seed, 0, "worth").random((bank.people.size, days, len(LUCK)))[who],
    )


def _savings(bank: Bank, who: Ints, known: Statements) -> Floats:
    """Return what a customer saves here, or would: those without an account bring three quarters of it."""
    there = known.savings[who, bank.span.past - 1]
    ordinary = 0.22 * bank.people.income[who] * np.clip((bank.people.age[who] - 16) / 30, 0.1, 1.8)
    return np.asarray(np.maximum(there, 0.75 * ordinary), dtype=np.float64)


def _closing_days(bank: Bank) -> Ints:
    """Return the first closing in the months ahead per customer of the chunk."""
    found = np.full(bank.people.size, NEVER, dtype=np.int64)
    log = bank.story.relations
    ahead = (log["kind"] == CLOSED) & (log["day"] >= bank.span.month_start[bank.span.past])
    np.minimum.at(found, log["who"][ahead], log["day"][ahead])
    return found


def day_of(moment: int) -> int:
    """Return the day of a moment."""
    return moment // DAY_SECONDS
