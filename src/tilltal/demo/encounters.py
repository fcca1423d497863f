"""Meetings between people: calls, branch visits, surveys, and the bank's own contacts with their answers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.demo.bank import Bank, occurrences
from tilltal.demo.calendar import DAY_SECONDS, seconds_of_day
from tilltal.demo.catalogue import ACTIONS, CHANNELS
from tilltal.demo.files import write_csv
from tilltal.demo.people import REGIONS
from tilltal.demo.shapes import Floats, Ints
from tilltal.demo.texts import chosen, decimals, numbered, only, plain, repeated, spoil, written

_REASONS = ("klage", "tapt kort", "lån", "sparing", "app og nettbank", "oppsigelse")
COMPLAINT, LOST_CARD, LOAN, SAVING, DIGITAL, CANCEL = range(len(_REASONS))
_ERRANDS = ("kassa", "rådgivning", "lån", "kort")
_INTERESTS = ("travel", "home", "family", "investing", "sports", "culture", "technology")
_STEPS = ("UTSKICK", "ÖPPNAD", "KLICK", "SVAR_JA", "KLAGOMÅL")


def phone_numbers(customers: Ints) -> Ints:
    """Phone numbers of customers, without the leading zero: a Swedish series that no mobile has."""
    return np.asarray(742_000_000 + customers // 7 % 8_000_000, dtype=np.int64)


def write_calls(bank: Bank) -> int:
    """The call centre's log: a Norwegian supplier's CSV in Windows code page 1252."""
    rng = bank.random("calls")
    who, moment, reason = calls(bank, rng)
    order = np.argsort(moment, kind="stable")
    who, moment, reason = who[order], moment[order], reason[order]
    month = np.searchsorted(bank.span.month_start, moment // DAY_SECONDS, side="right") - 1
    mood = 0.28 * bank.story.satisfactions[who, month] + rng.normal(0.1, 0.3, len(who))
    mood -= 0.5 * (reason == COMPLAINT) + 0.2 * (reason == CANCEL)
    hundredths = np.round(np.clip(mood, -1, 1) * 100).astype(np.int64)
    says_number = rng.random(len(who)) < 0.8
    numbers = bank.people.numbers[who]
    columns = {
        "samtale_id": numbered("S", bank.chunk * 10**9 + np.arange(len(who), dtype=np.int64)),
        "kundenummer": spoil(rng, only(plain(numbers), says_number), 0.002, ["0000", "ukjent"]),
        "telefon": numbered("+46", phone_numbers(numbers)),
        "start": spoil(rng, written(bank.span.local(moment), "%d.%m.%Y %H:%M"), 0.002, ["i går"]),
        "årsak": chosen(_REASONS, reason),
        "varighet_sek": plain(np.round(rng.gamma(2.0, 140, len(who))).astype(np.int64)),
        "stemning": spoil(rng, decimals(hundredths), 0.003, ["sint", "7,50"]),
    }  # fmt: skip
    return write_csv(bank.file("calls", "samtaler", ".csv"), columns, delimiter=";", encoding="cp1252")


def calls(bank: Bank, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Draw calls after incidents, and ordinary ones, more from people who use little else.

    Returns:
        Customer, moment and reason of each.
    """
    log = bank.story.incidents
    calls = (rng.random(len(log["who"])) < 0.45) & (bank.span.days - log["day"] > 3)
    angry, day = log["who"][calls], log["day"][calls] + rng.integers(0, 3, int(calls.sum()))
    moment = day * DAY_SECONDS + seconds_of_day(rng, len(angry), opens=8, closes=19)
    expected = _call_rates(bank)
    who, month, reason = occurrences(rng, expected)
    return (
        np.concatenate([angry, who]),
        np.concatenate([moment, bank.moments(rng, who, month, opens=8, closes=19)]),
        np.concatenate([np.full(len(angry), COMPLAINT, dtype=np.int64), reason]),
    )


def _call_rates(bank: Bank) -> Floats:
    pace = bank.present_share() * (1.3 - bank.people.digital[:, None])
    needs = np.clip(bank.story.needs, -2.5, 4)
    rates = (
        0.004 * pace, 0.012 * pace, 0.010 * pace * np.exp(0.5 * needs[:, :, 4]),
        0.010 * pace * np.exp(0.5 * needs[:, :, 6]), 0.016 * pace,
        0.12 * bank.story.is_leaving * bank.present_share(),
    )  # fmt: skip
    return np.stack(rates, axis=2)


def write_branches(bank: Bank) -> int:
    """The branches' visitor list: plain CSV, local times without an offset."""
    rng = bank.random("branches")
    who, month = occurrences(rng, branch_pace(bank))
    moment = np.sort(bank.moments(rng, who, month, opens=10, closes=16))
    columns = {
        "besök": numbered("B", bank.chunk * 10**9 + np.arange(len(who), dtype=np.int64)),
        "kundnr": spoil(rng, plain(bank.people.numbers[who]), 0.003, ["", "null"]),
        "tid": spoil(rng, written(bank.span.local(moment), "%Y-%m-%d %H:%M"), 0.002, ["2025-13-01 10:00"]),
        "kontor": chosen([region[0] for region in REGIONS], bank.people.region[who]),
        "ärende": chosen(_ERRANDS, rng.choice(4, len(who), p=[0.35, 0.3, 0.15, 0.2])),
    }
    return write_csv(bank.file("branches", "besok", ".csv"), columns)


def branch_pace(bank: Bank) -> Floats:
    """Expected visits to a branch, shape (n, months)."""
    return np.asarray(0.08 * bank.busy() * np.exp(-2.0 * (bank.people.digital[:, None] - 0.4)))


def write_surveys(bank: Bank) -> int:
    """What customers said of themselves (zero-party): NPS, attitudes and interests."""
    rng = bank.random("surveys")
    people = bank.people
    who, month = np.nonzero(rng.random(people.size)[:, None] * bank.present_share() > 0)
    answers = rng.random(len(who)) < 0.03 + 0.03 * people.loyalty[who]
    who, month = who[answers], month[answers]
    moment = bank.moments(rng, who, month)
    order = np.argsort(moment, kind="stable")
    who, month, moment = who[order], month[order], moment[order]
    score = np.round(7.2 + 1.7 * bank.story.satisfactions[who, month] + rng.normal(0, 1.1, len(who)))
    columns = {
        "answer_id": numbered("N", bank.chunk * 10**9 + np.arange(len(who), dtype=np.int64)),
        "customer": plain(people.numbers[who]),
        "answered_at": written(bank.span.utc(moment), "%Y-%m-%dT%H:%M:%SZ"),
        "nps": spoil(rng, plain(np.clip(score, 0, 10).astype(np.int64)), 0.004, ["11", "bra"]),
        "price_focus": _scale(rng, people.price[who]),
        "advice_wish": _scale(rng, 1.05 - people.digital[who]),
        "technology_joy": _scale(rng, people.digital[who]),
        "safety_wish": _scale(rng, np.clip((people.age[who] - 20) / 60, 0, 1)),
        "main_interest": chosen(_INTERESTS, (people.persona[who] + rng.integers(0, 3, len(who))) % 7),
    }
    return write_csv(bank.file("surveys", "answers", ".csv"), columns)


def _scale(rng: np.random.Generator, share: Floats) -> pa.Array:
    """Answers from 1 to 5 to a question a customer agrees with by `share`."""
    return plain(np.clip(np.round(1 + 4 * share + rng.normal(0, 0.6, len(share))), 1, 5).astype(np.int64))


def write_campaigns(bank: Bank) -> int:
    """The campaign tool's history: contacts, openings, clicks, yeses and complaints."""
    rng = bank.random("campaigns")
    log = bank.outreach.contacts
    sent = log["day"] * DAY_SECONDS + seconds_of_day(rng, len(log["who"]), opens=8, closes=18)
    steps = [
        np.ones(len(sent), dtype=np.int64),
        *(log[name] for name in ("opened", "clicked", "accepted", "complained")),
    ]
    contact, step = np.nonzero(np.stack(steps, axis=1))
    # Each further step comes some minutes later; all on the contact's day.
    moment = sent[contact] + step * 600 + np.where(step > 0, rng.integers(60, 600, len(step)), 0)
    order = np.argsort(moment, kind="stable")[repeated(rng, len(moment), 0.001)]
    contact, step, moment = contact[order], step[order], moment[order]
    action = log["action"][contact]
    columns = {
        "id": pc.binary_join_element_wise(numbered("K", bank.chunk * 10**9 + contact), plain(step), "-"),
        "kundnr": plain(bank.people.numbers[log["who"][contact]]),
        "tid": spoil(rng, written(bank.span.local(moment), "%Y-%m-%d %H:%M:%S"), 0.0008, ["-"]),
        "händelse": chosen(_STEPS, step),
        "kampanj": chosen([item.name for item in ACTIONS], action),
        "område": chosen([item.group for item in ACTIONS], action),
        "kanal": chosen(CHANNELS, log["channel"][contact]),
    }  # fmt: skip
    return write_csv(
        bank.file("campaigns", "kontakter", ".csv.gz"), columns, delimiter=";", encoding="latin-1"
    )
