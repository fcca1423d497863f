"""The page that describes the API to people: whole, and without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from tests.api.callers import Api
from tests.api.live_fake import FakeService

from tilltal.api.page import kind_of, operations


class Links(HTMLParser):
    """Collects what a page refers to, and what can be referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.to: set[str] = set()
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        self.tags.add(tag)
        found = dict(attrs)
        self.to |= {str(found[name]) for name in ("href", "src") if name in found}
        self.ids += [str(found["id"])] if "id" in found else []


@pytest.fixture(scope="module")
def page(shared: tuple[FakeService, Api]) -> str:
    answer = shared[1].get("/schema", None)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def test_it_needs_no_network_and_no_script(page: str) -> None:
    links = Links()
    links.feed(page)
    inside = {f"#{each}" for each in links.ids}
    assert links.to - inside == {"/schema/openapi.json"}
    assert len(links.ids) == len(set(links.ids))
    assert not links.tags & {"script", "link", "img", "iframe"}
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://", page)


def test_every_route_and_every_type_has_its_place(page: str, shared: tuple[FakeService, Api]) -> None:
    found: dict[str, Any] = shared[1].get("/schema/openapi.json", None).json()
    for path, method, one in operations(found):
        assert f'id="{one["operationId"]}"' in page
        assert f'<span class="method">{method.upper()}</span> {path}</h3>' in page
    for name, schema in found["components"]["schemas"].items():
        assert f'id="type-{name}"' in page
        assert all(f"<code>{part}</code>" in page for part in schema.get("properties", {}))


def test_the_description_says_what_types_are(shared: tuple[FakeService, Api]) -> None:
    schemas = shared[1].get("/schema/openapi.json", None).json()["components"]["schemas"]
    assert "currency" in schemas["TimelineEntry"]["description"]
    assert "\n    " not in schemas["DecideRequest"]["description"]
    assert schemas["DecideRequest"]["properties"]["count"]["anyOf"][0] == {
        "type": "integer", "minimum": 1, "maximum": 1000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "format": "date-time"}, "instant (ISO 8601)"),
        ({"enum": ["a", "b"]}, "a | b"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 60000}, "number, above 0, at most 60,000"),
        ({"type": "integer", "minimum": -(2**63)}, "whole number"),
        ({"additionalProperties": {"type": "string", "maxLength": 9}}, "text → text, up to 9 letters"),
        ({"type": "array", "items": {}}, "list of anything"),
    ],
)  # fmt: skip
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert "".join(text for text, _ in kind_of(schema)) == words
