"""uvicorn as Tilltal runs it: one process, uvloop, httptools, bounded connections, a stop that drains."""

from __future__ import annotations

import resource
import socket
import time

import msgspec
import uvicorn

from tilltal.api.app import LiveApp
from tilltal.api.serving.gate import Gate
from tilltal.api.serving.protocol import protocol_with
from tilltal.api.settings import ApiSettings

_SPARE_FILES = 512  # for the store, logs and whatever else the process opens
_TICKS_A_SECOND = 10  # of uvicorn's main loop


class LiveServer(uvicorn.Server):
    """A server that closes slow connections, and ends streams when it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: LiveApp, gate: Gate) -> None:
        super().__init__(config)
        self.gate = gate
        self._app = app

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections once a second. True to stop."""
        if counter % _TICKS_A_SECOND == 0:
            self.gate.sweep(time.monotonic())
            self._app.flush_logs()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, finish what is under way, close."""
        self._app.begin_stop()
        await super().shutdown(sockets)
        self._app.flush_logs()


def live_server(
    app: LiveApp, settings: ApiSettings, *, host: str, port: int, drain_seconds: int = 30
) -> LiveServer:
    """Return a server ready for `run()` or `serve()`; it listens on one address.

    The process may then open as many files as the system allows it, and takes no more connections than that.
    """
    limit = min(settings.connection_limit, allowed_files() - _SPARE_FILES)
    gate = Gate(msgspec.structs.replace(settings, connection_limit=limit))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="auto",
        http=protocol_with(gate),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=round(settings.keep_alive_seconds),
        timeout_graceful_shutdown=drain_seconds,
    )
    return LiveServer(config, app, gate)


def allowed_files() -> int:
    """Allow this process as many open files as the system lets it have, and return how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 65_536)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
