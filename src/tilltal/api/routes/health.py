"""Is it alive, is it ready, how is it: for machines that watch. These need no key and tell of no customer."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from tilltal.api.description import open_operation
from tilltal.api.telemetry.exposition import CONTENT_TYPE, exposition
from tilltal.api.telemetry.figures import Figures
from tilltal.runtime.live.contract import LiveService, Readiness


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


def health_routes(service: LiveService, figures: Figures) -> list[HTTPRouteHandler]:
    """Return `/healthz`, `/readyz` and `/metrics`."""

    @get("/healthz", **open_operation("healthz"))
    async def healthz() -> Alive:
        """Answers as long as the process does."""
        return Alive()

    @get("/readyz", **open_operation("readyz", Readiness))
    async def readyz() -> Response[Readiness]:
        """200 if requests can be served now, else 503 with why not."""
        found = await service.readiness()
        headers = {} if found.is_ready else {"Retry-After": "1"}
        return Response(found, status_code=200 if found.is_ready else 503, headers=headers)

    @get("/metrics", media_type=MediaType.TEXT, **open_operation("metrics"))
    async def metrics() -> Response[str]:
        """Figures in the text format of Prometheus."""
        text = exposition([*figures.samples(), *service.metrics()])
        return Response(text, media_type=CONTENT_TYPE)

    return [healthz, readyz, metrics]
