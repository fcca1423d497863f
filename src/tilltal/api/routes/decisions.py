"""Decide, respond, explain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from tilltal.api.auth import needs
from tilltal.api.description import operation
from tilltal.api.errors import api_error
from tilltal.api.exchange import Asked, Exchange
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import (
    DecideAnswer,
    DecideRequest,
    DecisionAccount,
    LiveService,
    Response,
    ResponseOutcome,
)


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each response, in the order sent."""

    outcomes: tuple[ResponseOutcome, ...]


Responses = Response | list[Response]
_RESPONSES: msgspec.json.Decoder[Responses] = msgspec.json.Decoder(Responses)


def decision_exchanges(service: LiveService, settings: ApiSettings) -> tuple[Exchange, ...]:
    """Return the busy routes: decide and responses."""

    async def respond(asked: Responses) -> Outcomes:
        responses = asked if isinstance(asked, list) else [asked]
        if len(responses) > settings.responses_limit:
            message = f"these are more than {settings.responses_limit} responses"
            raise api_error(413, "H620", message, hint="Send them in several calls.")
        return Outcomes(outcomes=tuple(await service.respond(responses, datetime.now(UTC))))

    return (
        Exchange(
            path="/v1/decide",
            name="decide",
            summary="The best actions for a customer at this moment, with reasons",
            scope="decide",
            tag="decide",
            takes=DecideRequest,
            gives=DecideAnswer,
            answer=Asked(service, settings, "decide", msgspec.json.Decoder(DecideRequest), service.decide),
            room="decide",
        ),
        Exchange(
            path="/v1/responses",
            name="respond",
            summary="Tell what came of decisions",
            scope="decide",
            tag="decide",
            takes=Response | Annotated[list[Response], msgspec.Meta(max_length=settings.responses_limit)],
            gives=Outcomes,
            answer=Asked(service, settings, "decide", _RESPONSES, respond),
        ),
    )


def decision_routes(service: LiveService) -> list[HTTPRouteHandler]:
    """Return the route that explains a decision."""

    @get(
        "/v1/decisions/{decision_id:str}/explain",
        guards=[needs(service, "read")],
        **operation("explain", "decide", "read", 404),
    )
    async def explain(
        decision_id: Annotated[str, PathParameter(description="As the decision told it.")],
    ) -> DecisionAccount:
        """Why a decision came out as it did, and what came of it."""
        found = await service.explain(decision_id)
        if found is None:
            raise api_error(404, "H615", "there is no such decision")
        return found

    return [explain]
