"""Every example of the API's reference works against the demo bank, in the order of the page."""

from __future__ import annotations

import asyncio
import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.api.real import Answer, RealApi, real_api

from tilltal.demo.demo import prepare
from tilltal.runtime.intake.ingest import ingest
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/api.md"
EXAMPLES = re.findall(r"^```http\n(GET|POST|DELETE) (\S+)\n(.*?)```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo bank with its data taken in."""
    root = tmp_path_factory.mktemp("api-page") / "demo"
    prepare(root, customers=60, months=2, seed=1, progress=Silent())
    ingest(usable(root), None, Silent(), now=datetime.now(UTC))
    return root


def customers(root: Path) -> list[str]:
    """Return the customer numbers of the bank's CRM."""
    with sorted((root / "data/crm").glob("kunder-*.csv"))[0].open(encoding="cp1252", newline="") as lines:
        return [row["Kundnummer"] for row in csv.DictReader(lines, delimiter=";")]


async def somebody(api: RealApi, root: Path) -> str:
    """Return a customer for whom there is an action by e-mail."""
    for customer in customers(root):
        asked = {"identity": {"customer": customer}, "channel": "email"}
        if (await api.post("/v1/decide", asked)).json()["actions"]:
            return customer
    raise AssertionError("nobody gets anything")


class Words:
    """What stands in the examples for what only answers tell."""

    def __init__(self, customer: str) -> None:
        self._words = {"CUSTOMER": customer}

    def said(self, text: str) -> str:
        """Put them in."""
        return re.sub(r"\b(CUSTOMER|DECISION|ACTION|KEY)\b", lambda found: self._words[found[0]], text)

    def learn(self, url: str, answer: Any) -> None:
        """Take them from an answer."""
        if url == "/v1/decide":
            self._words |= {"DECISION": answer["decision_id"], "ACTION": answer["actions"][0]["action"]}
        if url == "/v1/keys":
            self._words["KEY"] = answer["key"]["id"]


def test_every_example_works(bank: Path) -> None:
    async def story() -> list[tuple[str, Answer]]:
        found = []
        async with real_api(bank) as api:
            words = Words(await somebody(api, bank))
            for method, url, body in EXAMPLES:
                answer = await api.send(method, words.said(url), words.said(body).encode())
                assert answer.status in (200, 204), (method, url, answer)
                if answer.status == 200:
                    words.learn(url, answer.json())
                found.append((url, answer))
        return found

    answers = asyncio.run(story())
    assert len(answers) >= 11
    told = {url: answer.json() for url, answer in answers if answer.status == 200}
    assert told["/v1/identify"] == told["/v1/batch"] == {"success": True}
    assert [one["outcome"] for one in told["/v1/responses"]["outcomes"]] == ["accepted"] * 2
    assert all(action["reasons"] for action in told["/v1/decide"]["actions"])
    assert len(told["/v1/decisions/DECISION/explain"]["responses"]) == 2
    profile = told["/v1/profiles/customer/CUSTOMER?names=city,mortgage_views_30d"]
    assert profile["attributes"]["city"]
    assert profile["traits"]["mortgage_views_30d"] >= 1
    timeline = told["/v1/profiles/device/cookie-1/timeline?limit=3"]["entries"]
    assert {entry["name"] for entry in timeline} >= {"page_view", "calculator_used"}


def test_every_route_has_its_place_on_the_page() -> None:
    from tests.api.live_fake import FakeService

    from tilltal.api.app import create_app

    text = PAGE.read_text("utf-8")
    for path in create_app(FakeService()).openapi_schema.to_schema()["paths"]:
        head = path.partition("{")[0].rstrip("/")
        assert head in text or head.removeprefix("/v1") in text, path
