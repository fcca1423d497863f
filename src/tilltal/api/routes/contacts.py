"""Contacts: reserve, commit, release, and what came of them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from tilltal.api.auth import needs
from tilltal.api.description import operation
from tilltal.api.errors import api_error
from tilltal.api.exchange import Asked, Exchange
from tilltal.api.instants import in_utc
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contacts.contract import (
    ContactAnswer,
    ContactAnswers,
    ContactOutcome,
    ContactRequest,
    ContactStep,
)
from tilltal.runtime.live.contract import LiveService

_ContactId = Annotated[str, PathParameter(description="As it was asked for, or as a decision told it.")]


def contact_exchanges(service: LiveService, settings: ApiSettings) -> tuple[Exchange, ...]:
    """Return the busy routes: asking for contacts, one or several, and telling what came of one."""
    most = settings.responses_limit

    async def one(asked: ContactRequest) -> ContactAnswer:
        return (await service.contact([asked])).contacts[0]

    async def several(asked: list[ContactRequest]) -> ContactAnswers:
        if len(asked) > most:
            raise api_error(413, "H620", f"these are more than {most} requests", hint="Send several calls.")
        return await service.contact(asked)

    async def outcome(asked: ContactOutcome) -> ContactStep:
        told = msgspec.structs.replace(asked, at=in_utc(asked.at))
        return _known(await service.contact_outcome(told))

    return (
        Exchange(
            path="/v1/contacts",
            name="contact",
            summary="Ask whether a customer may be contacted now, and reserve the contact",
            scope="decide",
            tag="decide",
            takes=ContactRequest,
            gives=ContactAnswer,
            answer=Asked(settings, msgspec.json.Decoder(ContactRequest), one),
        ),
        Exchange(
            path="/v1/contacts/batch",
            name="contacts",
            summary="Ask for several contacts at once: the highest priority is judged first",
            scope="decide",
            tag="decide",
            takes=Annotated[list[ContactRequest], msgspec.Meta(max_length=most)],
            gives=ContactAnswers,
            answer=Asked(settings, msgspec.json.Decoder(list[ContactRequest]), several),
        ),
        Exchange(
            path="/v1/contacts/outcomes",
            name="contactOutcome",
            summary="Tell what came of a contact; cool-downs follow it",
            scope="decide",
            tag="decide",
            takes=ContactOutcome,
            gives=ContactStep,
            answer=Asked(settings, msgspec.json.Decoder(ContactOutcome), outcome),
            more_statuses=(404,),
        ),
    )


def contact_routes(service: LiveService) -> list[HTTPRouteHandler]:
    """Return the routes of a contact's next step."""

    @post(
        "/v1/contacts/{contact_id:str}/commit",
        status_code=200,
        guards=[needs(service, "decide")],
        **operation("commitContact", "decide", "decide", 404),
    )
    async def commit(contact_id: _ContactId) -> ContactStep:
        """The last go-ahead before a message leaves: consent is asked again."""
        return _known(await service.commit_contact(contact_id))

    @post(
        "/v1/contacts/{contact_id:str}/fail",
        status_code=200,
        guards=[needs(service, "decide")],
        **operation("failContact", "decide", "decide", 404),
    )
    async def fail(contact_id: _ContactId) -> ContactStep:
        """Release a contact whose delivery failed, before or after its commit."""
        return _known(await service.fail_contact(contact_id))

    return [commit, fail]


def _known(found: ContactStep | None) -> ContactStep:
    if found is None:
        raise api_error(404, "H615", "there is no such contact")
    return found
