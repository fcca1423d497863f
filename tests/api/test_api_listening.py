"""Where a server listens: an address that cannot be had is told before anything else is done."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from tests.api.live_fake import FakeService
from tests.commands import Commands
from tests.e2e.serving import Shop

from tilltal.api.app import create_app
from tilltal.api.serving.server import bound, live_server, url_of
from tilltal.api.settings import ApiSettings
from tilltal.core.errors import EngineError


@pytest.fixture
def tilltal(capsys: pytest.CaptureFixture[str]) -> Commands:
    """The command line."""
    return Commands(capsys)


def test_a_port_that_is_taken_is_told_before_customers_are_made(tmp_path: Path, tilltal: Commands) -> None:
    shop = Shop(tmp_path / "shop")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = tilltal("serve", shop.root, "--port", port)
    assert answer.code == 5
    assert f"E543 Nobody can listen at 127.0.0.1, port {port}: Address already in use." in answer.err
    assert "--port" in answer.err
    assert answer.out == ""
    assert not (shop.root / ".tilltal").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_somebody_else(host: str) -> None:
    with pytest.raises(EngineError) as caught:
        asyncio.run(bound(host, 0))
    assert caught.value.faults[0].code == "E543"


def test_a_port_that_was_taken_meanwhile() -> None:
    async def story() -> None:
        first, second = await bound("127.0.0.1", 0), None
        try:
            second = await bound(*first.getsockname())  # nobody listens yet
            second.listen()
            server = live_server(create_app(FakeService()), ApiSettings(), host="127.0.0.1", port=0)
            with pytest.raises(EngineError, match="in use"):
                await server.serve_on(first, lambda: pytest.fail("nobody listens"))
        finally:
            first.close()
            if second is not None:
                second.close()

    asyncio.run(story())


def test_it_says_so_once_it_listens() -> None:
    async def story() -> None:
        listener = await bound("127.0.0.1", 0)
        host, port = listener.getsockname()
        server = live_server(create_app(FakeService()), ApiSettings(), host=host, port=port)
        ready = asyncio.Event()
        serving = asyncio.create_task(server.serve_on(listener, ready.set))
        async with asyncio.timeout(10):
            await ready.wait()
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        server.should_exit = True
        await serving
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(host, port)

    asyncio.run(story())


def test_an_address_of_ip_6_is_written_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
