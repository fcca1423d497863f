"""The HTTP face over a service that remembers: in process, or listening on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.api.callers import Api, Listening, listening
from tests.api.live_fake import FakeService

from tilltal.api.settings import ApiSettings


@pytest.fixture(scope="session")
def shared() -> tuple[FakeService, Api]:
    """One application for all tests, as making one takes a tenth of a second."""
    service = FakeService()
    return service, Api(service, ApiSettings())


@pytest.fixture
def service(shared: tuple[FakeService, Api]) -> FakeService:
    shared[0].forget()
    return shared[0]


@pytest.fixture
def api(service: FakeService, shared: tuple[FakeService, Api]) -> Api:
    """The application called in process, over `service`."""
    return shared[1]


@pytest.fixture
def server(service: FakeService) -> Iterator[Listening]:
    """The application on a port of loopback."""
    with listening(service) as found:
        yield found
