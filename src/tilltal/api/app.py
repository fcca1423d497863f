"""The application: all routes over one live service."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, cast

from litestar import Litestar, Request, Response, post
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from tilltal.api.admission import Admission
from tilltal.api.collector.exchanges import collector_exchanges
from tilltal.api.description import description, exchange_operation, taking
from tilltal.api.errors import Problem, reply_to
from tilltal.api.exchange import Exchange
from tilltal.api.front import Framework, Front
from tilltal.api.routes.changes import ChangeStreams, change_routes
from tilltal.api.routes.contacts import contact_exchanges, contact_routes
from tilltal.api.routes.customers import customer_routes
from tilltal.api.routes.decisions import decision_exchanges, decision_routes
from tilltal.api.routes.health import health_routes
from tilltal.api.routes.keys import Keys, key_exchanges, key_routes
from tilltal.api.settings import ApiSettings
from tilltal.api.telemetry.figures import Figures
from tilltal.api.telemetry.logs import AccessLog
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.contacts.contract import ContactStep
from tilltal.runtime.live.contract import (
    LiveService,
    MemberPage,
    ProfileAnswer,
    Readiness,
    Timeline,
)

AnyRequest = Request[Any, Any, Any]

_ANSWERS = (
    ContactStep,
    DecisionAccount,
    ProfileAnswer,
    Timeline,
    MemberPage,
    Readiness,
    Keys,
    Problem,
)


class LiveApp(Litestar):
    """Litestar behind the front. `begin_stop` ends what would otherwise go on for ever."""

    def __init__(
        self,
        front: Front,
        streams: ChangeStreams,
        handlers: list[HTTPRouteHandler],
        forms: list[object],
        access_log: AccessLog | None,
    ) -> None:
        self._front = front
        self._streams = streams
        self._access_log = access_log
        self._behind = cast("Framework", super().__call__)
        super().__init__(
            handlers,
            exception_handlers={Exception: _told},
            openapi_config=description(version("tilltal"), forms),
            logging_config=None,
            debug=False,
            request_max_body_size=None,
        )

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] == ScopeType.HTTP:
            http = cast("HTTPScope", scope)
            await self._front.serve(http, cast("Receive", receive), cast("Send", send), self._behind)
        else:
            await super().__call__(scope, receive, send)

    def begin_stop(self) -> None:
        """End the streams of changes, so that a graceful stop need not wait for their readers."""
        self._streams.stop()

    def flush_logs(self) -> None:
        """Send what the access log has buffered on its way."""
        if self._access_log is not None:
            self._access_log.flush()


def create_app(
    service: LiveService, settings: ApiSettings | None = None, access_log: AccessLog | None = None
) -> LiveApp:
    """Return the application over a live service."""
    allowed = settings or ApiSettings()
    exchanges = (
        *collector_exchanges(service, allowed),
        *decision_exchanges(service, allowed),
        *contact_exchanges(service, allowed),
        *key_exchanges(service, allowed),
    )
    figures = Figures()
    streams = ChangeStreams(service, allowed)
    handlers = [
        *(_described(exchange) for exchange in exchanges),
        *decision_routes(service),
        *contact_routes(service),
        *customer_routes(service),
        *change_routes(service, streams),
        *key_routes(service),
        *health_routes(service, figures),
    ]
    front = Front(Admission(service, allowed, exchanges), figures, access_log)
    forms = [form for exchange in exchanges for form in (exchange.takes, exchange.gives)]
    return LiveApp(front, streams, handlers, [*forms, *_ANSWERS], access_log)


def _described(exchange: Exchange) -> HTTPRouteHandler:
    """Register a busy route with the framework."""

    async def handle(request: AnyRequest) -> Response[bytes]:
        """Answer as the front does."""
        reply = await exchange.answer(request.scope["headers"], await request.body())
        return Response(reply.body, status_code=reply.status, media_type=reply.content_type)

    return post(
        exchange.path,
        status_code=200,
        operation_class=taking(exchange.takes),
        **exchange_operation(exchange),
    )(handle)


def _told(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer an error of a route that the framework serves."""
    reply = reply_to(error, str(request.scope["state"].get("request_id", "")))
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, status_code=reply.status, media_type=reply.content_type, headers=headers)
