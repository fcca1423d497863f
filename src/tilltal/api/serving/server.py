"""uvicorn as Tilltal runs it: one process, uvloop, httptools, bounded connections, a stop that drains."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Callable

import msgspec
import uvicorn

from tilltal.api.app import LiveApp
from tilltal.api.serving.gate import Gate
from tilltal.api.serving.protocol import protocol_with
from tilltal.api.settings import ApiSettings
from tilltal.core.errors import EngineError

_SPARE_FILES = 512  # for the store, logs and whatever else the process opens
_TICKS_A_SECOND = 10  # of uvicorn's main loop
_BACKLOG = 2048  # connections that the system keeps until they are taken


class LiveServer(uvicorn.Server):
    """A server that closes slow connections, and ends streams when it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: LiveApp, gate: Gate) -> None:
        super().__init__(config)
        self.gate = gate
        self._app = app
        self._ready: Callable[[], None] = lambda: None

    async def serve_on(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve on a bound socket until told to stop; `ready` is called once connections are taken.

        Raises:
            EngineError: E543 if another process began to listen there meanwhile.
        """
        try:
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(listener.getsockname(), error) from error
        self._ready = ready
        await self.serve([listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self._ready()

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


async def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has an address, and does not listen yet; port 0 = any that is free.

    Raises:
        EngineError: E543 if that address cannot be had.
    """
    try:
        (family, kind, protocol, _, address), *_ = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen((host, port), error) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not to wait for closed connections
        found.bind(address)
    except OSError as error:
        found.close()
        raise _cannot_listen((host, port), error) from error
    return found


def url_of(listener: socket.socket) -> str:
    """Return where a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(address: tuple[str | int, ...], error: OSError) -> EngineError:
    return EngineError.of(
        "E543",
        f"Nobody can listen at {address[0]}, port {address[1]}: {error.strerror or error}.",
        hint="Stop what listens there, or take another with --port and --host.",
    )


def live_server(
    app: LiveApp, settings: ApiSettings, *, host: str, port: int, drain_seconds: int = 30
) -> LiveServer:
    """Return a server ready for `run()`, `serve()` or `serve_on()`; it listens on one address.

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
        backlog=_BACKLOG,
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
