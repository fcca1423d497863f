"""Simulate a Nordic bank: raw files as its systems export them, and the truth behind them.

Customers are simulated in chunks of a fixed size, each with its own random generators: memory stays the same
for any number of customers, and a full chunk is the same in a small bank and in a large one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.demo.bank import Bank, live
from tilltal.demo.calendar import Span
from tilltal.demo.catalogue import ACTIONS, CHANNELS, LIFE_EVENTS, PERSONAS, PRODUCTS
from tilltal.demo.digital import write_app, write_web
from tilltal.demo.encounters import write_branches, write_calls, write_campaigns, write_surveys
from tilltal.demo.files import write_parquet
from tilltal.demo.movements import write_cards, write_payments, write_statements
from tilltal.demo.registers import (
    write_consents,
    write_crm,
    write_holdings,
    write_households,
    write_loyalty,
    write_relations,
)
from tilltal.demo.shapes import Floats
from tilltal.demo.story import CLOSED, CUSTOMER, NOTICED
from tilltal.demo.texts import chosen, plain
from tilltal.runtime.progress import Progress, Silent

CHUNK = 10_000

_LATENT = ("age", "income", "digital", "price", "loyalty", "spend", "fatigue", "patience")
_WRITERS: dict[str, Callable[[Bank], int]] = {
    "crm": write_crm,
    "relations": write_relations,
    "holdings": write_holdings,
    "cards": write_cards,
    "payments": write_payments,
    "statements": write_statements,
    "web": write_web,
    "app": write_app,
    "calls": write_calls,
    "branches": write_branches,
    "surveys": write_surveys,
    "campaigns": write_campaigns,
    "consents": write_consents,
    "loyalty": write_loyalty,
    "households": write_households,
}


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What was simulated: sizes, and a few true rates of the whole span."""

    customers: int
    months: int
    seed: int
    rows: dict[str, int]
    active: int  # customers at the end of the span
    leavers: int  # closings in the span
    contacts: int
    acceptances: int
    openings: dict[str, int]  # products opened in the span


def simulate(
    target: Path,
    *,
    customers: int = 20_000,
    months: int = 24,
    seed: int = 1,
    progress: Progress | None = None,
) -> Simulated:
    """Write the raw files of a simulated bank into `target/data` and its truth into `target/data/truth`.

    Args:
        target: the workspace's folder; made if absent.
        customers: how many customers the bank has ever had, at least 1.
        months: whole months up to and including `calendar.LAST_DAY`, at least 1.
        seed: the same seed gives the same bytes.
        progress: told of each chunk of customers.

    Raises:
        ValueError: for no customers, no months or a negative seed.
    """
    if customers < 1 or months < 1 or seed < 0:
        raise ValueError("a bank needs at least one customer, one month, and a seed that is not negative")
    span = Span(months)
    starts = range(0, customers, CHUNK)
    watcher = progress or Silent()
    watcher.start("simulating customers", len(starts))
    parts: list[Simulated] = []
    for chunk, first in enumerate(starts):
        bank = live(seed, chunk, first, min(CHUNK, customers - first), span, target / "data")
        rows = {name: write(bank) for name, write in _WRITERS.items()}
        write_truth(bank)
        parts.append(_summary(bank, rows))
        watcher.advance()
    return _sum(parts)


def write_truth(bank: Bank) -> None:
    """Write what no source may read: latent traits, and each month's needs and chances."""
    people, outreach = bank.people, bank.outreach
    customers = {
        "customer": plain(people.numbers),
        "persona": chosen([persona.name for persona in PERSONAS], people.persona),
        "is_holdout": pa.array(outreach.is_holdout),
        **{name: _rounded(getattr(people, name)) for name in _LATENT},
        **{f"liking_{channel}": _rounded(people.liking[:, index]) for index, channel in enumerate(CHANNELS)},
    }  # fmt: skip
    write_parquet(bank.file("truth/customers", "part", ".parquet"), customers)
    write_parquet(bank.file("truth/months", "part", ".parquet"), _months(bank))
    log = bank.outreach.contacts
    contacts = {
        "customer": plain(people.numbers[log["who"]]),
        "date": pa.array(bank.span.dates(log["day"])),
        "action": chosen([action.name for action in ACTIONS], log["action"]),
        "channel": chosen(CHANNELS, log["channel"]),
        "response": _rounded(bank.outreach.responses, 5),
        "is_accepted": pa.array(log["accepted"] > 0),
    }
    write_parquet(bank.file("truth/contacts", "part", ".parquet"), contacts)


def _months(bank: Bank) -> dict[str, pa.Array]:
    """State at the end of each month of the relation, with the needs as the month began."""
    story = bank.story
    who, month = np.nonzero(bank.present_share() > 0)
    ends = bank.span.dates(bank.span.month_start[1:] - 1)
    needs = {f"need_{name}": _rounded(story.needs[who, month, index]) for index, name in enumerate(PRODUCTS)}
    events = {
        f"after_{name}": _rounded(story.boosts[who, month, index]) for index, name in enumerate(LIFE_EVENTS)
    }
    return {
        "customer": plain(bank.people.numbers[who]),
        "month": pa.array(ends[month]),
        "satisfaction": _rounded(story.satisfactions[who, month]),
        "leaving_probability": _rounded(story.leavings[who, month], 4),
        "is_leaving": pa.array(story.is_leaving[who, month]),
        "contacts_90d": pa.array(bank.outreach.contacts_90d[who, month].astype(np.int16)),
        **needs,
        **events,
    }


def _rounded(values: Floats, digits: int = 2) -> pa.Array:
    return pa.array(np.round(values, digits).astype(np.float32))


def _summary(bank: Bank, rows: dict[str, int]) -> Simulated:
    relations, log, days = bank.story.relations, bank.outreach.contacts, bank.span.days
    opened = bank.story.holdings["opened"]
    inside = (opened >= 0) & (opened < days)
    counts = np.bincount(bank.story.holdings["product"][inside], minlength=len(PRODUCTS))
    closed = (relations["kind"] == CLOSED) & (relations["day"] >= 0) & (relations["day"] < days)
    return Simulated(
        customers=bank.people.size,
        months=bank.span.months,
        seed=bank.seed,
        rows=rows,
        active=int(np.isin(bank.story.status, (CUSTOMER, NOTICED)).sum()),
        leavers=int(closed.sum()),
        contacts=len(log["who"]),
        acceptances=int(log["accepted"].sum()),
        openings={name: int(count) for name, count in zip(PRODUCTS, counts, strict=True)},
    )


def _sum(parts: list[Simulated]) -> Simulated:
    return Simulated(
        customers=sum(part.customers for part in parts),
        months=parts[0].months,
        seed=parts[0].seed,
        rows={name: sum(part.rows[name] for part in parts) for name in parts[0].rows},
        active=sum(part.active for part in parts),
        leavers=sum(part.leavers for part in parts),
        contacts=sum(part.contacts for part in parts),
        acceptances=sum(part.acceptances for part in parts),
        openings={name: sum(part.openings[name] for part in parts) for name in PRODUCTS},
    )
