"""Decide, respond, explain, profiles, audiences, keys, health: answers, and errors that help."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.api.callers import Api, problem
from tests.api.live_fake import MOMENT, PROFILE, FakeService

from tilltal.api.settings import ApiSettings
from tilltal.core.errors import DataError, EngineError, TilltalError
from tilltal.runtime.live.contract import DecideRequest, Unavailable
from tilltal.runtime.live.serving.group import refused

RESPONSE = {"id": "r1", "decision_id": "d1", "action": "gold_card", "kind": "click"}


@pytest.mark.parametrize("url", ["/v1/decide", "/v1/decide/"], ids=["front", "framework"])
def test_decide(api: Api, service: FakeService, url: str) -> None:
    body = {"identity": {"crm": "c1"}, "placement": "home", "context": {"page": "cards"}, "count": 2}
    answer = api.post(url, body, "key-decide")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["decision_id"], found["profile"], found["is_known"]) == ("d1", PROFILE, True)
    assert found["actions"][0]["factors"] == {"P": 0.25, "C": 1.0, "V": 50.0, "L": 1.0}
    assert found["actions"][0]["treatment"]["content"] == {"title": "Gold"}
    assert service.decided == [
        DecideRequest(identity={"crm": "c1"}, placement="home", context={"page": "cards"}, count=2)
    ]


def test_an_unknown_customer_gets_an_anonymous_decision(api: Api) -> None:
    found = api.post("/v1/decide", {"identity": {"cookie": "x"}}, "key-decide").json()
    assert (found["profile"], found["is_known"]) == (None, False)


@pytest.mark.parametrize("url", ["/v1/decide", "/v1/decide/"], ids=["front", "framework"])
@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        ({}, "H606", "$"),
        ({"identity": "c1"}, "H606", "$.identity"),
        ({"identity": {"crm": "c1"}, "count": "3"}, "H606", "$.count"),
        ({"identity": {"crm": "c1"}, "context": {"x": []}}, "H606", "$.context[...]"),
        ({"identity": {"crm": "c1"}, "context": {"x": "y" * 1001}}, "H606", "$.context[...]"),
        ({"identity": {"crm": "c1"}, "context": {"x": 10**30}}, "H606", "$.context[...]"),
        ({"identity": {"crm": "c1"}, "context": {f"x{n}": 1 for n in range(101)}}, "H606", "$.context"),
        ({"identity": {"crm": "c" * 1001}}, "H606", "$.identity[...]"),
        ({"identity": {f"n{n}": "c" for n in range(21)}}, "H606", "$.identity"),
        ({"identity": {"crm": "c1"}, "count": 0}, "H606", "$.count"),
        ({"identity": {"crm": "c1"}, "count": -1}, "H606", "$.count"),
        ({"identity": {"crm": "c1"}, "count": 1001}, "H606", "$.count"),
        ({"identity": {"crm": "c1"}, "budget_ms": 0}, "H606", "$.budget_ms"),
        ({"identity": {"crm": "c1"}, "budget_ms": -0.5}, "H606", "$.budget_ms"),
        ({"identity": {"crm": "c1"}, "budget_ms": 60_001}, "H606", "$.budget_ms"),
        ({"identity": {"crm": "c1"}, "kount": 3}, "H606", "$"),
        (b"{", "H603", ""),
        (b"\xff", "H603", ""),
    ],
)
def test_a_request_that_does_not_fit_says_where(
    api: Api, url: str, body: object, code: str, place: str
) -> None:
    assert problem(api.post(url, body, "key-decide"), 400, code)["errors"][0]["place"] == place


def test_a_fault_from_below_keeps_its_code_and_alternatives(api: Api) -> None:
    answer = api.post("/v1/decide", {"identity": {"martian": "x"}}, "key-decide")
    assert problem(answer, 400, "P350")["errors"][0]["valid"] == ["crm", "email"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError.of("P365", "nobody"), 404),
        (DataError.of("P350", "no namespace"), 400),
        (EngineError.of("E530", "the store does not answer"), 503),
        (EngineError.of("E503", "refused"), 500),
        (TilltalError.of("W130", "no such placement"), 400),
    ],
)
@pytest.mark.parametrize("url", ["/v1/decide", "/v1/decide/"], ids=["front", "framework"])
def test_the_status_follows_from_the_code(
    api: Api, service: FakeService, url: str, error: TilltalError, status: int
) -> None:
    service.failures.append(error)
    answer = api.post(url, {"identity": {"crm": "c1"}}, "key-decide")
    problem(answer, status, error.faults[0].code)
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("code", ["E530", "E501", "E536", "E503", "E531"])
@pytest.mark.parametrize("url", ["/v1/decide", "/v1/decide/"], ids=["front", "framework"])
def test_an_error_of_the_store_tells_no_place_but_to_the_log(
    api: Api, service: FakeService, url: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.failures.append(
        EngineError.of(code, "/srv/live.sqlite at db.internal:5432", hint="See db.internal.")
    )
    answer = api.post(url, {"identity": {"crm": "c1"}}, "key-decide")
    assert answer.json()["code"] == code
    assert "live.sqlite" not in answer.text
    assert "db.internal" not in answer.text
    status = 503 if code in ("E530", "E501", "E536") else 500
    expected = (
        "The operational store cannot be reached."
        if code == "E530"
        else "The operational store refused this."
    )
    assert (answer.status_code, answer.json()["message"]) == (status, expected)
    assert "/srv/live.sqlite at db.internal:5432" in caplog.text


@pytest.mark.parametrize("sent", [{"url": "?after={}"}, {"header": "{}"}], ids=["after", "reconnect"])
@pytest.mark.parametrize("position", [2**63, 10**40])
def test_a_position_that_no_store_can_hold(api: Api, sent: dict[str, str], position: int) -> None:
    headers = {"Last-Event-ID": sent["header"].format(position)} if "header" in sent else {}
    answer = api.get("/v1/changes" + sent.get("url", "").format(position), headers=headers)
    problem(answer, 400, "H614")


@pytest.mark.parametrize("url", ["/v1/decide", "/v1/decide/"], ids=["front", "framework"])
def test_the_unforeseen_is_500_and_tells_nothing(
    api: Api, service: FakeService, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.failures.append(RuntimeError("secret inside"))
    answer = api.post(url, {"identity": {"crm": "c1"}}, "key-decide")
    problem(answer, 500, "H613")
    assert "secret" not in answer.text
    assert "secret inside" in caplog.text


def test_responses_one_or_many_and_again(api: Api, service: FakeService) -> None:
    assert api.post("/v1/responses", RESPONSE, "key-decide").json()["outcomes"][0]["outcome"] == "accepted"
    many = [RESPONSE, {**RESPONSE, "id": "r2", "kind": "conversion", "at": "2026-05-04T12:00:00+02:00"}]
    found = api.post("/v1/responses", many, "key-decide").json()["outcomes"]
    assert [(each["id"], each["outcome"]) for each in found] == [("r1", "duplicate"), ("r2", "accepted")]
    assert service.responses["r2"].at == MOMENT


def test_too_many_responses_in_a_call(api: Api, service: FakeService) -> None:
    many = [{**RESPONSE, "id": f"r{number}"} for number in range(501)]
    problem(api.post("/v1/responses", many, "key-decide"), 413, "H620")
    assert service.responses == {}
    assert api.post("/v1/responses", many[:500], "key-decide").status_code == 200
    few = Api(service, ApiSettings(responses_limit=1))
    problem(few.post("/v1/responses", many[:2], "key-decide"), 413, "H620")


def test_each_response_of_a_list_has_its_own_outcome(api: Api, service: FakeService) -> None:
    wrong = [5, {**RESPONSE, "id": "r2", "kind": "shrug"}, {"id": 7}, {**RESPONSE, "id": ""}, None, [],
             {**RESPONSE, "id": "r3", "akt": 1}, {**RESPONSE, "id": "r4", "at": "soon"}]  # fmt: skip
    body = [RESPONSE, *wrong, {**RESPONSE, "id": "r9"}]
    found = api.post("/v1/responses", body, "key-decide").json()["outcomes"]
    assert [(each["id"], each["outcome"]) for each in found] == [
        ("r1", "accepted"),
        *((id_, "rejected") for id_ in ("", "r2", "", "", "", "", "r3", "r4")),
        ("r9", "accepted"),
    ]
    assert all(each["code"] == "H606" and each["reason"] for each in found if each["outcome"] == "rejected")
    assert list(service.responses) == ["r1", "r9"]


def test_a_list_without_a_good_response_asks_nothing_of_the_service(api: Api, service: FakeService) -> None:
    assert api.post("/v1/responses", [], "key-decide").json() == {"outcomes": []}
    assert api.post("/v1/responses", [5], "key-decide").json()["outcomes"][0]["outcome"] == "rejected"
    assert service.calls == 0


@pytest.mark.parametrize("body", [{}, {**RESPONSE, "kind": "shrug"}, {**RESPONSE, "kount": 1}, "x"])
def test_responses_that_are_none(api: Api, service: FakeService, body: object) -> None:
    problem(api.post("/v1/responses", body, "key-decide"), 400, "H606")
    assert service.responses == {}


def test_explain(api: Api) -> None:
    found = api.get("/v1/decisions/d1/explain").json()
    assert found["not_chosen"][0]["words"] == "a has a higher priority."
    assert found["language"] == "en"
    problem(api.get("/v1/decisions/d2/explain"), 404, "H615")


def test_explain_in_a_language(api: Api) -> None:
    assert api.get("/v1/decisions/d1/explain?language=sv").json()["language"] == "sv"
    problem(api.get("/v1/decisions/d1/explain?language=fi"), 400, "H614")


def test_the_latest_decisions_of_a_customer(api: Api, service: FakeService) -> None:
    (found,) = api.get("/v1/profiles/crm/c1/decisions?limit=3&language=ru").json()
    assert (found["decision_id"], found["language"]) == ("d1", "ru")
    assert service.asked == [("decisions", "crm", "c1", 3, "ru")]
    problem(api.get("/v1/profiles/crm/nobody/decisions"), 404, "P365")
    problem(api.get("/v1/profiles/crm/c1/decisions", "key-decide"), 403, "H602")


def test_a_profile_without_direct_identifiers(api: Api, service: FakeService) -> None:
    found = api.get("/v1/profiles/crm/c1?as_of=2026-05-04T12:00:00%2B02:00&names=spend_30d,%20age").json()
    assert found["traits"] == {"spend_30d": 12.5}
    assert found["identities"] == [{"namespace": "crm", "count": 1, "values": None}]
    assert service.asked == [("profile", "crm", "c1", MOMENT, ("spend_30d", "age"), False)]


def test_direct_identifiers_need_their_own_scope(api: Api, service: FakeService) -> None:
    problem(api.get("/v1/profiles/crm/c1", "key-read-identity"), 403, "H602")
    old = service.secrets["key-read"]
    service.secrets["both"] = type(old)(id="b", name="b", scopes=("read", "read-identity"), created=MOMENT)
    assert api.get("/v1/profiles/crm/c1", "both").json()["identities"][0]["values"] == ["c1"]


def test_an_identifier_may_hold_what_addresses_use(api: Api, service: FakeService) -> None:
    problem(api.get("/v1/profiles/email/a%40b%3Fc%20d"), 404, "P365")
    assert service.asked[0][2] == "a@b?c d"


def test_timeline(api: Api, service: FakeService) -> None:
    found = api.get("/v1/profiles/crm/c1/timeline?limit=5&before=2026-05-04T10:00:00").json()
    assert found["entries"][0]["fields"] == {"amount": 1250}
    assert service.asked == [("timeline", "crm", "c1", datetime(2026, 5, 4, 10, tzinfo=UTC), 5)]
    problem(api.get("/v1/profiles/crm/c9/timeline"), 404, "P365")


def test_members(api: Api, service: FakeService) -> None:
    assert api.get("/v1/audiences/vip/members?after=p0&limit=2").json()["members"][0]["profile"] == PROFILE
    assert service.asked == [("members", "vip", "p0", 2)]
    problem(api.get("/v1/audiences/nobody/members"), 404, "H615")


@pytest.mark.parametrize(
    "url",
    [
        "/v1/profiles/crm/c1?as_of=soon",
        "/v1/profiles/crm/c1?as_of=0001-01-01T00:00:00%2B14:00",
        "/v1/profiles/crm/c1/timeline?limit=0",
        "/v1/profiles/crm/c1/timeline?limit=many",
        "/v1/audiences/vip/members?limit=10001",
        "/v1/changes?after=-1",
        "/v1/changes?after=x",
    ],
)
def test_parameters_that_do_not_fit(api: Api, url: str) -> None:
    problem(api.get(url), 400, "H614")


def test_keys_live_and_end(api: Api) -> None:
    body = {"name": "app", "scopes": ["decide"], "expires": "2027-01-01T00:00:00Z"}
    made = api.post("/v1/keys", body, "key-admin").json()
    ask = {"identity": {"crm": "c1"}}
    assert api.post("/v1/decide", ask, made["secret"]).status_code == 200
    turned = api.post("/v1/keys/rotate", {"id": made["key"]["id"]}, "key-admin").json()
    problem(api.post("/v1/decide", ask, made["secret"]), 401, "H601")
    assert api.post("/v1/decide", ask, turned["secret"]).status_code == 200
    listed = api.get("/v1/keys", "key-admin")
    assert turned["secret"] not in listed.text
    assert turned["key"]["id"] in {each["id"] for each in listed.json()["keys"]}
    assert api.call("DELETE", f"/v1/keys/{turned['key']['id']}", "key-admin").status_code == 204
    problem(api.post("/v1/decide", ask, turned["secret"]), 401, "H601")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["all"]},
        {"name": "x", "scopes": ["read"], "expires": "2027-01-01T00:00:00+25:00"},
        {"name": "x", "scopes": ["read"], "expire": None},
    ],
)
def test_keys_that_cannot_be_made(api: Api, body: object) -> None:
    problem(api.post("/v1/keys", body, "key-admin"), 400, "H606")


def test_no_such_key(api: Api) -> None:
    problem(api.call("DELETE", "/v1/keys/none", "key-admin"), 404, "H615")
    problem(api.post("/v1/keys/rotate", {"id": "none"}, "key-admin"), 404, "H615")


def test_health(api: Api, service: FakeService) -> None:
    assert api.get("/healthz", None).json() == {"status": "alive"}
    assert api.get("/readyz", None).json()["is_ready"] is True
    service.is_ready = False
    answer = api.get("/readyz", None)
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the store does not answer"]


def test_the_store_is_away(api: Api, service: FakeService) -> None:
    service.failures.append(Unavailable("the store does not answer"))
    answer = api.get("/v1/profiles/crm/c1")
    problem(answer, 503, "H612")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("code", "words"), [("E530", "store cannot be reached"), ("E505", "store refused this")]
)
@pytest.mark.parametrize(
    ("url", "body", "key"),
    [
        ("/v1/decide", {"identity": {"crm": "c1"}}, "key-decide"),
        ("/v1/track", {"event": "bought", "userId": "u"}, "key-collect"),
    ],
)
def test_what_could_not_be_stored_tells_no_place_but_to_the_log(
    api: Api,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
    url: str,
    body: object,
    key: str,
    code: str,
    words: str,
) -> None:
    service.failures.append(refused(EngineError.of(code, "/srv/live.sqlite at db.internal:5432")))
    answer = api.post(url, body, key)
    assert words in problem(answer, 503, "H612")["message"]
    assert answer.headers["retry-after"] == "1"
    assert "live.sqlite" not in answer.text
    assert "db.internal" not in answer.text
    assert "/srv/live.sqlite at db.internal:5432" in caplog.text


def test_no_route_and_no_method(api: Api) -> None:
    problem(api.get("/v2/nothing"), 404, "H609")
    answer = api.get("/v1/decide")
    problem(answer, 405, "H610")
    assert "POST" in answer.headers["allow"]


def test_a_stream_is_refused_before_it_begins_while_the_store_is_away(api: Api, service: FakeService) -> None:
    service.is_ready = False
    answer = api.get("/v1/changes")
    problem(answer, 503, "H612")
    assert int(answer.headers["retry-after"]) >= 1
