"""Fields of type `any` mean the same wherever they come from: from files and messages, in both tempos."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.commands import run

from tilltal.core.ids import profile_text
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.live.contract import Message
from tilltal.runtime.live.history import catching_up
from tilltal.runtime.live.history.compaction import compact_now
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.load import load

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT = "2026-03-02T09:00:00Z"
SPOKEN: Sequence[object] = (
    *(1, 1.0, 2.5, -3, 10**30, 1e-7, True, False, "abc", 'Å " b', "12", "2.5", "true", "null", "012"),
    *({"a": 1}, [1, "x"], None, "", "  padded "),
)
WRITTEN = ("1", "1.0", "2.5", "-3", "1e3", "true", "abc", '"abc"', "012", "TRUE", "1,5", ".5", "1e999", "")
COUNTS = {
    "messages": len(SPOKEN), "lines": len(SPOKEN), "table": len(WRITTEN), "written": len(WRITTEN),
    "texts": 3, "numbers": 3,
}  # fmt: skip
FILES = {
    "tilltal.yaml": "{name: shop, time_zone: UTC, currency: SEK}",
    "identity.yaml": "namespaces: [{name: crm, unique: true}]",
    "sources/messages.yaml": """{kind: event, read: {collector: [track]}, identities: {crm: userId},
        event: told, fields: {thing: {type: any, column: properties.thing}}}""",
    "traits/all.yaml": "{measure: count, from: [told]}",
    "traits/sum.yaml": "{measure: sum, of: thing, from: [told]}",
    "traits/most.yaml": "{measure: max, of: thing, from: [told]}",
    "traits/kinds.yaml": "{measure: distinct, of: thing, from: [told]}",
    "traits/large.yaml": "{measure: count, from: [told], where: thing > 2}",
    "traits/words.yaml": "{measure: count, from: [told], where: thing = 'abc'}",
    "traits/twelve.yaml": "{measure: count, from: [told], where: thing = '12'}",
    "traits/long.yaml": "{measure: count, from: [told], where: LENGTH(thing) > 3}",
    "traits/yes.yaml": "{measure: count, from: [told], where: thing = TRUE}",
}
FILE = """{{kind: event, read: {{files: data/{0}}}, identities: {{crm: customer}}, id: id, at: at,
    event: told, fields: {{thing: any}}}}"""
TRAITS = tuple(name[7:-5] for name in FILES if name.startswith("traits/"))


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def rows(customer: str, things: Sequence[object]) -> list[dict[str, object]]:
    return [
        {"id": f"{customer}{n}", "at": AT, "customer": customer, "thing": thing}
        for n, thing in enumerate(things)
    ]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one customer for each format of file; messages are of yet another."""
    monkeypatch.setattr(catching_up, "_LOOK_SECONDS", 0.05)
    root = tmp_path / "shop"
    names = ("lines.jsonl", "table.csv", "texts.parquet", "numbers.parquet", "written.jsonl")
    write(root, FILES | {f"sources/{name.replace('.', '_')}.yaml": FILE.format(name) for name in names})
    lines = {"lines": rows("lines", SPOKEN), "written": rows("written", [_read(one) for one in WRITTEN])}
    texts = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines["lines"])
    write(root, {"data/lines.jsonl": texts})
    write(root, {"data/written.jsonl": "".join(json.dumps(row) + "\n" for row in lines["written"])})
    with (root / "data/table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("id", "at", "customer", "thing"))
        table.writeheader()
        table.writerows(rows("table", WRITTEN))
    for name, things in (("texts", ["12", "abc", "true"]), ("numbers", [12.0, 0.5, None])):
        pq.write_table(pa.Table.from_pylist(rows(name, things)), root / f"data/{name}.parquet")
    return root


def _read(text: str) -> object:
    """Return what a cell of a CSV file says."""
    if text in ("1e999", '"abc"') or not text:  # beyond all numbers; a text in quotes; nothing
        return text or None
    try:
        return json.loads(text)
    except ValueError:
        return text


Told = dict[str, object]


async def told(server: LiveServer, customer: str) -> tuple[str, Told] | None:
    """Return a customer's profile and traits, once all of a file is there."""
    found = await server.profile("crm", customer)
    if found is None or found.traits["all"] != COUNTS[customer]:
        return None
    return found.profile, {name: found.traits[name] for name in TRAITS}


async def live(root: Path) -> dict[str, tuple[str, Told]]:
    """Send the messages, let the files arrive, and return everybody's profile and traits."""
    async with open_server(root, lambda: NOW, Silent(), {}) as server:
        messages = [
            Message(
                index=n, type="track", message_id=f"m{n}", user_id="messages", anonymous_id=None,
                timestamp=datetime.fromisoformat(AT),
                document={"type": "track", "event": "told", "userId": "messages", "messageId": f"m{n}",
                          "timestamp": AT, "properties": {"thing": thing}},
            )
            for n, thing in enumerate(SPOKEN)
        ]  # fmt: skip
        assert (await server.collect(messages, NOW)).accepted == len(messages)
        found: dict[str, tuple[str, Told]] = {}
        async with asyncio.timeout(10):
            while len(found) < len(COUNTS):
                for one in COUNTS:
                    if (now := await told(server, one)) is not None:
                        found[one] = now
                await asyncio.sleep(0.02)
        return found


def refreshed(root: Path) -> dict[str, Told]:
    """Return traits by profile as a refresh finds them; it reads the log beside Parquet."""
    assert run("refresh", root, "--as-of", NOW.isoformat()) == 0
    folder = store_of(load(root)).current_snapshot()
    with DuckDBEngine() as engine:
        names = ", ".join(f'"{name}"' for name in TRAITS)
        found = engine.rows(f"SELECT profile, {names} FROM read_parquet('{folder}/profiles.parquet')")
    return {profile_text(profile): dict(zip(TRAITS, row, strict=True)) for profile, *row in found}


@pytest.mark.parametrize("is_moved", [False, True], ids=["log", "parquet"])
def test_an_untyped_value_means_the_same_wherever_it_comes_from(shop: Path, *, is_moved: bool) -> None:
    assert run("ingest", shop) == 0
    found = asyncio.run(live(shop))
    traits = {customer: one for customer, (_, one) in found.items()}
    assert traits["messages"] == traits["lines"]
    assert traits["table"] == traits["written"]
    if is_moved:
        assert compact_now(load(shop), NOW) == len(SPOKEN)
    batch = refreshed(shop)
    assert {customer: batch[profile] for customer, (profile, _) in found.items()} == traits


def test_what_each_says(shop: Path) -> None:
    assert run("ingest", shop) == 0
    traits = {customer: one for customer, (_, one) in asyncio.run(live(shop)).items()}
    spoken, written = traits["lines"], traits["table"]
    assert (spoken["words"], spoken["twelve"], spoken["yes"], spoken["most"]) == (1, 1, 1, 1e30)
    assert (written["words"], written["twelve"], written["yes"], written["sum"]) == (1, 0, 1, 1001.5)
    assert (traits["texts"]["twelve"], traits["texts"]["sum"]) == (1, None)
    assert (traits["numbers"]["twelve"], traits["numbers"]["sum"]) == (0, 12.5)
