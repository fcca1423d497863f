"""The report in a real browser at a desk, on a phone and on paper: nothing sticks out, complains or calls."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser.chromium import PROGRAM, Chromium
from tests.report_bank import report_bank

from tilltal.runtime.answers.report import write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs chromium (apt install chromium)"),
]

# what sticks out to the right of the window, apart from what lies in a region that scrolls by itself
OVERFLOWING = """
[...document.querySelectorAll('body *')]
  .filter(each => !each.closest('.scroll') && !each.closest('.skip'))
  .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5 && each.checkVisibility())
  .map(each => each.outerHTML.slice(0, 120))
"""
SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('body *')]
  .filter(each => !each.closest('svg'))
  .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(each => parseFloat(getComputedStyle(each).fontSize)))
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report_bank(tmp_path_factory.mktemp("bank")).workspace)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_nothing_sticks_out(chromium: Chromium, page: Path, width: int) -> None:
    chromium.open(page, width)
    assert chromium.evaluate("innerWidth") == width
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    assert chromium.evaluate(OVERFLOWING) == []
    header = chromium.screenshot()[16:24]
    seen_width, height = struct.unpack(">II", header)
    assert seen_width == width
    assert height > 3000


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_asked_of_the_network_and_nothing_complains(
    chromium: Chromium, page: Path, width: int
) -> None:
    chromium.open(page, width)
    chromium.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    asked = [event["request"]["url"] for event in chromium.seen("Network.requestWillBeSent")]
    assert asked == [page.as_uri()]
    assert chromium.seen("Log.entryAdded") == []
    assert chromium.seen("Runtime.consoleAPICalled") == []
    assert chromium.seen("Runtime.exceptionThrown") == []


def test_text_is_large_enough_on_a_phone(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 360)
    assert chromium.evaluate(SMALLEST_TEXT) >= 11


def test_text_in_pictures_is_large_enough_on_a_phone(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 360)
    sizes = chromium.evaluate(
        "[...document.querySelectorAll('svg text')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(sizes) > 20
    assert min(sizes) >= 8


def test_details_open_without_script_and_then_fit(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 360)
    assert chromium.evaluate("document.querySelectorAll('details').length") >= 3
    chromium.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert chromium.evaluate(OVERFLOWING) == []


def test_the_page_prints(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 1280)
    paper = chromium.pdf()
    assert paper.startswith(b"%PDF-")
    pages = paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ")
    assert 5 <= pages <= 25


def test_numbers_behind_pictures_stand_on_paper(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 1280)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    heights = chromium.evaluate(
        "[...document.querySelectorAll('details table')].map(each => each.getBoundingClientRect().height)"
    )
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert heights
    assert min(heights) > 20
