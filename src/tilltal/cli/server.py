"""Commands of the live side: serve, and the keys of its API."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, get_args

import typer

from tilltal.api.app import create_app
from tilltal.api.serving.server import bound, live_server, url_of
from tilltal.api.settings import ApiSettings
from tilltal.api.telemetry.logs import AccessLog, log_as_json
from tilltal.cli import console
from tilltal.cli.options import Folder, Json
from tilltal.core.errors import TilltalError, nearest
from tilltal.runtime.live.contract import KeyInfo, NewKey, Scope
from tilltal.runtime.live.serving.opening import open_keys, open_server
from tilltal.workspace.check import usable

_SCOPES: tuple[Scope, ...] = get_args(Scope)
_M_ARENA_MAX = -8  # in malloc.h of glibc
_GC_USUAL = gc.get_threshold()
_GC_THRESHOLDS = (50_000, 20, 50)  # requests make much and leave no cycles: looking often costs a tenth

keys = typer.Typer(rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(serve)
    app.add_typer(keys, name="keys", help="API keys: list, create, rotate, revoke.")


def serve(
    workspace: Folder,
    host: Annotated[str | None, typer.Option(help="Address; else what tilltal.yaml says.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; else what tilltal.yaml says.")
    ] = None,
    access_log: Annotated[bool, typer.Option(help="A line of JSON per request on standard output.")] = False,
) -> None:
    """Take in events and decide, over HTTP, until interrupted."""
    log_as_json(sys.stderr)
    _share_one_heap()
    settings = usable(workspace).settings.server
    serving = _serve(workspace, host or settings.host, settings.port if port is None else port, access_log)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serving)


def _share_one_heap() -> None:
    """Let all threads take memory from one heap, where the system's library is glibc.

    Left to itself it gives threads heaps of their own, and what one of them freed is not for the others. A
    million customers are read by one thread and made anew by another: they took up to twice their memory.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster event loop where there is one."""
    try:
        import uvloop
    except ImportError:  # not made for every system
        return None
    return uvloop.new_event_loop


async def _serve(root: Path, host: str, port: int, access_log: bool) -> None:
    with closing(await bound(host, port)) as listener:  # before anything that takes its time
        await _serve_on(listener, root, access_log)


async def _serve_on(listener: socket.socket, root: Path, access_log: bool) -> None:
    with console.progress(quiet=False) as bar:
        opening = open_server(root, lambda: datetime.now(UTC), bar)
        server = await opening.__aenter__()
    try:
        if not await server.keys():
            made = await server.create_key("first", ("collect", "decide", "read", "admin"))
            console.out.print(f"The first API key, shown this once: {made.secret}")
        app = create_app(server, ApiSettings(), AccessLog(sys.stdout.buffer) if access_log else None)
        host, port = listener.getsockname()[:2]
        http = live_server(app, ApiSettings(), host=host, port=port)
        gc.collect()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stop_is_noted)
        gc.freeze()  # what is loaded by now stays; a full pass over it would only stop the world
        gc.set_threshold(*_GC_THRESHOLDS)
        await http.serve_on(listener, lambda: _welcome(root, url_of(listener)))
    finally:
        await opening.__aexit__(None, None, None)
        gc.set_threshold(*_GC_USUAL)
        gc.unfreeze()  # so that extensions can take leave of what is theirs


def _welcome(root: Path, url: str) -> None:
    console.out.print(f"Tilltal serves {root} on {url}; {url}/schema describes it. Control-C stops it.")


def _stop_is_noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: uvicorn stops by itself, raises the signal again, and the store is yet to be closed."""


@keys.command("list")
def list_keys(workspace: Folder, as_json: Json = False) -> None:
    """List the keys, without their secrets."""
    found = asyncio.run(_list(workspace))
    if as_json:
        console.show_json(found)
        return
    rows = [(key.id, key.name, ", ".join(key.scopes), key.created, key.expires, key.revoked) for key in found]
    console.show_table("API keys", ("id", "name", "scopes", "created", "expires", "revoked"), rows)


@keys.command()
def create(
    workspace: Folder,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="Repeatable; collect if none is given.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="It ends after so many days.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown this once."""
    scopes = [_scope(text) for text in scope or ["collect"]]
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    _show(asyncio.run(_create(workspace, name, scopes, expires)), as_json)


@keys.command()
def rotate(
    workspace: Folder,
    key: Annotated[str, typer.Argument(help="Id of the key to replace.")],
    overlap_hours: Annotated[float, typer.Option(min=0, help="So long the old one still works.")] = 24.0,
    as_json: Json = False,
) -> None:
    """Make a key like another, which ends after an overlap."""
    made = asyncio.run(_rotate(workspace, key, overlap_hours))
    if made is None:
        raise TilltalError.of("C117", f"No key {key!r} is in force.", hint="See `tilltal keys list`.")
    _show(made, as_json)


@keys.command()
def revoke(workspace: Folder, key: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """End a key; a running server knows within seconds."""
    if not asyncio.run(_revoke(workspace, key)):
        raise TilltalError.of("C117", f"There is no key {key!r}.", hint="See `tilltal keys list`.")
    console.out.print(f"{key} is revoked.")


async def _list(root: Path) -> list[KeyInfo]:
    async with open_keys(usable(root)) as found:
        return found.all()


async def _create(root: Path, name: str, scopes: list[Scope], expires: datetime | None) -> NewKey:
    async with open_keys(usable(root)) as found:
        return await found.create(name, scopes, expires)


async def _rotate(root: Path, key_id: str, overlap_hours: float) -> NewKey | None:
    async with open_keys(usable(root)) as found:
        return await found.rotate(key_id, overlap_hours * 3600)


async def _revoke(root: Path, key_id: str) -> bool:
    async with open_keys(usable(root)) as found:
        return await found.revoke(key_id)


def _scope(text: str) -> Scope:
    if text not in _SCOPES:
        raise TilltalError.of("C118", f"There is no scope {text!r}.", valid=nearest(text, _SCOPES))
    return text


def _show(made: NewKey, as_json: bool) -> None:
    if as_json:
        console.show_json(made)
    else:
        console.out.print(f"Key {made.key.id} ({', '.join(made.key.scopes)}), shown this once: {made.secret}")
