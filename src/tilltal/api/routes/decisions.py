"""Decide, respond, explain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from tilltal.api.auth import needs
from tilltal.api.description import operation
from tilltal.api.errors import api_error
from tilltal.api.exchange import Asked, Exchange
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.contract import (
    DecideAnswer,
    DecideRequest,
    LiveService,
    Response,
    ResponseOutcome,
)

Language = Annotated[
    Literal["sv", "nb", "en", "ru"], QueryParameter(description="Of the words in which reasons are given.")
]


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each response, in the order sent."""

    outcomes: tuple[ResponseOutcome, ...]


Responses = Response | list[msgspec.Raw]
_RESPONSES: msgspec.json.Decoder[Responses] = msgspec.json.Decoder(Responses)
_RESPONSE = msgspec.json.Decoder(Response)


class _Named(msgspec.Struct):
    """What is told of a response that cannot be read."""

    id: object = None


_NAMED = msgspec.json.Decoder(_Named)


def decision_exchanges(service: LiveService, settings: ApiSettings) -> tuple[Exchange, ...]:
    """Return the busy routes: decide and responses."""

    async def respond(asked: Responses) -> Outcomes:
        if isinstance(asked, list) and len(asked) > settings.responses_limit:
            message = f"these are more than {settings.responses_limit} responses"
            raise api_error(413, "H620", message, hint="Send them in several calls.")
        read = [_read(each) for each in asked] if isinstance(asked, list) else [asked]
        responses = [each for each in read if isinstance(each, Response)]
        stored = iter(await service.respond(responses, datetime.now(UTC)) if responses else [])
        return Outcomes(outcomes=tuple(next(stored) if isinstance(each, Response) else each for each in read))

    return (
        Exchange(
            path="/v1/decide",
            name="decide",
            summary="The best actions for a customer at this moment, with reasons",
            scope="decide",
            tag="decide",
            takes=DecideRequest,
            gives=DecideAnswer,
            answer=Asked(settings, msgspec.json.Decoder(DecideRequest), service.decide),
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
            answer=Asked(settings, _RESPONSES, respond),
        ),
    )


def _read(raw: msgspec.Raw) -> Response | ResponseOutcome:
    """Read one response of a list; one that does not fit harms no other."""
    try:
        return _RESPONSE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return ResponseOutcome(id=_id_in(raw), outcome="rejected", code="H606", reason=str(error))


def _id_in(raw: msgspec.Raw) -> str:
    """Return the id that a response states, as far as it can be read."""
    try:
        found = _NAMED.decode(raw).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return found[:200] if isinstance(found, str) else ""


def decision_routes(service: LiveService) -> list[HTTPRouteHandler]:
    """Return the route that explains a decision."""

    @get(
        "/v1/decisions/{decision_id:str}/explain",
        guards=[needs(service, "read")],
        **operation("explain", "decide", "read", 404),
    )
    async def explain(
        decision_id: Annotated[str, PathParameter(description="As the decision told it.")],
        language: Language = "en",
    ) -> DecisionAccount:
        """Why a decision came out as it did, by the definitions of then, and what came of it."""
        found = await service.explain(decision_id, language)
        if found is None:
            raise api_error(404, "H615", "there is no such decision")
        return found

    return [explain]
