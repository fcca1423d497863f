"""What the bank's web site and app saw: pages read by cookies, logins that say who it was, the app's taps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.demo.bank import Bank, occurrences
from tilltal.demo.calendar import DAY_SECONDS, seconds_of_day
from tilltal.demo.catalogue import LIFE_EVENTS, PRODUCT, PRODUCTS
from tilltal.demo.files import write_jsonl
from tilltal.demo.shapes import Bools, Floats, Ints
from tilltal.demo.story import NEVER
from tilltal.demo.texts import chosen, numbered, only, plain, repeated, spoil, written

TOPICS = (*PRODUCTS[1:], "home", "rates", "support", "close_account")
WEB_KINDS = ("page_view", "login", "calculator_used", "application_started")
VIEW, LOGIN, CALCULATOR, APPLICATION = range(len(WEB_KINDS))
_CALCULATORS = ("mortgage", "consumer_loan", "fund", "pension", "savings_account")
_REFERRERS = ("direct", "search", "newsletter", "social", "partner")
_SCREENS = ("phone", "desktop", "tablet")
APP_KINDS = ("app_open", "app_payment", "app_error")
_JUNK_COOKIES = ("0000", "null", "undefined")
_VERSIONS = ("7.2.0", "7.3.1", "8.0.0", "8.1.2")


class Visits(NamedTuple):
    """Rows of the web log; `who` is -1 for visitors who are no customers."""

    who: Ints
    device: Ints
    moment: Ints
    kind: Ints
    topic: Ints

    @classmethod
    def of(
        cls, bank: Bank, who: Ints, moment: Ints, kind: int | Ints, topic: int | Ints, device: Ints
    ) -> Visits:
        """Make rows; a single kind or topic holds for all of them."""
        kinds, topics = (
            np.broadcast_to(np.asarray(value, dtype=np.int64), who.shape) for value in (kind, topic)
        )
        return cls(who, device, moment, kinds, topics)


def write_web(bank: Bank) -> int:
    """The web server's event log, JSON Lines: cookies everywhere, customer numbers at login only."""
    rng = bank.random("web")
    parts = [*visits(bank, rng), _strangers(bank, rng)]
    who, device, moment, kind, topic = (np.concatenate(column) for column in zip(*parts, strict=True))
    ids = repeated(rng, len(who), 0.002)
    rows = np.argsort(moment, kind="stable")[ids]
    who, device, moment, kind, topic = who[rows], device[rows], moment[rows], kind[rows], topic[rows]
    count = len(rows)
    times = written(bank.span.utc(moment), "%Y-%m-%dT%H:%M:%SZ")
    number = only(plain(bank.people.numbers[np.maximum(who, 0)]), (kind == LOGIN) & (who >= 0))
    columns = {
        "id": numbered("w", bank.chunk * 10**9 + ids),
        "ts": spoil(rng, times, 0.0008, ["0001-01-01T00:00:00Z?", "tomorrow"]),
        "type": chosen(WEB_KINDS, kind),
        "topic": chosen(TOPICS, topic),
        "cookie": spoil(rng, numbered("c", bank.chunk * 10**7 + device), 0.002, _JUNK_COOKIES),
        "customer": pc.if_else(pa.array(rng.random(count) < 0.0003), "anonymous", number),
        "referrer": chosen(_REFERRERS, rng.choice(5, count, p=[0.5, 0.22, 0.14, 0.09, 0.05])),
        "screen": chosen(_SCREENS, rng.choice(3, count, p=[0.58, 0.36, 0.06])),
        "seconds": pa.array(np.round(rng.gamma(1.5, 28, count)).astype(np.int64)),
    }  # fmt: skip
    return write_jsonl(bank.file("web", "events", ".jsonl.gz"), columns)


def visits(bank: Bank, rng: np.random.Generator) -> list[Visits]:
    """Draw what customers did on the web: pages read, calculators used, logins, forms begun."""
    views = _views(bank, rng)
    return [views, _calculators(bank, rng, views), _logins(bank, rng), _applications(bank, rng)]


def _views(bank: Bank, rng: np.random.Generator) -> Visits:
    """Pages read: interest follows need, and help or goodbye pages follow trouble."""
    pace = bank.busy() * bank.people.digital[:, None]
    need = np.clip(bank.story.interests[:, :, 1:], -2.5, 3.3)
    interest = pace[:, :, None] * 0.06 * np.exp(1.1 * need)
    home = pace * 0.4
    rates = pace * 0.10 * np.exp(0.5 * np.clip(need[:, :, PRODUCT["mortgage"] - 1], -2, 3))
    support = pace * 0.15 * np.exp(-0.4 * bank.story.satisfactions)
    goodbye = bank.story.is_leaving * bank.present_share() * 0.12 + pace * 0.006
    expected = np.concatenate([interest, np.stack([home, rates, support, goodbye], axis=2)], axis=2)
    who, month, topic = occurrences(rng, expected)
    return Visits.of(bank, who, bank.moments(rng, who, month), VIEW, topic, _device(rng, who, 0.25))


def _device(rng: np.random.Generator, who: Ints, second: float) -> Ints:
    """Cookies: each customer's first, a second one, or for every eighth a neighbour's laptop."""
    shared = np.where(who % 8 == 7, who - 1, who)
    return np.asarray(2 * shared + (rng.random(len(who)) < second), dtype=np.int64)


def _calculators(bank: Bank, rng: np.random.Generator, views: Visits) -> Visits:
    uses = np.isin(views.topic, [TOPICS.index(name) for name in _CALCULATORS]) & (
        rng.random(len(views.who)) < 0.16
    )
    moment = views.moment[uses] + rng.integers(30, 240, int(uses.sum()))
    moment = np.minimum(moment, views.moment[uses] // DAY_SECONDS * DAY_SECONDS + DAY_SECONDS - 1)
    return Visits.of(bank, views.who[uses], moment, CALCULATOR, views.topic[uses], views.device[uses])


def _logins(bank: Bank, rng: np.random.Generator) -> Visits:
    who, month = occurrences(rng, 0.9 * bank.busy() * bank.people.digital[:, None])
    return Visits.of(
        bank, who, bank.moments(rng, who, month), LOGIN, TOPICS.index("home"), _device(rng, who, 0.06)
    )


def _applications(bank: Bank, rng: np.random.Generator) -> Visits:
    """Forms begun: some before a product is opened, others given up halfway."""
    log = bank.story.holdings
    online = (log["opened"] >= 3) & (log["opened"] < NEVER) & (log["product"] > 0)
    online &= log["opened"] > bank.people.joined[log["who"]] + 3
    online &= rng.random(len(online)) < 0.45 * bank.people.digital[log["who"]]
    who, topic = log["who"][online], log["product"][online] - 1
    day = log["opened"][online] - rng.integers(0, 4, len(who))
    pace = 0.004 * bank.busy() * bank.people.digital[:, None]
    wish = np.exp(0.6 * np.clip(bank.story.needs[:, :, 1:], -2, 4))
    given_up_who, month, given_up = occurrences(rng, pace[:, :, None] * wish)
    moment = np.concatenate(
        [day * DAY_SECONDS + seconds_of_day(rng, len(who)), bank.moments(rng, given_up_who, month)]
    )
    who = np.concatenate([who, given_up_who])
    return Visits.of(
        bank, who, moment, APPLICATION, np.concatenate([topic, given_up]), _device(rng, who, 0.1)
    )


def _strangers(bank: Bank, rng: np.random.Generator) -> Visits:
    """Cookies of people who never log in."""
    cookies = max(bank.people.size // 12, 1)
    pages = 1 + rng.poisson(1.6, cookies)
    device = np.repeat(2 * bank.people.size + np.arange(cookies, dtype=np.int64), pages)
    day = np.repeat(rng.integers(0, bank.span.days, cookies), pages)
    moment = day * DAY_SECONDS + seconds_of_day(rng, len(device))
    topic = rng.integers(0, len(TOPICS) - 1, len(device))
    return Visits.of(bank, np.full(len(device), -1), moment, VIEW, topic, device)


def has_app(bank: Bank) -> Bools:
    """Who uses the app, shape (n,)."""
    rng = bank.random("app users")
    return np.asarray(bank.people.digital + rng.normal(0, 0.2, bank.people.size) > 0.45, dtype=np.bool_)


def app_rates(bank: Bank) -> Floats:
    """Expected openings, payments and errors of the app, shape (n, months, 3)."""
    pace = bank.busy() * has_app(bank)[:, None] * (0.4 + bank.people.digital[:, None])
    trip = 1 + 0.5 * bank.story.boosts[:, :, LIFE_EVENTS.index("trip")]
    return np.stack(
        [1.9 * pace * trip, 0.5 * pace, 0.05 * pace * np.exp(-0.3 * bank.story.satisfactions)], axis=2
    )


def write_app(bank: Bank) -> int:
    """The app's telemetry, JSON Lines in Zstandard: app user ids and install ids, UTC times."""
    rng = bank.random("app")
    who, month, kind = occurrences(rng, app_rates(bank))
    moment = bank.moments(rng, who, month)
    ids = repeated(rng, len(who), 0.001)
    rows = np.argsort(moment, kind="stable")[ids]
    who, moment, kind = who[rows], moment[rows], kind[rows]
    new_phone = (moment // DAY_SECONDS > (who * 37) % (2 * bank.span.days)).astype(np.int64)
    minutes = pa.array(np.round(rng.gamma(1.3, 1.6, len(who)), 1)).cast(pa.string())
    version = np.minimum(moment // DAY_SECONDS * 4 // bank.span.days, 3)
    columns = {
        "event_id": numbered("a", bank.chunk * 10**9 + ids),
        "time": written(bank.span.utc(moment), "%Y-%m-%dT%H:%M:%S+00:00"),
        "name": chosen(APP_KINDS, kind),
        "user": spoil(rng, numbered("u", bank.people.numbers[who] * 3), 0.001, ["guest", "null"]),
        "install": numbered("i", bank.chunk * 10**7 + who * 2 + new_phone),
        "os": chosen(("ios", "android"), (who * 7 // 3) % 2),
        "version": chosen(_VERSIONS, version),
        "minutes": spoil(rng, minutes, 0.0008, ["soon"]),
    }  # fmt: skip
    return write_jsonl(bank.file("app", "telemetry", ".jsonl.zst"), columns)
