"""Money that moves: card purchases, payments, and the monthly statement with what the bank earned."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tilltal.demo.bank import Bank, occurrences
from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import BASKETS, LIFE_EVENTS, MERCHANTS, PRODUCT, SPREE
from tilltal.demo.files import write_csv, write_parquet
from tilltal.demo.shapes import Bools, Floats, Ints
from tilltal.demo.texts import chosen, decimals, numbered, plain, repeated, spoil, written

GROUPS = [name for name, _, _ in MERCHANTS]
_CODES: Ints = np.array([code for _, code, _ in MERCHANTS], dtype=np.int64)
MEANS: Floats = np.array([mean for _, _, mean in MERCHANTS], dtype=np.float64)
_WAYS = ("chip", "contactless", "online")
_ABROAD = ("SE", "NO", "DK", "ES", "DE", "GB", "US", "TH")
_JUNK_TIMES = ("2025-02-30 10:00", "00000000")
_PREMIUMS = (("car_insurance", 55), ("home_insurance", 28), ("travel_insurance", 12))  # kronor a month
_PAYMENT_CODES = ("LON", "INS", "OVFUT", "OVFIN", "SPAR", "AUTOGIRO")
PAYMENT_KINDS = ("salary", "deposit", "transfer_out", "transfer_in", "savings_transfer", "bill_paid")
SALARY, DEPOSIT, OUT, IN, SAVING, BILL = range(len(_PAYMENT_CODES))


def write_cards(bank: Bank) -> int:
    """Card purchases as the card processor's Parquet export: UTC times, amounts in öre."""
    rng = bank.random("cards")
    who, month, group = occurrences(rng, purchases(bank))
    moment = bank.moments(rng, who, month)
    order = np.argsort(moment, kind="stable")[repeated(rng, len(moment), 0.0008)]
    amount = MEANS[group] * np.exp(rng.normal(-0.18, 0.6, len(who))) * bank.people.spend[who] ** 0.4
    travels = group == GROUPS.index("travel")
    land = np.where(rng.random(len(who)) < np.where(travels, 0.6, 0.03), rng.integers(1, 8, len(who)), 0)
    online = rng.random(len(who)) < np.where(np.isin(group, (4, 6, 8, 10)), 0.55, 0.08)
    way = np.where(online, 2, (rng.random(len(who)) < 0.7).astype(np.int64))
    missing = rng.random(len(who)) < 0.0015
    unreadable = rng.random(len(who)) < 0.001
    columns = {
        "transaction_id": pa.array(bank.chunk * 10**9 + np.arange(len(who), dtype=np.int64)),
        "booked_utc": pa.array(bank.span.utc(moment), pa.timestamp("us")),
        "customer_no": pa.array(bank.people.numbers[who], mask=missing),
        "amount_minor": pa.array(np.round(amount * 100).astype(np.int64), mask=unreadable),
        "mcc": pa.array(_CODES[group].astype(np.int32)),
        "merchant_group": chosen(GROUPS, group).dictionary_encode(),
        "entry": chosen(_WAYS, way).dictionary_encode(),
        "country": chosen(_ABROAD, land).dictionary_encode(),
    }
    return write_parquet(
        bank.file("cards", "purchases", ".parquet"),
        {name: column.take(pa.array(order)) for name, column in columns.items()},
    )


def purchases(bank: Bank) -> Floats:
    """Expected purchases, shape (n, months, groups of merchants)."""
    has_card = bank.held(PRODUCT["card"], PRODUCT["premium_card"])
    basket = BASKETS[bank.people.persona] / BASKETS[bank.people.persona].sum(axis=1, keepdims=True)
    pace = 4.4 * bank.people.spend[:, None] * bank.busy() * has_card
    expected = pace[:, :, None] * basket[:, None, :]
    for event, group, factor in SPREE:
        boost = bank.story.boosts[:, :, LIFE_EVENTS.index(event)]
        expected[:, :, GROUPS.index(group)] *= 1 + factor * np.clip(boost, 0, 1)
    return np.asarray(expected, dtype=np.float64)


class Payments(NamedTuple):
    """Payments of one kind."""

    who: Ints
    moment: Ints
    kind: Ints
    hundredths: Ints


def write_payments(bank: Bank) -> int:
    """Salaries, deposits, transfers and bills, the core system's list: Swedish codes, decimal commas."""
    rng = bank.random("payments")
    parts = payments(bank, rng)
    who, moment, kind, amount = (np.concatenate(column) for column in zip(*parts, strict=True))
    ids = repeated(rng, len(who), 0.001)
    rows = np.argsort(moment, kind="stable")[ids]
    who, moment, kind, amount = who[rows], moment[rows], kind[rows], amount[rows]
    columns = {
        "Verifikation": numbered("V", bank.chunk * 10**9 + ids),
        "Kundnr": spoil(rng, plain(bank.people.numbers[who]), 0.001, ["", "0000"]),
        "Bokförd": spoil(rng, written(bank.span.local(moment), "%Y-%m-%d %H:%M"), 0.001, _JUNK_TIMES),
        "Typ": chosen(_PAYMENT_CODES, kind),
        "Belopp": spoil(rng, decimals(amount), 0.0015, ["#SAKNAS", "1.2.3", "NaN"]),
    }  # fmt: skip
    return write_csv(bank.file("payments", "betalningar", ".csv.gz"), columns, delimiter=";")


def payments(bank: Bank, rng: np.random.Generator) -> list[Payments]:
    """Draw salaries, windfalls, transfers and bills; `kind` is a place in PAYMENT_KINDS."""
    return [_salaries(bank, rng), _windfalls(bank, rng), *_transfers(bank, rng)]


def _salaries(bank: Bank, rng: np.random.Generator) -> Payments:
    paid_here = rng.random(bank.people.size) < 0.60 + 0.35 * bank.people.loyalty
    pay_day = bank.span.month_start[:-1] + 24
    inside = (
        (bank.story.first <= pay_day) & (bank.story.last >= pay_day) & bank.held(PRODUCT["current_account"])
    )
    who, month = np.nonzero(inside & paid_here[:, None] & (bank.story.salaries > 0))
    amount = bank.story.salaries[who, month] / 12 * 0.74 * np.exp(rng.normal(0, 0.02, len(who)))
    moment = pay_day[month] * DAY_SECONDS + 6 * 3600 + rng.integers(0, 3600, len(who))
    return Payments(who, moment, np.full(len(who), SALARY), np.round(amount * 100).astype(np.int64))


def _windfalls(bank: Bank, rng: np.random.Generator) -> Payments:
    log = bank.story.happenings
    chosen_rows = log["event"] == LIFE_EVENTS.index("windfall")
    who, month = log["who"][chosen_rows], log["month"][chosen_rows]
    inside = bank.present_share()[who, month] > 0
    who, month = who[inside], month[inside]
    amount = 60_000 * np.exp(rng.normal(0, 0.9, len(who)))
    return Payments(
        who,
        bank.moments(rng, who, month),
        np.full(len(who), DEPOSIT),
        np.round(amount * 100).astype(np.int64),
    )


def _transfers(bank: Bank, rng: np.random.Generator) -> list[Payments]:
    leaving = bank.story.is_leaving
    busy = bank.busy() * bank.held(PRODUCT["current_account"])
    savers = bank.held(PRODUCT["savings_account"], PRODUCT["fund"])
    paces = (
        (OUT, busy * (0.35 + 0.9 * leaving), 2200.0),
        (IN, busy * 0.25, 1800.0),
        (SAVING, busy * 0.55 * savers, 1500.0),
        (BILL, busy * 0.63, 900.0),
    )
    return [_drawn(bank, rng, kind, expected, mean) for kind, expected, mean in paces]


def _drawn(bank: Bank, rng: np.random.Generator, kind: int, expected: Floats, mean: float) -> Payments:
    who, month = occurrences(rng, expected)
    wealth = np.sqrt(bank.people.income[who] / 400_000)
    amount = mean * wealth * np.exp(rng.normal(-0.3, 0.8, len(who)))
    return Payments(
        who, bank.moments(rng, who, month), np.full(len(who), kind), np.round(amount * 100).astype(np.int64)
    )


class Statements(NamedTuple):
    """Balances and the bank's net income per customer and month in kronor, shape (n, months)."""

    savings: Floats
    loans: Floats
    income: Floats


def statements(bank: Bank) -> Statements:
    """Work out each month's balances and what the customer left the bank after costs."""
    rng = bank.random("balances")
    people, story = bank.people, bank.story
    shape = story.activity.shape
    savings = _savings(bank, rng)
    mortgage = people.income * rng.uniform(1.5, 4.2, people.size)
    lent = 60_000 * np.exp(rng.normal(0, 0.5, people.size))
    has_loan = bank.held(PRODUCT["consumer_loan"])
    loans = mortgage[:, None] * bank.held(PRODUCT["mortgage"]) + lent[:, None] * has_loan
    margin = 0.009 * mortgage[:, None] * bank.held(PRODUCT["mortgage"]) + 0.055 * lent[:, None] * has_loan
    spend = 4.4 * 480 * people.spend[:, None] * story.activity * bank.held(PRODUCT["card"])
    fees = (
        0.006 * spend + 49 * bank.held(PRODUCT["premium_card"]) + 14 * bank.held(PRODUCT["current_account"])
    )
    covers = sum(
        (premium * bank.held(PRODUCT[name]) for name, premium in _PREMIUMS),
        start=np.zeros(shape),
    )
    wealth = (0.010 + 0.006 * bank.held(PRODUCT["fund"])) * savings / 12 + 35 * bank.held(PRODUCT["pension"])
    cost = 38 + 25 * (1 - people.digital[:, None]) + rng.gamma(1.0, 14, shape)
    income = (margin / 12 + fees + covers + wealth - cost) * bank.present_share()
    return Statements(savings, loans, income)


def _savings(bank: Bank, rng: np.random.Generator) -> Floats:
    people, story = bank.people, bank.story
    start = (
        people.income
        * 0.22
        * np.exp(rng.normal(0, 0.9, people.size))
        * np.clip((people.age - 16) / 30, 0.1, 1.8)
    )
    growth = rng.normal(0.006, 0.03, story.activity.shape) + 0.35 * _new_windfalls(bank)
    drain = np.where(story.is_leaving, -0.35, 0.0)
    holds = bank.held(PRODUCT["savings_account"], PRODUCT["fund"])
    return np.asarray(start[:, None] * np.exp(np.cumsum(growth + drain, axis=1)) * np.where(holds, 1.0, 0.06))


def _new_windfalls(bank: Bank) -> Bools:
    fresh = np.zeros(bank.story.activity.shape, dtype=np.bool_)
    rows = bank.story.happenings["event"] == LIFE_EVENTS.index("windfall")
    fresh[bank.story.happenings["who"][rows], bank.story.happenings["month"][rows]] = True
    return fresh


def write_statements(bank: Bank) -> int:
    """The finance department's month-end list: Norwegian headings and dates, decimal commas, Latin-1."""
    rng = bank.random("statements")
    figures = statements(bank)
    who, month = np.nonzero(bank.present_share() > 0)
    order = np.argsort(bank.story.last[who, month], kind="stable")
    who, month = who[order], month[order]
    date = written(bank.span.local(bank.story.last[who, month] * DAY_SECONDS), "%d.%m.%Y")
    hundredths = [np.round(100 * figure[who, month]).astype(np.int64) for figure in figures]
    columns = {
        "kundenummer": plain(bank.people.numbers[who]),
        "bokført": spoil(rng, date, 0.0008, ["31.02.2026", "ukjent"]),
        "nettoinntekt": spoil(rng, decimals(hundredths[2]), 0.0015, ["-,-", "feil"]),
        "sparing": decimals(hundredths[0]),
        "lån": decimals(hundredths[1]),
    }
    return write_csv(
        bank.file("statements", "maanedsoppgjor", ".csv"), columns, delimiter=";", encoding="latin-1"
    )
