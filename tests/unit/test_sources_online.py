"""Messages of the tracking API and their sources' contracts: what is kept, what is turned away, by whom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tilltal.core.instants import micros
from tilltal.sources.casts import Context
from tilltal.sources.online.contract import OnlineContract, Rejected, Row
from tilltal.sources.online.router import Router
from tilltal.workspace.check import check_folder
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.sources import Source

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
CONTEXT = Context(currency="SEK", zone=ZoneInfo("Europe/Stockholm"))
IDENTITY = msgspec.convert(
    {"namespaces": [{"name": "customer"}, {"name": "email", "normalise": "email"}, {"name": "device"}]},
    Identity,
)
BOUGHT = {
    "kind": "event",
    "read": {"collector": ["track"]},
    "identities": {"device": "anonymousId", "customer": "userId"},
    "event": {"column": "event", "map": {"Card Purchase": "card_purchase"}, "values": ["login"]},
    "fields": {
        "amount": {"type": "money", "column": "properties.amount", "minimum": 0},
        "due": {"type": "date", "column": "properties.due"},
        "payee": {"type": "text", "column": "properties.payee", "labels": ["identity"]},
        "items": {"type": "any", "column": "properties.items"},
    },
}
MESSAGE: dict[str, object] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "K-1",
    "anonymousId": "d-1",
    "event": "Card Purchase",
    "timestamp": "2026-05-04T09:59:58.5Z",
    "properties": {"amount": 199.9, "due": "2026-06-01", "payee": "N. N.", "items": [1, {"a": 0.5}]},
}


def contract(spec: Mapping[str, object] = BOUGHT, name: str = "web_live") -> OnlineContract:
    return OnlineContract(name, msgspec.convert(spec, Source), CONTEXT, IDENTITY)


def kept(document: Mapping[str, object], spec: Mapping[str, object] = BOUGHT) -> Row:
    found = contract(spec).read(document, micros(NOW))
    assert isinstance(found, Row), found
    return found


def codes(document: Mapping[str, object], spec: Mapping[str, object] = BOUGHT) -> list[str]:
    found = contract(spec).read(document, micros(NOW))
    assert isinstance(found, Rejected), found
    return [reason.code for reason in found.reasons]


def test_an_event_is_kept_as_history_keeps_it() -> None:
    row = kept(MESSAGE)
    assert (row.kind, row.name, row.source, row.message_id) == ("event", "card_purchase", "web_live", "m-1")
    assert row.event_id == hashlib.md5(b"web_live\x1fm-1").digest()
    assert (row.at, row.received) == (micros(NOW) - 1_500_000, micros(NOW))
    assert row.identities == (("customer", "K-1"), ("device", "d-1"))
    assert row.fields == {"amount": 19990, "due": date(2026, 6, 1), "items": '[1,{"a":0.5}]'}
    assert row.personal == {"payee": "N. N."}
    assert msgspec.msgpack.decode(row.body) == {**row.fields, "due": "2026-06-01"}


def test_a_time_corrected_for_the_senders_clock_may_be_given_as_such() -> None:
    corrected = NOW - timedelta(seconds=3)
    assert kept({**MESSAGE, "timestamp": corrected}).at == micros(corrected)


def test_identifiers_are_those_stated_in_order_of_priority() -> None:
    assert kept({**MESSAGE, "userId": 123}).identities == (("customer", "123"), ("device", "d-1"))
    assert kept({**MESSAGE, "userId": None}).identities == (("device", "d-1"),)
    assert kept({**MESSAGE, "userId": " null "}).identities[0] == ("customer", "null")  # for `nobody` to tell
    assert [reason.code for reason in contract().nobody().reasons] == ["S337"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"messageId": None}, ["S331"]),
        ({"timestamp": None}, ["S331"]),
        ({"timestamp": "yesterday"}, ["S332"]),
        ({"timestamp": "2026-05-04T10:05:00Z"}, []),
        ({"timestamp": "2026-05-04T10:05:00.000001Z"}, ["S338"]),
        ({"timestamp": "1899-12-31T23:59:59Z"}, ["S339"]),
        ({"timestamp": "1900-01-01T00:00:00Z"}, []),
        ({"event": "card purchase"}, ["S336", "S340"]),
        ({"event": None}, ["S331"]),
        ({"userId": "", "anonymousId": " "}, ["S337"]),
        ({"userId": "null", "anonymousId": None, "messageId": None}, ["S331", "S337"]),
        ({"properties": {"amount": "12,5", "due": "2026-02-29"}}, ["S332", "S332"]),
        ({"properties": {"amount": -0.005}}, ["S334", "S335"]),
        ({"properties": {"amount": 10**17}}, ["S335"]),
        ({"properties": {"amount": "Infinity"}}, ["S333"]),
        ({"properties": "none"}, []),
        ({"event": "\ud800"}, ["S326"]),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_turned_away_with_every_reason(
    change: dict[str, object], expected: list[str]
) -> None:
    found = contract().read({**MESSAGE, **change}, micros(NOW))
    assert [reason.code for reason in getattr(found, "reasons", ())] == expected


def test_reasons_quote_the_value_but_never_one_that_names_a_person() -> None:
    field = {"type": "integer", "column": "properties.payee"}
    spec = {**BOUGHT, "fields": {"payee": {**field, "labels": ["identity"]}, "payer": field}}
    found = contract(spec).read(MESSAGE, micros(NOW))
    assert isinstance(found, Rejected)
    assert [str(reason) for reason in found.reasons] == [
        "payee is '(hidden)', which is no integer",
        "payer is 'N. N.', which is no integer",
    ]


def test_what_is_no_object_is_turned_away() -> None:
    for document in (None, 1, "x", [MESSAGE]):
        found = contract().read(document, micros(NOW))  # type: ignore[arg-type]
        assert isinstance(found, Rejected)
        assert [reason.code for reason in found.reasons] == ["S326"]


@pytest.mark.parametrize("column", ["it's", 'a "b"', "a\\", "{raw}", "a\nraise", "properties.it's.{x}"])
def test_columns_may_have_any_name(column: str) -> None:
    spec = {**BOUGHT, "fields": {"odd": {"type": "text", "column": column}}}
    assert kept({**MESSAGE, column: "found"}, spec).fields == {"odd": "found"}
    head, *rest = column.split(".")
    value: object = "deep"
    for step in reversed(rest):
        value = {step: value}
    assert kept({**MESSAGE, head: value}, spec).fields == {"odd": "deep"}


def test_a_holding_counts_from_its_local_opening() -> None:
    spec = {
        "kind": "holding",
        "read": {"collector": ["track"], "event": ["Agreement Signed"]},
        "identities": {"customer": "userId"},
        "product": {"column": "properties.product", "map": {"FOND": "fund"}},
        "opened": "properties.from",
        "closed": "properties.to",
    }
    row = kept({**MESSAGE, "properties": {"product": "FOND", "from": "2026-03-01"}}, spec)
    assert row.fields == {"product": "fund", "opened": date(2026, 3, 1), "closed": None}
    assert row.at == micros(datetime(2026, 2, 28, 23, tzinfo=UTC))
    ended = {"product": "FOND", "from": "2026-03-01", "to": "2026-02-01"}
    assert codes({**MESSAGE, "properties": ended}, spec) == ["S328"]
    assert codes({**MESSAGE, "properties": {"product": "FOND", "from": "1899-12-31"}}, spec) == ["S339"]


def test_a_consent_without_channel_is_for_all() -> None:
    spec = {
        "kind": "consent",
        "read": {"collector": ["track"], "event": ["Consent Given"]},
        "identities": {"email": "context.traits.email"},
        "purpose": "marketing",
        "channel": {"column": "properties.channel"},
        "granted": True,
    }
    message = {**MESSAGE, "context": {"traits": {"email": "A@x.se"}}}
    assert kept(message, spec).fields == {"purpose": "marketing", "channel": "*", "granted": True}
    assert kept(message, spec).name == "web_live"


def test_a_record_may_count_from_a_fixed_instant() -> None:
    spec = {
        "kind": "record",
        "read": {"collector": ["identify"]},
        "identities": {"customer": "userId"},
        "effective": "2024-01-01",
        "fields": {"seen": {"type": "timestamp", "column": "traits.seen"}},
    }
    row = kept({**MESSAGE, "traits": {"seen": "2026-05-04 12:00"}}, spec)
    assert row.at == micros(datetime(2023, 12, 31, 23, tzinfo=UTC))
    assert row.fields == {"seen": datetime(2026, 5, 4, 10)}


def router() -> Router:
    identities = {"customer": "userId"}
    record = {"kind": "record", "read": {"collector": ["identify"]}, "identities": identities}
    consent = {"kind": "consent", "identities": identities, "purpose": "marketing", "channel": "*"}
    shown = {"kind": "event", "read": {"collector": ["page", "screen"]}, "identities": identities}
    terms = {"collector": ["track", "identify"], "event": ["Terms Accepted", "Card Purchase"]}
    return Router(
        [
            contract(BOUGHT, "bought"),
            contract({**record, "fields": {"city": "text"}}, "who"),
            contract({**consent, "read": terms, "granted": True}, "terms"),
            contract({**shown, "event": "page_view"}, "pages"),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "event", "expected"),
    [
        ("track", "Card Purchase", ["bought", "terms"]),
        ("track", " login ", ["bought"]),
        ("track", "card_purchase", ["bought"]),
        ("track", "Terms Accepted", ["terms"]),
        ("identify", None, ["who", "terms"]),
        ("page", "anything", ["pages"]),
        ("screen", None, ["pages"]),
    ],
)
def test_messages_find_the_sources_that_take_them(kind: str, event: str | None, expected: list[str]) -> None:
    found = router().route(kind, {**MESSAGE, "event": event})
    assert isinstance(found, list)
    assert [one.name for one in found] == expected


@pytest.mark.parametrize(
    ("kind", "event", "sentence"),
    [
        ("track", "Card Purchased", "is 'Card Purchased'; the nearest of those taken: Card Purchase"),
        ("track", None, "the nearest of those taken"),
        ("track", "\ud800", "the nearest of those taken"),
        (
            "alias",
            None,
            "no source takes messages of the type 'alias'; taken are: identify, page, screen, track",
        ),
    ],
)
def test_a_message_that_no_source_takes_is_told_the_nearest(
    kind: str, event: str | None, sentence: str
) -> None:
    found = router().route(kind, {**MESSAGE, "event": event})
    assert isinstance(found, Rejected)
    assert sentence in str(found.reasons[0])


def test_without_sources_everything_is_told_so() -> None:
    found = Router([]).route("track", MESSAGE)
    assert isinstance(found, Rejected)
    assert str(found.reasons[0]).endswith("taken are: none")


LIVE = "kind: event\nread: {collector: [track]}\nidentities: {customer: userId}\n"
CLOSED = "event: {column: event, values: [buy]}\n"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (LIVE + CLOSED, "", ""),
        (LIVE + "event: buy\nfields: {due: {type: date, format: '%-d/%m %y'}}\n", "", ""),
        (LIVE.replace("[track]", "[track], event: [Bought]") + "event: buy\n", "", ""),
        (LIVE.replace("[track]", "[track], event: [Bought]") + CLOSED, "W121", "tells this already"),
        (LIVE.replace("[track]", "[page], event: [Bought]") + "event: buy\n", "W121", "have an event"),
        (
            LIVE.replace("collector: [track]", "files: a.csv, event: [Bought]") + "event: buy\nat: t\n",
            "W121",
            "",
        ),
        (LIVE.replace("[track]", "[track], files: a.csv") + CLOSED, "W120", "Only one"),
        (LIVE.replace("track", "tracks") + CLOSED, "W", ""),
        (LIVE + CLOSED + "fields: {due: {type: date, format: '%U %Y'}}\n", "W122", "does not read %U"),
        (LIVE + CLOSED + "at: {column: sent, format: '%s'}\n", "W122", "does not read %s"),
    ],
)
def test_a_source_of_messages_is_checked(tmp_path: Path, text: str, code: str, words: str) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "tilltal.yaml").write_text("name: bank\n", encoding="utf-8")
    (tmp_path / "sources/live.yaml").write_text(text, encoding="utf-8")
    faults = check_folder(tmp_path)
    assert [fault.code for fault in faults if not code or not fault.code.startswith(code)] == []
    assert bool(faults) == bool(code)
    assert all(words in fault.message for fault in faults)


def test_whatever_comes_is_kept_or_explained() -> None:
    random = Random(7)
    contracts = [contract(BOUGHT), contract({**BOUGHT, "event": "bought"}, "all")]
    taken = Router(contracts)
    outcomes = [0, 0]
    for _ in range(20_000):
        document = mutated(random)
        routed = taken.route("track", document)
        for one in contracts if isinstance(routed, Rejected) else routed:
            found = one.read(document, micros(NOW))
            outcomes[isinstance(found, Row)] += 1
            if isinstance(found, Row):
                assert msgspec.msgpack.decode(found.body) is not None
            else:
                assert found.reasons
                assert all(str(reason) for reason in found.reasons)
    assert min(outcomes) > 1000


def test_endless_nesting_is_no_json() -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    assert codes({**MESSAGE, "properties": {"items": nested}}) == ["S326"]


def mutated(random: Random) -> dict[str, object]:
    """Make a message with junk in some places."""
    document = {**MESSAGE, "properties": {"amount": random.uniform(-1, 50), "items": junk(random, 0)}}
    for _ in range(random.randint(0, 3)):
        document[random.choice((*MESSAGE, "properties.amount", "properties.due"))] = junk(random, 0)
    return document


def junk(random: Random, depth: int) -> object:
    """Make anything that a JSON decoder may give, and some things that it never does."""
    if depth < 6 and random.random() < 0.3:
        inner = [junk(random, depth + 1) for _ in range(random.randint(0, 4))]
        names = ("amount", "due", "payee", "", "å", "\x00")
        return inner if random.random() < 0.5 else dict(zip(random.choices(names, k=4), inner, strict=False))
    if random.random() < 0.3:
        return "".join(random.choices(LETTERS, k=random.randint(0, 30)))
    return random.choice((*ODD, random.randint(-(10**20), 10**20), random.uniform(-1e9, 1e9)))


LETTERS = "0123456789-:T.Z+, eE\u00a0\ud800😀aÅ\x00\x1f\"'\\%{}[]"
ODD: tuple[object, ...] = (
    None, True, False, 10**5000, -(10**400), float("nan"), float("inf"), -0.0, 5e-324, 1.7e308, NOW,
    datetime.min, datetime.max.replace(tzinfo=UTC), b"bytes", object(), (1, 2), "2026-05-04T10:00:00Z",
    "99991231", "1" * 5000,
    "2026-W19-1T10:00:00Z", "Card Purchase",
)  # fmt: skip
