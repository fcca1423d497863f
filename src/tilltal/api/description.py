"""The description of the API (OpenAPI 3.1): what the routes take, give and refuse."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Operation, SecurityScheme

from tilltal.api.errors import PROBLEM, Problem
from tilltal.api.exchange import Exchange
from tilltal.api.page import PageRenderPlugin
from tilltal.runtime.live.contract import Scope

_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = (400, 401, 403, 429, 500, 503)
_WITH_BODY = (408, 413, 415)
_REASONS = {
    400: "The request is not as described",
    401: "No valid key",
    403: "The key lacks the scope",
    404: "There is no such thing",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The encoding of the body is not known",
    429: "Busy: come back after Retry-After",
    500: "Something went wrong inside",
    503: "Not available: come back after Retry-After",
}


class Described(TypedDict, total=False):
    """What the description says of a route, as Litestar's decorators take it."""

    operation_id: str
    tags: list[str]
    security: list[dict[str, list[str]]]
    responses: dict[int, ResponseSpec]
    summary: str
    description: str


def operation(name: str, tag: str, scope: Scope, *more: int) -> Described:
    """Describe a route that needs a key; `more` are statuses besides the usual ones."""
    return Described(
        operation_id=name,
        tags=[tag],
        security=[{"bearer": [scope]}, {"basic": [scope]}],
        responses={status: _problem(status) for status in sorted((*_ALWAYS, *more))},
    )


def open_operation(name: str, unready: type | None = None) -> Described:
    """Describe a route that needs no key; `unready` is what it gives with 503."""
    responses = {500: _problem(500)}
    if unready is not None:
        responses[503] = ResponseSpec(unready, description="Not ready", generate_examples=False)
    return Described(operation_id=name, tags=["health"], security=[], responses=responses)


def exchange_operation(exchange: Exchange) -> Described:
    """Describe a busy route by what it gives."""
    found = operation(exchange.name, exchange.tag, exchange.scope, *_WITH_BODY, *exchange.more_statuses)
    gives = ResponseSpec(exchange.gives, description="Done", generate_examples=False)
    return {
        **found,
        "summary": exchange.summary,
        "description": f"{exchange.summary}.",
        "responses": {200: gives, **found["responses"]},
    }


def taking(form: object) -> type[Operation]:
    """Return an operation whose request body is of a type; the framework does not read it."""
    (schema,), _ = _schemas([form])

    @dataclass
    class Taking(Operation):
        """An operation with a body."""

        def to_schema(self) -> dict[str, Any]:
            """Return the description with the body."""
            body = {"required": True, "content": {"application/json": {"schema": schema}}}
            return {**super().to_schema(), "requestBody": body}

    return Taking


def description(version: str, forms: Sequence[object]) -> OpenAPIConfig:
    """Return what Litestar needs to describe the API; `forms` are bodies that `taking` names, and answers."""
    _, schemas = _schemas(forms)

    @dataclass
    class WithForms(Components):
        """Components of Litestar's making, and those of bodies."""

        def to_schema(self) -> dict[str, Any]:
            """Return all components."""
            found = super().to_schema()
            return {**found, "schemas": {**found.get("schemas", {}), **schemas}}

    return OpenAPIConfig(
        title="Tilltal",
        version=version,
        description=(
            "Events in, profiles and decisions out. Errors are problem+json, coded as on the command line. "
            "Instants are ISO 8601, without an offset UTC; amounts of money are numbers of the workspace's "
            "currency."
        ),
        path="/schema",
        render_plugins=[PageRenderPlugin("/"), JsonRenderPlugin(path="/openapi.json")],
        components=WithForms(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key."),
                "basic": SecurityScheme(
                    type="http", scheme="basic", description="An API key as the user name, no password."
                ),
            }
        ),
        use_handler_docstrings=True,
    )


def _schemas(forms: Sequence[object]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Return the JSON schema of each form, and the components they share."""
    found, shared = msgspec.json.schema_components(forms, schema_hook=_anything, ref_template=_REFERENCE)
    for each in shared.values():
        if "description" in each:
            each["description"] = inspect.cleandoc(each["description"])
    return found, shared


def _anything(_: type) -> dict[str, Any]:
    """Describe `object`."""
    return {"description": "Any JSON."}


def _problem(status: int) -> ResponseSpec:
    return ResponseSpec(Problem, description=_REASONS[status], media_type=PROBLEM, generate_examples=False)
