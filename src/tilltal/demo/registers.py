"""What is known of customers rather than what they do: the CRM, products, consents, and others' registers."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.demo.bank import Bank
from tilltal.demo.calendar import DAY_SECONDS, seconds_of_day
from tilltal.demo.catalogue import CHANNELS, LIFE_EVENTS, PRODUCT_CODES
from tilltal.demo.encounters import phone_numbers
from tilltal.demo.files import write_csv, write_parquet
from tilltal.demo.people import REGIONS
from tilltal.demo.shapes import Floats, Ints
from tilltal.demo.story import NEVER
from tilltal.demo.texts import chosen, decimals, numbered, only, plain, spoil, written

_WOMEN = (
    "Anna",
    "Maria",
    "Eva",
    "Karin",
    "Sara",
    "Emma",
    "Ida",
    "Åsa",
    "Ingrid",
    "Elin",
    "Kjersti",
    "Solveig",
)
_MEN = ("Erik", "Lars", "Karl", "Anders", "Johan", "Olof", "Nils", "Björn", "Åke", "Mikael", "Håkon", "Søren")
_SURNAMES = (
    "Berg", "Lind", "Dahl", "Sjöström", "Åkerlund", "Holm", "Ek", "Nyström", "Björk", "Strand", "Hauge",
    "Østby", "Granlund", "Mårtensson", "Vik", "Falk",
)  # fmt: skip
_HOUSING = ("rental", "flat", "house")
_TIERS = ("blå", "silver", "guld")
_RELATION_CODES = ("ÖPPNAD", "UPPSAGD", "ÅTERTAGEN", "AVSLUTAD")
_EARLY_JUNK = ["", "2026-02-31"]


def _names(bank: Bank) -> tuple[pa.Array, pa.Array]:
    rng = bank.random("names")
    count = bank.people.size
    number = rng.integers(0, len(_WOMEN), count)
    first = chosen(_WOMEN + _MEN, np.where(bank.people.is_female, number, number + len(_WOMEN)))
    return first, chosen(_SURNAMES, rng.integers(0, len(_SURNAMES), count))


def _addresses(bank: Bank) -> pa.Array:
    """E-mail addresses under a domain that never exists."""
    first, last = _names(bank)
    plain_names = [_without_accents(name) for name in (*_WOMEN, *_MEN, *_SURNAMES)]
    known = pa.array([*_WOMEN, *_MEN, *_SURNAMES])
    ascii_names = pa.array(plain_names)
    parts = [ascii_names.take(pc.index_in(column, known)) for column in (first, last)]
    local = pc.binary_join_element_wise(parts[0], parts[1], plain(bank.people.numbers // 7 % 10_000_000), ".")
    return pc.binary_join_element_wise(local, "mail.example", "@")


def _without_accents(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name.lower().replace("ø", "o"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _versions(bank: Bank) -> tuple[Ints, Ints]:
    """Whose CRM row was written when: at the start, after a move and after a pay rise. Day numbers."""
    log = bank.story.happenings
    months = bank.span.month_start
    changed = np.isin(log["event"], [LIFE_EVENTS.index("moving"), LIFE_EVENTS.index("pay_rise")])
    changed &= bank.present_share()[log["who"], log["month"]] >= 1
    who = np.concatenate([np.arange(bank.people.size), log["who"][changed]])
    day = np.concatenate([bank.people.joined, months[log["month"][changed] + 1] - 1])
    seen = day < bank.span.days
    order = np.lexsort((who[seen], day[seen]))
    return who[seen][order], day[seen][order]


def write_crm(bank: Bank) -> int:
    """The CRM's export: Swedish headings, semicolons, decimal commas, code page 1252."""
    rng = bank.random("crm")
    people = bank.people
    who, day = _versions(bank)
    month = np.clip(np.searchsorted(bank.span.month_start, day, side="right") - 1, 0, bank.span.months - 1)
    income = np.where(day < 0, people.income[who], bank.story.salary_then[who, month])
    moves = np.array([REGIONS[index][1] for index in people.region])[who]
    first, last = _names(bank)
    born = bank.span.dates(-np.floor(people.age * 365.25).astype(np.int64))
    taken = pa.array(who)
    columns = {
        "Kundnummer": spoil(rng, plain(people.numbers[who]), 0.0008, ["", "0000"]),
        "Inloggning": numbered("u", people.numbers[who] * 3),
        "Förnamn": first.take(taken),
        "Efternamn": last.take(taken),
        "Födelsedatum": spoil(rng, written(born[who], "%Y-%m-%d"), 0.001, _EARLY_JUNK),
        "Kön": chosen(("K", "M"), (~people.is_female[who]).astype(np.int64)),
        "E-post": _mistyped(rng, _addresses(bank).take(taken)),
        "Mobil": _dialled(rng, phone_numbers(people.numbers[who])),
        "Postnr": numbered("", moves * 1000 + (who * 13 + np.maximum(day, 0) * 7) % 1000),
        "Ort": chosen([region[0] for region in REGIONS], people.region[who]),
        "Civilstånd": chosen(("ensamstående", "gift/sambo"), people.is_married[who].astype(np.int64)),
        "Årsinkomst": spoil(rng, decimals(np.round(income).astype(np.int64) * 100), 0.002, ["okänd", "?"]),
        "KYC-datum": written(bank.span.dates(bank.outreach.first_kyc[who]), "%Y-%m-%d"),
        "Uppdaterad": written(bank.span.local(day * DAY_SECONDS + 7 * 3600), "%Y-%m-%d %H:%M"),
    }
    return write_csv(bank.file("crm", "kunder", ".csv"), columns, delimiter=";", encoding="cp1252")


def _mistyped(rng: np.random.Generator, addresses: pa.Array) -> pa.Array:
    """A few e-mail addresses as people type them: without the @, or in capitals."""
    wrong = rng.random(len(addresses))
    without = pc.replace_substring(addresses, "@", " ")
    typed = pc.if_else(pa.array(wrong < 0.002), without, addresses)
    return pc.if_else(pa.array(wrong > 0.95), pc.utf8_upper(typed), typed)


def _dialled(rng: np.random.Generator, numbers: Ints) -> pa.Array:
    """Phone numbers in the three ways people write them; some have none."""
    way = rng.integers(0, 3, len(numbers))
    texts = plain(numbers)
    tail = pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(texts, 0, 3), pc.utf8_slice_codeunits(texts, 3), "-"
    )
    local = pc.binary_join_element_wise("0", tail, "")
    abroad = pc.binary_join_element_wise("+46 ", texts, "")
    old = pc.binary_join_element_wise("0046", texts, "")
    written_down = pc.if_else(pa.array(way == 0), local, pc.if_else(pa.array(way == 1), abroad, old))
    return only(written_down, rng.random(len(numbers)) < 0.97)


def write_relations(bank: Bank) -> int:
    """The core system's list of relations: openings, notices, withdrawn notices and closings."""
    rng = bank.random("relations")
    log = bank.story.relations
    rows = np.flatnonzero(log["day"] < bank.span.days)
    rows = rows[np.lexsort((log["kind"][rows], log["day"][rows]))]
    who, day, kind = (log[name][rows] for name in ("who", "day", "kind"))
    columns = {
        "id": numbered("R", bank.chunk * 10**9 + np.arange(len(rows), dtype=np.int64)),
        "kundnr": plain(bank.people.numbers[who]),
        "datum": spoil(rng, written(bank.span.dates(day), "%Y-%m-%d"), 0.0005, ["2026-00-10"]),
        "händelse": chosen(_RELATION_CODES, kind),
    }
    return write_csv(bank.file("core", "relationer", ".csv"), columns)


def write_holdings(bank: Bank) -> int:
    """The core system's agreements: Swedish product codes, opening and closing dates."""
    rng = bank.random("holdings")
    log = bank.story.holdings
    rows = np.flatnonzero(log["opened"] < bank.span.days)
    rows = rows[np.lexsort((log["product"][rows], log["who"][rows], log["opened"][rows]))]
    who, product, opened, closed = (log[name][rows] for name in ("who", "product", "opened", "closed"))
    is_closed = closed < min(NEVER, bank.span.days)
    ended = written(bank.span.dates(np.where(is_closed, closed, 0)), "%Y%m%d")
    columns = {
        "avtal": numbered("A", bank.chunk * 10**9 + np.arange(len(rows), dtype=np.int64)),
        "kundnr": plain(bank.people.numbers[who]),
        "produkt": chosen(PRODUCT_CODES, product),
        "öppnad": spoil(rng, written(bank.span.dates(opened), "%Y%m%d"), 0.0008, ["00000000", "2025"]),
        "avslutad": only(ended, is_closed),
    }
    return write_csv(bank.file("core", "avtal", ".csv"), columns, delimiter=";")


def write_consents(bank: Bank) -> int:
    """The consent register: one answer per purpose and channel, and later refusals."""
    rng = bank.random("consents")
    people, outreach = bank.people, bank.outreach
    joined = np.flatnonzero(people.joined < bank.span.days)
    marketing = outreach.first_marketing[joined]
    who = np.concatenate([np.repeat(joined, len(CHANNELS)), joined, outreach.refusals["who"]])
    everywhere = np.full(len(joined) + len(outreach.refusals["who"]), len(CHANNELS))
    channel = np.concatenate([np.tile(np.arange(len(CHANNELS)), len(joined)), everywhere])
    purpose = np.zeros(len(who), dtype=np.int64)
    purpose[marketing.size : marketing.size + len(joined)] = 1
    granted = np.concatenate(
        [
            marketing.ravel(),
            outreach.first_personal[joined],
            np.zeros(len(outreach.refusals["who"]), dtype=np.bool_),
        ]
    )
    day = np.concatenate(
        [np.repeat(people.joined[joined], len(CHANNELS)), people.joined[joined], outreach.refusals["day"]]
    )
    again = np.arange(marketing.size + len(joined), len(who))  # a refusal closes both purposes
    rows = np.concatenate([np.arange(len(who)), again])
    purpose = np.concatenate([purpose, np.ones(len(again), dtype=np.int64)])
    moment = day[rows] * DAY_SECONDS + seconds_of_day(rng, len(rows), opens=18, closes=24) * (day[rows] >= 0)
    columns = {
        "kundnr": plain(people.numbers[who[rows]]),
        "syfte": chosen(("marketing", "personal_offers"), purpose),
        "kanal": chosen((*CHANNELS, "*"), channel[rows]),
        "svar": spoil(rng, chosen(("N", "J"), granted[rows].astype(np.int64)), 0.0008, ["?", "kanske"]),
        "tid": written(bank.span.local(moment), "%Y-%m-%d %H:%M:%S"),
    }
    return write_csv(bank.file("consents", "samtycken", ".csv"), columns, delimiter=";")


def write_loyalty(bank: Bank) -> int:
    """The loyalty partner's members, known by e-mail or phone alone (second party)."""
    rng = bank.random("loyalty")
    people = bank.people
    member = np.flatnonzero(
        (rng.random(people.size) < 0.25 + 0.35 * people.loyalty) & (people.joined < bank.span.days - 30)
    )
    points = np.round(rng.gamma(1.2, 900, len(member)) * people.spend[member]).astype(np.int64)
    day = np.maximum(people.joined[member], 0) + rng.integers(0, 30, len(member))
    by_phone = rng.random(len(member)) < 0.3
    columns = {
        "member": numbered("L", bank.chunk * 10**7 + np.arange(len(member), dtype=np.int64)),
        "email": only(_mistyped(rng, _addresses(bank).take(pa.array(member))), ~by_phone),
        "phone": only(_dialled(rng, phone_numbers(people.numbers[member])), by_phone),
        "tier": chosen(_TIERS, np.searchsorted([700, 2200], points, side="right").astype(np.int64)),
        "points": spoil(rng, plain(points), 0.003, ["-", "1e"]),
        "as_of": written(bank.span.dates(day), "%Y-%m-%d"),
    }
    return write_csv(bank.file("loyalty", "members", ".csv"), columns)


def write_households(bank: Bank) -> int:
    """A data vendor's household file (third party), matched to customer numbers by the vendor."""
    rng = bank.random("households")
    people = bank.people
    matched = np.flatnonzero((rng.random(people.size) < 0.93) & (people.joined < bank.span.days))
    size = 1 + people.is_married[matched] + rng.poisson(1.1 * np.isin(people.persona[matched], (2, 3)))
    wealth = np.searchsorted([250_000, 600_000], people.income[matched] * rng.uniform(0.7, 1.4, len(matched)))
    urban = np.array([region[3] for region in REGIONS], dtype=np.int32)[people.region[matched]]
    columns = {
        "customer_no": pa.array(people.numbers[matched]),
        "household_size": pa.array(size.astype(np.int32)),
        "housing": chosen(_HOUSING, wealth.astype(np.int64)),
        "cars": pa.array(np.minimum(rng.poisson(0.5 + 0.25 * size), 4).astype(np.int32)),
        "urban_level": pa.array(urban),
        "area_income_index": pa.array(np.round(_area_index(rng, people.income[matched]), 1)),
    }  # fmt: skip
    return write_parquet(bank.file("households", "vendor", ".parquet"), columns)


def _area_index(rng: np.random.Generator, income: Floats) -> Floats:
    return np.asarray(100 * (income / 430_000) ** 0.3 * np.exp(rng.normal(0, 0.12, len(income))))
