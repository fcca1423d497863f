"""The page: self-contained, accessible, escaped, and without sections that have no data."""

from __future__ import annotations

import itertools
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.report_bank import report_bank

from tilltal.runtime.answers.report import write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}
Attributes = dict[str, str | None]


class Page(HTMLParser):
    """The page's elements in order, each with the tags around it and the text inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.elements: list[tuple[str, Attributes, tuple[str, ...]]] = []
        self.texts: list[list[str]] = []
        self._open: list[tuple[str, int]] = []
        self.feed(text)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(name for name, _ in self._open)))
        self.texts.append([])
        if tag not in VOID:
            self._open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag: str) -> None:
        name, _ = self._open.pop()
        assert name == tag, f"</{tag}> closes <{name}>"

    def handle_data(self, data: str) -> None:
        for _, place in self._open:
            self.texts[place].append(data)

    def all(self, tag: str) -> list[tuple[Attributes, str]]:
        """Every element of a tag with its text, white space joined."""
        return [
            (attributes, " ".join("".join(text).split()))
            for (name, attributes, _), text in zip(self.elements, self.texts, strict=True)
            if name == tag
        ]


@cache
def page_of(*leave_out: str) -> Page:
    with TemporaryDirectory() as folder:
        bank = report_bank(Path(folder), leave_out=frozenset(leave_out))
        return Page(write_report(bank.workspace).read_text(encoding="utf-8"))


def section_ids(page: Page) -> list[str | None]:
    return [attributes["id"] for attributes, _ in page.all("section")]


ALL = [
    "funnel", "lifecycle", "value", "personas", "models", "actions", "why-not", "kpis", "penetration",
    "micro-segments", "reading",
]  # fmt: skip


def test_no_address_outside_the_file() -> None:
    page = page_of()
    assert not re.search(r"https?:|//[a-z]|xmlns|@import|url\(|srcset|data:", page.source, re.IGNORECASE)
    forbidden = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    assert not forbidden & {tag for tag, _, _ in page.elements}
    links = {
        value for _, attributes, _ in page.elements for key, value in attributes.items() if key == "href"
    }
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    assert not [key for _, attributes, _ in page.elements for key in attributes if key in ("src", "action")]
    assert not [key for _, attributes, _ in page.elements for key in attributes if key.startswith("on")]


def test_the_page_is_small() -> None:
    assert len(page_of().source.encode()) < 1_500_000


def test_every_section_is_there_in_the_order_of_the_story_and_linked() -> None:
    page = page_of()
    assert section_ids(page) == ALL
    targets = {attributes["href"] for attributes, _ in page.all("a")}
    assert targets == {f"#{name}" for name in ALL}


def test_ids_are_unique() -> None:
    ids = [attributes["id"] for _, attributes, _ in page_of().elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_language_and_the_title_are_stated() -> None:
    page = page_of()
    assert page.all("html")[0][0]["lang"] == "en"
    assert "testbank" in page.all("title")[0][1]


def test_headings_leave_out_no_level() -> None:
    levels = [int(tag[1]) for tag, _, _ in page_of().elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_picture_says_in_words_what_it_shows() -> None:
    pictures = page_of().all("svg")
    described = [attributes for attributes, _ in pictures if attributes.get("role") == "img"]
    assert len(described) > 10
    assert all(len(attributes.get("aria-label") or "") > 15 for attributes in described)
    assert all(
        attributes.get("role") == "img" or attributes.get("aria-hidden") == "true"
        for attributes, _ in pictures
    )


def test_every_table_has_a_caption_and_headers_of_rows_and_columns() -> None:
    page = page_of()
    assert len(page.all("caption")) == len(page.all("table")) > 8
    headers = [attributes for attributes, _ in page.all("th") if attributes.get("aria-hidden") != "true"]
    assert {attributes.get("scope") for attributes in headers} == {"row", "col"}


def test_rows_of_a_table_are_as_long_as_its_header() -> None:
    tables = _widths(page_of().source)
    assert len(tables) > 8
    assert all(len(widths) == 1 for widths in tables)


def _widths(source: str) -> list[set[int]]:
    tables = re.findall(r"<table.*?</table>", source, re.DOTALL)
    rows = [re.findall(r"<tr>.*?</tr>", table, re.DOTALL) for table in tables]
    return [{len(re.findall(r"<t[dh][ >]", row)) for row in table} for table in rows]


def test_what_scrolls_can_be_reached_and_named() -> None:
    regions = [attributes for attributes, _ in page_of().all("div") if attributes.get("class") == "scroll"]
    assert regions
    for region in regions:
        assert region["tabindex"] == "0"
        assert region["role"] == "region"
        assert region["aria-label"]


def test_a_micro_segment_says_what_it_has_none_of() -> None:
    headings = [text for _, text in page_of().all("h3")]
    assert "Loyal · Royals · Careful · no leading product" in headings
    assert "Loyal · Royals · Careful · Product 1" in headings


def test_names_are_text_whatever_they_hold() -> None:
    page = page_of()
    assert "Card &lt;b&gt;&amp; more&lt;/b&gt;" in page.source
    assert not page.all("b")
    assert not page.all("i")


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        (
            ("lifecycle.yaml", "transitions", "relations", "kpis", "penetration"),
            {"lifecycle", "kpis", "penetration"},
        ),
        (("value.yaml",), {"value"}),
        (("personas.yaml", "persona_map"), {"personas"}),
        (("models",), {"models"}),
        (("funnel",), {"why-not"}),
        (("micro_segments",), {"micro-segments"}),
        (
            tuple(f"actions/{name}/action.yaml" for name in ("fund", "card", "never")),
            {"actions", "why-not"},
        ),
    ],
)
def test_a_section_without_data_is_left_out_and_not_linked(missing: tuple[str, ...], gone: set[str]) -> None:
    page = page_of(*missing)
    assert section_ids(page) == [name for name in ALL if name not in gone]
    assert {attributes["href"] for attributes, _ in page.all("a")} == {
        f"#{name}" for name in ALL if name not in gone
    }


def test_a_bank_without_customers_has_a_page(tmp_path: Path) -> None:
    bank = report_bank(tmp_path, is_empty=True)
    page = Page(write_report(bank.workspace).read_text(encoding="utf-8"))
    assert "Nobody has a next best action today" in page.source
    assert "nan" not in re.sub(r"<style>.*</style>", "", page.source, flags=re.DOTALL).lower().split()


# -- contrast as WCAG 2.2 defines it: 4.5 : 1 for text (1.4.3), 3 : 1 for what a picture needs (1.4.11) ------


def luminance(colour: tuple[float, float, float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def rgb(colour: str) -> tuple[float, float, float]:
    return (int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255)


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(over: str, under: str, part: float) -> tuple[float, float, float]:
    a, b = rgb(over), rgb(under)
    return (
        part * a[0] + (1 - part) * b[0],
        part * a[1] + (1 - part) * b[1],
        part * a[2] + (1 - part) * b[2],
    )


def palette() -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", page_of().source))


@pytest.mark.parametrize(
    ("text", "ground"),
    [(text, ground) for text in ("ink", "soft", "accent", "second") for ground in ("paper", "card")]
    + [("on-band", "band"), ("on-band-soft", "band")],
)
def test_text_stands_out_from_its_ground(text: str, ground: str) -> None:
    colours = palette()
    assert contrast(rgb(colours[text]), rgb(colours[ground])) >= 4.5


@pytest.mark.parametrize(("tint", "part"), [("accent", 0.45), ("second", 0.38)])
def test_figures_stand_out_from_the_darkest_cell(tint: str, part: float) -> None:
    source, colours = page_of().source, palette()
    red, green, blue = (round(255 * each) for each in rgb(colours[tint]))
    assert f"rgb({red} {green} {blue} / calc(var(--h, 0) * {str(part).lstrip('0')}))" in source
    assert contrast(rgb(colours["ink"]), mixed(colours[tint], colours["paper"], part)) >= 4.5


def test_marks_of_personas_stand_out_and_differ_in_shape() -> None:
    source = page_of().source
    marks = re.findall(r"\.m\d \{ stroke: (#[0-9a-f]{6})", source)
    assert len(marks) == 8
    assert all(contrast(rgb(mark), rgb("#ffffff")) >= 3 for mark in marks)
    shapes = re.findall(r'<path class="mark m\d" d="M4 4([^"]+)"', source)
    assert len(shapes) == len(set(shapes)) == 3
