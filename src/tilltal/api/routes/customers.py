"""Profiles, timelines, members of audiences."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, PathParameter, QueryParameter

from tilltal.api.addresses import segment
from tilltal.api.auth import key_of, needs
from tilltal.api.description import operation
from tilltal.api.errors import ApiError, api_error
from tilltal.api.instants import in_utc
from tilltal.api.routes.decisions import Language
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.contract import LiveService, MemberPage, ProfileAnswer, Timeline

Namespace = Annotated[str, PathParameter(description="Of the identifier; `profile` for a profile id.")]
Value = Annotated[str, PathParameter(description="The identifier, percent-encoded.")]
Instant = Annotated[datetime | None, QueryParameter(description="ISO 8601; without an offset it is UTC.")]

_VALUE = 3  # the place of the identifier in /v1/profiles/{namespace}/{value}


def customer_routes(service: LiveService) -> list[HTTPRouteHandler]:
    """Return the routes about customers."""
    return [
        _profile_route(service),
        _timeline_route(service),
        _decisions_route(service),
        _members_route(service),
    ]


def _profile_route(service: LiveService) -> HTTPRouteHandler:
    @get("/v1/profiles/{namespace:str}/{value:str}", **operation("profile", "read", "read", 404))
    async def profile(
        request: Request[Any, Any, Any],
        namespace: Namespace,
        value: Value,
        as_of: Instant = None,
        names: Annotated[str, QueryParameter(description="Only these names, separated by commas.")] = "",
    ) -> ProfileAnswer:
        """What is known of a customer; direct identifiers with the scope `read-identity` only."""
        key = key_of(service, request.scope["headers"], "read")
        found = await service.profile(
            namespace,
            segment(request.scope, _VALUE, value),
            as_of=in_utc(as_of),
            names=tuple(name for each in names.split(",") if (name := each.strip())),
            with_identity="read-identity" in key.scopes,
        )
        if found is None:
            raise _nobody()
        return found

    return profile


def _timeline_route(service: LiveService) -> HTTPRouteHandler:
    @get(
        "/v1/profiles/{namespace:str}/{value:str}/timeline",
        guards=[needs(service, "read")],
        **operation("timeline", "read", "read", 404),
    )
    async def timeline(
        request: Request[Any, Any, Any],
        namespace: Namespace,
        value: Value,
        before: Instant = None,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
    ) -> Timeline:
        """What happened to a customer, latest first; amounts of money are in the workspace's currency."""
        whole = segment(request.scope, _VALUE, value)
        found = await service.timeline(namespace, whole, before=in_utc(before), limit=limit)
        if found is None:
            raise _nobody()
        return found

    return timeline


def _decisions_route(service: LiveService) -> HTTPRouteHandler:
    @get(
        "/v1/profiles/{namespace:str}/{value:str}/decisions",
        guards=[needs(service, "read")],
        **operation("decisions", "read", "read", 404),
    )
    async def decisions(
        request: Request[Any, Any, Any],
        namespace: Namespace,
        value: Value,
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 10,
        language: Language = "en",
    ) -> list[DecisionAccount]:
        """A customer's latest decisions, each explained, the latest first."""
        whole = segment(request.scope, _VALUE, value)
        found = await service.decisions(namespace, whole, limit=limit, language=language)
        if found is None:
            raise _nobody()
        return found

    return decisions


def _members_route(service: LiveService) -> HTTPRouteHandler:
    @get(
        "/v1/audiences/{name:str}/members",
        guards=[needs(service, "read")],
        **operation("members", "read", "read", 404),
    )
    async def members(
        name: FromPath[str],
        after: Annotated[str | None, QueryParameter(description="`next_after` of the page before.")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=10_000)] = 1000,
    ) -> MemberPage:
        """Who is in an audience now, in order of profile."""
        found = await service.members(name, after=after, limit=limit)
        if found is None:
            raise api_error(404, "H615", "there is no such audience")
        return found

    return members


def _nobody() -> ApiError:
    return api_error(404, "P365", "nobody is known by this identifier")
