"""The description of the API as a page for people: made from the OpenAPI description, without a script.

It refers to nothing outside itself, so it can be read where no network is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

Schema = Mapping[str, Any]

_SECTIONS = {
    "collect": "Messages of the tracking protocol: what customers do, and what is known of them.",
    "decide": "The best actions at this moment, what came of them, and why.",
    "read": "Customers, audiences, and what changes.",
    "admin": "API keys.",
    "health": "For machines that watch. These need no key.",
}
_REFERENCE = "#/components/schemas/"
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "object"}


class Part(msgspec.Struct, frozen=True):
    """A name with what it holds: a type in words, each as (text, name of a type described below or empty)."""

    name: str
    kind: Sequence[tuple[str, str]]
    is_required: bool
    notes: str


class Route(msgspec.Struct, frozen=True):
    """A method and an address; `statuses` tells of each status besides success what it means."""

    id: str
    method: str
    path: str
    summary: str
    scope: str
    parameters: tuple[Part, ...]
    takes: Sequence[tuple[str, str]]
    gives: Sequence[tuple[str, str]]
    statuses: tuple[tuple[str, str], ...]


class Described(msgspec.Struct, frozen=True):
    """A type: what it is, and its parts."""

    name: str
    text: str
    parts: tuple[Part, ...]


class Section(msgspec.Struct, frozen=True):
    """Routes of one kind."""

    name: str
    text: str
    routes: tuple[Route, ...]


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Gives the page at an address of Litestar's description."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path, favicon="", style="")
        self._page = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page; it is made once."""
        del request
        self._page = self._page or page(openapi_schema).encode()
        return self._page


def page(found: Schema) -> str:
    """Return the page of an OpenAPI description."""
    schemas = found["components"]["schemas"]
    routes = [(one["tags"][0], _route(path, method, one)) for path, method, one in operations(found)]
    sections = [
        Section(name, text, tuple(route for tag, route in routes if tag == name))
        for name, text in _SECTIONS.items()
    ]
    types = [_described(name, schema) for name, schema in sorted(schemas.items())]
    template = _environment().get_template("description.html.jinja")
    return template.render(info=found["info"], sections=sections, types=types)


def operations(found: Schema) -> list[tuple[str, str, Schema]]:
    """Return the operations of a description, each with its path and method."""
    return [(path, method, one) for path, all_ in found["paths"].items() for method, one in all_.items()]


def kind_of(schema: Schema) -> list[tuple[str, str]]:
    """Say a schema in words.

    >>> kind_of({"type": "array", "items": {"$ref": "#/components/schemas/Advised"}})
    [('list of ', ''), ('Advised', 'Advised')]
    >>> kind_of({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
    [('whole number, at least 1', ''), (' or ', ''), ('null', '')]
    """
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return [(name, name)]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        words = [kind_of(each) for each in choices]
        return words[0] + [part for each in words[1:] for part in ((" or ", ""), *each)]
    if schema.get("type") == "array":
        return [("list of ", ""), *kind_of(schema.get("items") or {})]
    if isinstance(schema.get("additionalProperties"), Mapping):
        return [("text → ", ""), *kind_of(schema["additionalProperties"])]
    return [(_plain(schema), "")]


def _plain(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type", "anything")
    if schema.get("format") in ("date-time", "date"):
        return {"date-time": "instant (ISO 8601)", "date": "date"}[schema["format"]]
    return ", ".join([_WORDS.get(kind, str(kind)), *_limits(schema)])


def _limits(schema: Schema) -> list[str]:
    words = {
        "minimum": "at least {:,}", "exclusiveMinimum": "above {:,}", "maximum": "at most {:,}",
        "minLength": "from {:,} letters", "maxLength": "up to {:,} letters",
    }  # fmt: skip
    found = [(words[key], schema[key]) for key in words if key in schema]
    return [text.format(round(limit)) for text, limit in found if abs(limit) < 2**53]


def _route(path: str, method: str, one: Schema) -> Route:
    answers = one["responses"]
    good = next(status for status in answers if status.startswith("2"))
    security = one.get("security") or [{}]
    return Route(
        id=one["operationId"],
        method=method.upper(),
        path=path,
        summary=(one.get("description") or one["summary"]).rstrip("."),
        scope=next(iter(security[0].values()), [""])[0],
        parameters=tuple(
            _part(each["name"], each["schema"], each.get("required", False))
            for each in one.get("parameters", ())
        ),
        takes=_content(one.get("requestBody", {})),
        gives=_content(answers[good]),
        statuses=tuple((status, each["description"]) for status, each in answers.items() if status != good),
    )


def _content(body: Schema) -> list[tuple[str, str]]:
    kinds = list(body.get("content", {}).values())
    return kind_of(kinds[0]["schema"]) if kinds and "schema" in kinds[0] else []


def _described(name: str, schema: Schema) -> Described:
    required = schema.get("required", ())
    parts = (_part(part, each, part in required) for part, each in schema.get("properties", {}).items())
    return Described(name, schema.get("description", ""), tuple(parts))


def _part(name: str, schema: Schema, is_required: bool) -> Part:
    default = schema.get("default")
    told = [] if default in (None, [], {}, "") else [f"{default} if absent"]
    return Part(name, kind_of(schema), is_required, " ".join([*told, schema.get("description", "")]).strip())


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tilltal.api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
