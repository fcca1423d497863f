"""Identifiers in addresses: whatever they hold, percent-encoded they arrive as they are."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.callers import Api
from tests.api.live_fake import FakeService

VALUES = ["a/b", "/", "a/timeline", "//", "a%2Fb", "100%", "å/ö", "a b+c?d#e", "a_b", "timeline", ";=&"]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("route", ["/v1/profiles/crm/{}", "/v1/profiles/crm/{}/", "/v1//profiles/crm/{}"])
def test_an_identifier_of_a_profile(api: Api, service: FakeService, value: str, route: str) -> None:
    api.get(route.format(quote(value, safe="")))
    assert [asked[:3] for asked in service.asked] == [("profile", "crm", value)]


@pytest.mark.parametrize("value", VALUES)
def test_an_identifier_of_a_timeline(api: Api, service: FakeService, value: str) -> None:
    api.get(f"/v1/profiles/crm/{quote(value, safe='')}/timeline?limit=5")
    assert [asked[:3] for asked in service.asked] == [("timeline", "crm", value)]


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_identifier(shared: tuple[FakeService, Api], value: str) -> None:
    service, api = shared
    service.asked.clear()
    api.get("/v1/profiles/crm/" + quote(value, safe=""))
    assert [asked[:3] for asked in service.asked] == [("profile", "crm", value)]


def test_an_encoded_slash_elsewhere_makes_no_other_route(api: Api, service: FakeService) -> None:
    assert api.get("/v1%2Fprofiles/crm/c1").status_code == 404
    assert api.get("/v1/profiles/crm%2Fc1").status_code == 404
    assert service.asked == []
