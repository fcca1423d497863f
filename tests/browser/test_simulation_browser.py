"""The page of a simulation in a real browser, at a desk and on a phone: nothing sticks out or complains."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser.chromium import PROGRAM, Chromium
from tests.browser.test_report_browser import OVERFLOWING, SMALLEST_TEXT
from tests.commands import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs chromium (apt install chromium)"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    bank, other, out = folder / "bank", folder / "other", folder / "out"
    for command in ("init", "ingest", "refresh"):
        assert run(command, bank) == 0
    shutil.copytree(bank, other, ignore=shutil.ignore_patterns(".tilltal"))
    (other / "policies/arbitration.yaml").write_text("slots: 1\nfactors: {V: false}\n", encoding="utf-8")
    options = ("--experiments", "--by", "town", "--fair", "birth_year", "--fair", "town", "--margin", "0.01")
    assert run("simulate", bank, "--scenario", f"one={other}", *options, "--out", out) == 0
    return out / "simulation.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_sticks_out_complains_or_calls(chromium: Chromium, page: Path, width: int) -> None:
    chromium.open(page, width)
    chromium.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    assert chromium.evaluate(OVERFLOWING) == []
    asked = [event["request"]["url"] for event in chromium.seen("Network.requestWillBeSent")]
    assert asked == [page.as_uri()]
    assert chromium.seen("Log.entryAdded") == []
    assert chromium.seen("Runtime.exceptionThrown") == []


def test_text_is_large_enough_on_a_phone(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 360)
    assert chromium.evaluate(SMALLEST_TEXT) >= 11
    sizes = chromium.evaluate(
        "[...document.querySelectorAll('svg text')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(sizes) > 20
    assert min(sizes) >= 8
