"""A message read at once and the same as a line of a JSON Lines file: same values, reasons and ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.instants import micros
from tilltal.core.names import literal
from tilltal.core.time import zone_of
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.normalise import Normaliser
from tilltal.sources import clock, reading
from tilltal.sources.casts import Context
from tilltal.sources.checked import Plan, checked, identifier_texts
from tilltal.sources.history import kept_fields, personal_fields
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.online import clock as online_clock
from tilltal.sources.online.contract import OnlineContract, Row
from tilltal.sources.reasons import Reason, read
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.sources import Source

NOW = datetime(2026, 5, 4, 10, 0, 0, 123456, tzinfo=UTC)
ZONES = ("Europe/Stockholm", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
CURRENCIES = ("SEK", "JPY", "KWD")
NAMESPACES = ("customer", "email", "phone", "device")
IDENTITY = msgspec.convert(
    {
        "namespaces": [
            {"name": "customer"},
            {"name": "email", "direct": True, "normalise": "email"},
            {"name": "phone", "direct": True, "normalise": "phone", "region": "SE"},
            {"name": "device", "kind": "device"},
        ]
    },
    Identity,
)
FORMATS = (
    "%d.%m.%Y", "%Y%m%d", "%y%m%d", "%d %b %Y", "%d %B %y", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%H:%M",
    "%Y-%m-%d %H:%M:%S%z", "%-d/%-m %Y", "%m%%%Y", "T%Y T", "%S.%M.%H %d%m%Y",
)  # fmt: skip
COLUMNS = ("own", "deep.own", "deep.inner.own", "deep.0", "åäö", "deep.list.1", "deep.~a/b", "event")
WORDS = ("sv", "a b", "Å", "1", "true", "buy", "sell", "2026-05-04", "x" * 60)
TYPES = ("text", "integer", "number", "money", "boolean", "date", "timestamp", "any")


def sources(random: Random) -> Source:
    """Make a source of any kind with any options."""
    kind = random.choice(("event", "event", "event", "record", "holding", "consent"))
    collector = {"collector": ["track"]}
    spec: dict[str, object] = {"kind": kind, "read": collector, "identities": _identities(random)}
    if random.random() < 0.3 and kind != "holding":
        spec["at"] = _column(random, time=True)
    if random.random() < 0.1:
        spec["id"] = random.choice(COLUMNS)
    if kind == "event":
        spec["event"] = "bought" if random.random() < 0.3 else _closed(random)
    if kind == "holding":
        spec |= {"product": _closed(random), "opened": _column(random, time=True)}
        if random.random() < 0.7:
            spec["closed"] = _column(random, time=True)
    if kind == "consent":
        spec |= {"purpose": _column(random), "channel": random.choice(("*", _column(random)))}
        spec["granted"] = random.choice((True, False, _column(random)))
    if kind == "record" and random.random() < 0.3:
        spec.pop("at", None)
        spec["effective"] = "2026-03-29T02:30:00"
    if kind in ("event", "record"):
        spec["fields"] = {f"f{n}": _field(random) for n in range(random.randint(1, 7))}
    return msgspec.convert(spec, Source)


def _identities(random: Random) -> dict[str, object]:
    chosen = random.sample(NAMESPACES, random.randint(1, len(NAMESPACES)))
    return {name: _column(random) if random.random() < 0.3 else f"ids.{name}" for name in chosen}


def _column(random: Random, *, time: bool = False) -> object:
    column: dict[str, object] = {"column": random.choice((*COLUMNS, "timestamp"))}
    if time and random.random() < 0.4:
        column["format"] = random.choice(FORMATS)
    if time and random.random() < 0.4:
        column["time_zone"] = random.choice(ZONES)
    if not time and random.random() < 0.3:
        column["map"] = {random.choice(WORDS): random.choice(WORDS) for _ in range(2)}
    if not time and random.random() < 0.2:
        column["values"] = random.sample(WORDS, 4)
    return column if len(column) > 1 else column["column"]


def _closed(random: Random) -> object:
    values = random.sample(WORDS, 5)
    return {"column": random.choice(COLUMNS), "map": {"1": "buy", "Card Sold": "sell"}, "values": values}


def _field(random: Random) -> object:
    kind = random.choice(TYPES)
    field: dict[str, object] = {"type": kind, "column": random.choice(COLUMNS)}
    if kind in ("integer", "number", "money"):
        field["decimal"] = random.choice((".", ".", ","))
        low = random.choice((None, -1000, 0, 0.015, 0.29, 1e20))
        high = random.choice((None, 1000, 19.9, 1e6, 1e25))
        field |= {"minimum": low, "maximum": None if low and high and low > high else high}
    if kind == "money":
        field["unit"] = random.choice(("major", "major", "minor"))
    if kind in ("date", "timestamp") and random.random() < 0.5:
        field |= {"format": random.choice(FORMATS), "time_zone": random.choice(ZONES)}
    if kind in ("text", "any") and random.random() < 0.3:
        field["values"] = random.sample(WORDS, 4)
    if random.random() < 0.2:
        field["map"] = {random.choice(WORDS): random.choice(WORDS), "1": "2", "-": ""}
    if random.random() < 0.2:
        field["required"] = True
    if random.random() < 0.2:
        field["labels"] = ["identity"]
    return field


def documents(random: Random, source: Source) -> dict[str, object]:
    """Make a message: mostly what its source wants, with junk wherever there can be any."""
    document = _anything(random)
    wanted = [one for one in inputs_of(source) if one.column in ("own", "åäö", "event", "deep.own")]
    for one in wanted:
        if random.random() < 0.85:
            document[one.column] = _wanted(random, one)
    for one in inputs_of(source):
        if one.column.startswith("deep.") and one not in wanted and random.random() < 0.85:
            document[one.column] = _wanted(random, one)
    return document


def _wanted(random: Random, one: Input) -> object:
    moment = NOW - timedelta(seconds=random.randint(0, 10**9))
    if one.type in ("date", "timestamp"):
        return moment.strftime(one.format.replace("%-", "%")) if one.format else moment.isoformat()
    if one.values or one.map:
        return random.choice((*one.values, *one.map))
    if one.type == "boolean":
        return random.choice((True, False, "yes", "0"))
    if one.type in ("integer", "number", "money"):
        return random.choice(
            (random.randint(0, 19), round(random.uniform(0, 19), 2), str(random.randint(0, 19)))
        )
    return random.choice(WORDS)


def _anything(random: Random) -> dict[str, object]:
    document: dict[str, object] = {
        "messageId": f"m-{random.random()}",
        "timestamp": (NOW - timedelta(seconds=random.randint(-400, 10**7))).isoformat(),
        "ids": {name: _identifier(random, name) for name in NAMESPACES if random.random() < 0.8},
        "deep": {column.rpartition(".")[2]: _value(random) for column in COLUMNS if random.random() < 0.7},
    }
    document |= {
        name: _value(random) for name in ("own", "åäö", "deep.own", "event") if random.random() < 0.7
    }
    if random.random() < 0.5:
        deep = document["deep"]
        assert isinstance(deep, dict)
        deep |= {
            "inner": {"own": _value(random)},
            "list": [_value(random) for _ in range(random.randint(0, 3))],
        }
    if random.random() < 0.2:
        document["deep"] = _value(random)
    if random.random() < 0.1:
        document[random.choice(("messageId", "timestamp"))] = _value(random)
    return document


IDENTIFIERS: tuple[object, ...] = (
    None, "", " ", "null", "0000", 0, 12, True, "undefined", "[object Object]", "\u00a0K\u2003", {}, [1],
)  # fmt: skip
OFFSETS = (
    "", "", "Z", "Z", "z", " Z", "+02", "+0200", "+02:00", "-11:30", "+99:99", "+2", "-00:30", "\t+01",
)  # fmt: skip
JUNK = (
    None, "", " ", "-", "nan", "-Infinity", "epoch", "İnf", "NaN", "𝟙", "٣", "²", "1_000", "0x10", "\x00",
    "\x1f", "a\nb", "'; --", '"', "\\", "😀" * 50, "\ufeff1", "1\u200b", "ǅ", "ß",
)  # fmt: skip
SPOKEN = (*WORDS, "Card Sold", "bought", "yes", "F", "NO", "t", "tRUE", " sv ", "sv\t", "\u2003buy")
DECIMALS = ("", "0", "00", "5", "50", "505", "0000000000004", "0000000000005", "9" * 14)
POWERS = ("", "", "", "", "e2", "E-2", "e+1", "e400", "e-400", "e40000", "e9999999999999999999999", "e")


def _identifier(random: Random, namespace: str) -> object:
    usual = {"email": f"A{random.randint(1, 99)}@x.se", "phone": f"070-123 45 {random.randint(10, 99)}"}
    if random.random() < 0.3:
        return random.choice(IDENTIFIERS)
    return usual.get(namespace, f"K{random.randint(1, 99)}")


def _value(random: Random, depth: int = 0) -> object:
    if depth < 2 and random.random() < 0.06:
        return {random.choice(("a", 'å"\n', "")): _value(random, depth + 1)}
    if depth < 2 and random.random() < 0.04:
        return [_value(random, depth + 1) for _ in range(random.randint(0, 3))]
    choice = random.choice((_number, _digits, _time, _formatted, None))
    return random.choice((*SPOKEN, *JUNK)) if choice is None else choice(random)


def _number(random: Random) -> object:
    sign = random.choice((1, -1))
    return random.choice(
        (
            random.randint(-5, 5),
            random.randint(-(10**9), 10**9),
            sign * 2 ** random.randint(50, 66) + random.randint(-2, 2),
            sign * 10 ** random.randint(15, 40),
            round(random.uniform(-2000, 2000), random.randint(0, 5)),
            random.uniform(-1, 1) * 10 ** random.randint(-20, 40),
            round(random.uniform(0, 10**13), 2),
            float(random.randint(-(10**6), 10**6)),
            random.choice((0.1 + 0.2, -0.0, 5e-13, 1e22, True, False)),
        )
    )


def _digits(random: Random) -> object:
    sign = random.choice(("", "", "+", "-"))
    whole = random.choice(("0", "7", "12", "0012", "1234", str(2**63 - 1), str(2**63)))
    grouped = random.choice(("1 234", "1\u00a0234\u202f567", "12 34", "1 234 567", "1  234"))
    point = random.choice((".", ",", "", ".."))
    return sign + random.choice((whole, grouped)) + point + random.choice(DECIMALS) + random.choice(POWERS)


def _time(random: Random) -> object:
    year = random.choice((0, 1, 1899, 1900, 1950, 1999, 2025, 2026, 2026, 2026, 2027, 2100, 9999))
    month = random.choice((random.randint(1, 12), 2, 0, 13))
    day = random.choice((random.randint(1, 28), 29, 31, 0))
    text = random.choice((f"{year:04}-{month:02}-{day:02}", f"{year:04}-{month}-{day}"))
    if random.random() < 0.2:
        return text
    hour, minute = random.choice((random.randint(0, 23), 2, 24)), random.choice((0, 30, 59, 60))
    text += random.choice("T ") + random.choice((f"{hour:02}", f"{hour}")) + f":{minute:02}"
    if random.random() < 0.8:
        second = random.choice((":00", ":59", ":60"))
        text += second + random.choice(("", ".1", ".123", ".123456", ".9999999", "."))
    return text + random.choice(OFFSETS)


def _formatted(random: Random) -> object:
    moment = NOW - timedelta(seconds=random.randint(-(10**6), 10**9))
    text = moment.strftime(random.choice(FORMATS).replace("%z", "").replace("%-", "%"))
    text += random.choice(("", "", "", "", "+0200", "+02:00", "Z", "-0030", "x", " "))
    if random.random() < 0.2:
        text = text.replace(" ", "  ").upper()
    return text.replace("0", "") if random.random() < 0.2 else text


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    """An engine that keeps the order of a file's lines."""
    with DuckDBEngine(threads=1) as engine:
        engine.run("SET preserve_insertion_order = true")
        yield engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files."""
    return tmp_path_factory.mktemp("lines")


def batch_outcomes(
    engine: DuckDBEngine, folder: Path, source: Source, lines: Sequence[str], context: Context
) -> list[object]:
    """Return of each line of a file the reasons why it is turned away, or what history keeps of it."""
    file, raw = folder / "lines.jsonl", folder / "raw.parquet"
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    engine.run("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    engine.run(reading.lines_to_parquet(str(file), "none", str(raw)))
    table = reading.json_table(str(raw), inputs_of(source))
    names = list(source.identities)
    normaliser = Normaliser(IDENTITY, NOW.astimezone(context.zone).date())
    for n, (one, namespace) in enumerate(zip(inputs_of(source), names, strict=False)):
        texts = [row[0] for row in engine.rows(identifier_texts(table, one))]
        values = normaliser.all(namespace, texts)
        known = [(text, value) for text, value in zip(texts, values, strict=True) if value is not None]
        columns = {"text": [text for text, _ in known], "token": [value for _, value in known]}
        schema = pa.schema([("text", pa.string()), ("token", pa.string())])
        engine.register("incoming", pa.table(columns, schema=schema))
        engine.run(f"CREATE OR REPLACE TEMP TABLE tokens_{n} AS FROM incoming")
    order = [namespace.name for namespace in IDENTITY.namespaces]
    plan = Plan(
        name="s",
        source=source,
        table=table,
        tokens=tuple(f"tokens_{n}" for n in range(len(names))),
        ranks=tuple(sorted(range(len(names)), key=lambda n: order.index(names[n]))),
        context=context,
        now=NOW,
    )
    texts_of = ", ".join(f"CAST(field_{n} AS VARCHAR) AS personal_{n}" for n, _ in personal_fields(source))
    also = f", {texts_of}" if texts_of else ""
    engine.run(f"CREATE OR REPLACE TEMP TABLE made AS {checked(plan)}")
    bad = engine.rows("SELECT k, reasons FROM made WHERE reasons IS NOT NULL")
    good = engine.arrow(f"SELECT *{also} FROM made WHERE reasons IS NULL").to_pylist()
    outcomes: dict[object, object] = {k: sentences(map(read, reasons)) for k, reasons in bad}
    outcomes |= {row["k"]: _kept(source, plan, row) for row in good}
    return [outcomes[k] for k in range(len(lines))]


def sentences(reasons: Iterable[Reason]) -> list[str]:
    """Return the sentences of reasons, each once."""
    return list(dict.fromkeys(str(reason) for reason in reasons))


def _kept(source: Source, plan: Plan, row: dict[str, object]) -> object:
    fields = {one.name: _said(one, row[f"field_{n}"]) for n, one in kept_fields(source)}
    if source.kind == "holding":
        fields = {name: row.get(name) for name in ("product", "opened", "closed")}
    if source.kind == "consent":
        fields = {name: row.get(name) for name in ("purpose", "channel", "granted")}
        fields["channel"] = fields["channel"] or "*"
    names = list(source.identities)
    tokens = [(names[n], row[f"token_{n}"]) for n in plan.ranks if row[f"token_{n}"] is not None]
    assert tokens[0][1] == row["identity"]
    at, received = row["at"], row["received"]
    assert isinstance(at, datetime)
    assert isinstance(received, datetime)
    return Outcome(
        event_id=str(row["event_id"]),
        message=row["message"],
        at=micros(at.replace(tzinfo=UTC)),
        received=micros(received.replace(tzinfo=UTC)),
        name=row["event"] if source.kind == "event" else "s",
        identities=tokens,
        fields=_stated(fields),
        personal=_stated({one.name: row[f"personal_{n}"] for n, one in personal_fields(source)}),
    )


def _said(one: Input, value: object) -> object:
    """Return a value of history: an untyped one is JSON."""
    return json.loads(value) if one.type == "any" and isinstance(value, str) else value


def _stated(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a message."""

    event_id: str
    message: object
    at: int
    received: int
    name: object
    identities: list[tuple[str, object]]
    fields: dict[str, object]
    personal: dict[str, object]


def at_once(contract: OnlineContract, line: str, normaliser: Normaliser) -> object:
    """Return what the contract makes of a message, in the words of the batch."""
    found = contract.read(msgspec.json.decode(line), micros(NOW))
    if isinstance(found, Row):
        values = [(name, normaliser.one(name, text)) for name, text in found.identities]
        usable = [(name, value) for name, value in values if value is not None]
        if usable:
            return Outcome(
                event_id=str(UUID(bytes=found.event_id)),
                message=found.message_id,
                at=found.at,
                received=found.received,
                name=found.name,
                identities=list(usable),
                fields=_stated(found.fields),
                personal=dict(found.personal),
            )
        found = contract.nobody()
    return sentences(found.reasons)


def compared(seed: int, engine: DuckDBEngine, folder: Path, count: int) -> tuple[int, int, list[object]]:
    """Return how many fields and kept messages of one random source were compared, and all differences."""
    random = Random(seed)
    context = Context(currency=random.choice(CURRENCIES), zone=zone_of(random.choice(ZONES)))
    source = sources(random)
    lines = [documents(random, source) | {"receivedAt": NOW.isoformat()} for _ in range(count)]
    written = [json.dumps(line, ensure_ascii=False) for line in lines]
    contract = OnlineContract("s", source, context, IDENTITY)
    normaliser = Normaliser(IDENTITY, NOW.astimezone(context.zone).date())
    expected = batch_outcomes(engine, folder, source, written, context)
    found = [at_once(contract, line, normaliser) for line in written]
    wrong = [
        (seed, line, batch, online, source)
        for line, batch, online in zip(written, expected, found, strict=True)
        if repr(batch) != repr(online)
    ]
    kept = sum(isinstance(one, Outcome) for one in expected)
    return count * len(inputs_of(source)), kept, list(wrong)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-5-4 1:00Z", None),
        ("2026-5-4 1:00", None),
        ("epoch", "%Y"),
        ("-Infinity", "%d %b"),
        ("May", "%b"),
    ],
)
def test_short_times_and_words_are_read_alike(engine: DuckDBEngine, text: str, form: str | None) -> None:
    zone = zone_of("Europe/Stockholm")
    ((found,),) = engine.rows(f"SELECT {clock.timestamp(literal(text), form, zone)}")
    expected = online_clock.timestamp(form, zone)(text)
    assert (None if found is None else micros(found.replace(tzinfo=UTC))) == expected
    assert (expected is None) == (text in ("epoch", "-Infinity"))


@settings(max_examples=18, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_messages_and_lines_of_a_file_are_read_alike(seed: int, engine: DuckDBEngine, folder: Path) -> None:
    fields, _, wrong = compared(seed, engine, folder, 60)
    assert fields
    assert wrong == []


@pytest.mark.slow
def test_a_hundred_thousand_fields_are_read_alike(engine: DuckDBEngine, folder: Path) -> None:
    fields = kept = seed = 0
    while fields < 120_000:
        seed += 1
        more, sound, wrong = compared(seed, engine, folder, 150)
        assert wrong == []
        fields, kept = fields + more, kept + sound
    assert kept > 1000
