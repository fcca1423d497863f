"""The tracking protocol: what is taken in, how it is normalised, what is refused and how that is told."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.callers import Api, problem
from tests.api.live_fake import FakeService

from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import Busy, Message, Unavailable

SENT = "2026-05-04T10:00:00+00:00"


def track(**more: object) -> dict[str, object]:
    return {"type": "track", "event": "purchase", "userId": "u1", "messageId": "m1", **more}


def stored(api: Api, service: FakeService, message: Mapping[str, object], **batch: object) -> Message:
    """Send one message in a batch and return it as the service got it."""
    answer = api.post("/v1/batch", {"batch": [message], **batch})
    assert answer.status_code == 200
    assert answer.json() == {"success": True}, answer.text
    (found,) = service.messages.values()
    return found


def refused(api: Api, service: FakeService, message: object) -> dict[str, Any]:
    answer = api.post("/v1/batch", {"batch": [message]})
    assert answer.status_code == 200
    assert service.messages == {}
    (found,) = answer.json()["rejected"]
    (kept,) = service.refused
    assert (kept.code, kept.reason) == (found["code"], found["reason"])
    return dict(found)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("identify", {"traits": {"email": "a@example.com"}}),
        ("track", {"event": "purchase", "properties": {"amount": 12.5}}),
        ("page", {"name": "Cards", "category": "shop"}),
        ("screen", {"name": "Home"}),
        ("group", {"groupId": "g1", "traits": {"plan": "x"}}),
        ("alias", {"previousId": "old", "anonymousId": None}),
    ],
)
def test_each_type_by_its_own_route(
    api: Api, service: FakeService, kind: str, more: dict[str, object]
) -> None:
    answer = api.post(f"/v1/{kind}", {"userId": "u1", "messageId": "m1", **more})
    assert (answer.status_code, answer.content) == (200, b'{"success":true}')
    found = service.messages["m1"]
    assert (found.type, found.user_id) == (kind, "u1")
    for key, value in more.items():
        assert found.document[key] == value


def test_a_batch_of_all_types(api: Api, service: FakeService) -> None:
    batch = [
        {"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "1", "traits": {"x": 1}},
        {"type": "track", "userId": "u", "event": "e", "messageId": "2"},
        {"type": "page", "anonymousId": "a", "name": "p", "messageId": "3"},
        {"type": "screen", "userId": "u", "name": "s", "messageId": "4"},
        {"type": "group", "userId": "u", "groupId": 7, "messageId": "5"},
        {"type": "alias", "userId": "u", "previousId": "old", "messageId": "6"},
    ]
    answer = api.post("/v1/batch", {"batch": batch, "sentAt": SENT, "writeKey": "x"})
    assert answer.json() == {"success": True}
    found = [service.messages[str(each)] for each in range(1, 7)]
    assert [each.type for each in found] == ["identify", "track", "page", "screen", "group", "alias"]
    assert [each.event for each in found] == [None, "e", "p", "s", None, None]
    assert (found[4].group_id, found[5].previous_id) == ("7", "old")


def test_the_same_batch_again_is_a_duplicate(api: Api, service: FakeService) -> None:
    for _ in range(2):
        assert api.post("/v1/batch", {"batch": [track()]}).json() == {"success": True}
    assert list(service.messages) == ["m1"]


def test_the_type_of_the_route_wins(api: Api, service: FakeService) -> None:
    api.post("/v1/track", {"type": "page", "event": "e", "userId": "u", "messageId": "m"})
    assert service.messages["m"].type == "track"


def test_null_ids_are_absent_ids(api: Api, service: FakeService) -> None:
    found = stored(api, service, track(anonymousId=None, userId="u1"))
    assert (found.user_id, found.anonymous_id) == ("u1", None)


@pytest.mark.parametrize("empty", [None, "", "   "])
def test_a_message_of_nobody_is_refused(api: Api, service: FakeService, empty: str | None) -> None:
    found = refused(api, service, track(userId=empty, anonymousId=empty))
    assert found["code"] == "S337"
    assert found["message_id"] == "m1"


@pytest.mark.parametrize("junk", ["null", "undefined", "[object Object]", "0000"])
def test_junk_ids_are_left_to_the_contract(api: Api, service: FakeService, junk: str) -> None:
    assert stored(api, service, track(userId=junk)).user_id == junk


def test_ids_that_are_whole_numbers_become_text(api: Api, service: FakeService) -> None:
    found = stored(api, service, track(userId=123, anonymousId=-5, messageId=9))
    assert (found.user_id, found.anonymous_id, found.message_id) == ("123", "-5", "9")


@pytest.mark.parametrize("value", [1.5, True, ["u"], {"id": "u"}])
def test_ids_that_are_neither_text_nor_whole_number_are_refused(
    api: Api, service: FakeService, value: object
) -> None:
    assert refused(api, service, track(userId=value))["code"] == "S332"


def test_unknown_keys_are_kept_and_never_an_error(api: Api, service: FakeService) -> None:
    found = stored(api, service, track(channel="server", _metadata={"a": 1}, integrations={"All": True}))
    assert found.document["channel"] == "server"
    assert found.document["_metadata"] == {"a": 1}


def test_traits_of_an_identify_may_stand_in_the_context(api: Api, service: FakeService) -> None:
    message = {
        "type": "identify",
        "userId": "u",
        "messageId": "m",
        "context": {"traits": {"email": "a@example.com", "age": 4}},
        "traits": {"age": 5},
    }
    assert stored(api, service, message).document["traits"] == {"email": "a@example.com", "age": 5}


def test_traits_in_the_context_of_a_track_stay_there(api: Api, service: FakeService) -> None:
    found = stored(api, service, track(context={"traits": {"email": "a@example.com"}}))
    assert "traits" not in found.document


def test_context_and_integrations_of_the_batch_are_merged_under_the_messages_own(
    api: Api, service: FakeService
) -> None:
    found = stored(
        api,
        service,
        track(context={"page": {"url": "/x"}, "ip": "own"}, integrations={"A": True}),
        context={"ip": "shared", "library": {"name": "l"}},
        integrations={"A": False, "B": False},
    )
    assert found.document["context"] == {"page": {"url": "/x"}, "ip": "own", "library": {"name": "l"}}
    assert found.document["integrations"] == {"A": True, "B": False}


def test_external_ids(api: Api, service: FakeService) -> None:
    ids = [
        {"type": "crm", "id": "c1"},
        {"type": "crm", "id": "c1"},
        {"type": "card", "id": 7},
        {"id": "x"},
        5,
    ]
    found = stored(api, service, track(context={"externalIds": ids}))
    assert found.external_ids == (("crm", "c1"), ("card", "7"))


def test_a_wrong_clock_is_corrected_by_what_it_says_of_sending(api: Api, service: FakeService) -> None:
    before = datetime.now(UTC)
    happened = stored(api, service, track(timestamp="2020-01-01T09:00:00Z"), sentAt="2020-01-01T10:00:00Z")
    after = datetime.now(UTC)
    assert before - timedelta(hours=1) <= happened.timestamp <= after - timedelta(hours=1)


def test_a_timestamp_two_years_ago_stays_two_years_ago(api: Api, service: FakeService) -> None:
    now = datetime.now(UTC)
    then = now - timedelta(days=730)
    happened = stored(api, service, track(timestamp=then.isoformat()), sentAt=now.isoformat())
    assert abs(happened.timestamp - then) < timedelta(seconds=5)


def test_a_timestamp_without_sent_at_is_taken_as_it_is(api: Api, service: FakeService) -> None:
    happened = stored(api, service, track(timestamp="2024-05-04T12:00:00.123456+02:00"))
    assert happened.timestamp == datetime(2024, 5, 4, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("sent", [None, "yesterday", 5, {}])
def test_a_sent_at_that_cannot_be_read_is_as_none(api: Api, service: FakeService, sent: object) -> None:
    happened = stored(api, service, track(timestamp="2024-05-04T10:00:00Z"), sentAt=sent)
    assert happened.timestamp == datetime(2024, 5, 4, 10, tzinfo=UTC)


def test_without_a_timestamp_it_happened_when_received(api: Api, service: FakeService) -> None:
    before = datetime.now(UTC)
    assert before <= stored(api, service, track(), sentAt=SENT).timestamp <= datetime.now(UTC)


@pytest.mark.parametrize("value", ["yesterday", 1714816800, {"a": 1}, "0001-01-01T00:00:00+14:00"])
def test_a_timestamp_that_cannot_be_read_is_refused(api: Api, service: FakeService, value: object) -> None:
    assert refused(api, service, track(timestamp=value))["code"] == "S332"


def test_a_timestamp_outside_the_calendar_is_refused(api: Api, service: FakeService) -> None:
    message = track(timestamp="9999-12-31T23:59:59Z", sentAt="0001-01-01T00:00:00Z")
    assert refused(api, service, message)["code"] == "S339"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (track(type="jump"), "S336"),
        (track(type=None), "S336"),
        (track(event=""), "S331"),
        (track(event=5), "S331"),
        ({"type": "alias", "userId": "u"}, "S331"),
        ({"type": "alias", "anonymousId": "a", "previousId": "p"}, "S331"),
        ({"type": "group", "userId": "u"}, "S331"),
        ("text", "S326"),
        (5, "S326"),
        (None, "S326"),
        ([], "S326"),
    ],
)
def test_what_a_message_must_have(api: Api, service: FakeService, message: object, code: str) -> None:
    assert refused(api, service, message)["code"] == code


def test_a_message_of_its_own_route_is_refused_with_400_and_kept(api: Api, service: FakeService) -> None:
    problem(api.post("/v1/track", {"userId": "u1", "messageId": "m1"}), 400, "S331")
    assert [each.message_id for each in service.refused] == ["m1"]


def test_a_message_too_large_is_refused_alone(api: Api, service: FakeService) -> None:
    batch = [track(messageId="a"), track(messageId="b", properties={"x": "y" * 40_000}), track(messageId="c")]
    answer = api.post("/v1/batch", {"batch": batch})
    assert answer.status_code == 200
    assert sorted(service.messages) == ["a", "c"]
    (found,) = answer.json()["rejected"]
    assert (found["index"], found["code"]) == (1, "H616")
    assert len(service.refused[0].body) == 32 * 1024


def test_a_message_of_exactly_the_limit_is_taken(api: Api, service: FakeService) -> None:
    head, tail = b'{"type":"track","event":"e","userId":"u","messageId":"m","x":"', b'"}'
    message = head + b"y" * (32 * 1024 - len(head) - len(tail)) + tail
    assert api.post("/v1/batch", b'{"batch":[' + message + b"]}").json() == {"success": True}


def test_a_message_too_deep_is_refused_alone(api: Api, service: FakeService) -> None:
    def deep(levels: int) -> object:
        return [] if levels == 1 else [deep(levels - 1)]

    batch = [track(messageId="fits", x=deep(31)), track(messageId="deep", x=deep(32))]
    answer = api.post("/v1/batch", {"batch": batch})
    assert list(service.messages) == ["fits"]
    assert answer.json()["rejected"][0]["code"] == "H605"


def test_what_a_batch_shares_counts_for_each_of_its_messages(api: Api, service: FakeService) -> None:
    batch = [track(messageId="a"), track(messageId="b", x="y" * 25_000)]
    body = {"batch": batch, "context": {"x": "y" * 8_000}}
    assert [each["index"] for each in api.post("/v1/batch", body).json()["rejected"]] == [1]
    assert (service.refused[0].code, len(service.refused[0].body) < 26_000) == ("H616", True)
    large = {"batch": batch, "context": {"x": "y" * 1_000_000}}
    assert [each["code"] for each in api.post("/v1/batch", large).json()["rejected"]] == ["H616", "H616"]
    assert list(service.messages) == ["a"]


@pytest.mark.parametrize("levels", [31, 32, 500, 900, 100_000])
@pytest.mark.parametrize("key", ["context", "integrations"])
def test_what_a_batch_shares_may_not_be_too_deep(api: Api, key: str, levels: int) -> None:
    shared = b'{"a":' * levels + b"1" + b"}" * levels
    answer = api.post("/v1/batch", b'{"batch":[],"' + key.encode() + b'":' + shared + b"}")
    if levels < 32 + 1:
        assert answer.status_code == 200
    else:
        problem(answer, 400, "H605")


def test_a_batch_within_a_batch_is_no_message(api: Api, service: FakeService) -> None:
    nested = {"type": "batch", "batch": [track()]}
    assert refused(api, service, nested)["code"] == "S336"
    assert service.messages == {}


def test_brackets_inside_texts_are_not_levels(api: Api, service: FakeService) -> None:
    assert stored(api, service, track(x='[{"\\"[[' * 100))


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_one_message_with_what_is_no_number_harms_no_other(
    api: Api, service: FakeService, word: bytes
) -> None:
    good = b'{"type":"track","event":"e","userId":"u","messageId":"good"}'
    bad = b'{"type":"track","event":"e","userId":"u","messageId":"bad","properties":{"x":' + word + b"}}"
    answer = api.post("/v1/batch", b'{"batch":[' + good + b"," + bad + b"]}")
    assert list(service.messages) == ["good"]
    assert [each["code"] for each in answer.json()["rejected"]] == ["S333"]


@pytest.mark.parametrize("bad", [b'"\\ud800"', b'"\xff"', b"1e999", b"9" * 5000])
def test_one_message_with_unreadable_text_or_number_harms_no_other(
    api: Api, service: FakeService, bad: bytes
) -> None:
    good = b'{"type":"track","event":"e","userId":"u","messageId":"good"}'
    broken = b'{"type":"track","event":"e","userId":"u","messageId":"bad","x":' + bad + b"}"
    answer = api.post("/v1/batch", b'{"batch":[' + good + b"," + broken + b"]}")
    assert answer.status_code == 200
    assert list(service.messages) == ["good"]
    assert [each["index"] for each in answer.json()["rejected"]] == [1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "H603"),
        (b"{", "H603"),
        (b"no json", "H603"),
        (b'{"batch":[{}', "H603"),
        (b"{}", "H606"),
        (b"[]", "H606"),
        (b'{"batch":5}', "H606"),
        (b'{"batch":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "H605"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"batch":[]}', "H605"),
        (b"\xff\xfe", "H603"),
    ],
)
def test_a_batch_that_is_none_is_refused_whole(
    api: Api, service: FakeService, body: bytes, code: str
) -> None:
    problem(api.post("/v1/batch", body), 400, code)
    assert service.messages == {}


def test_too_many_messages(service: FakeService) -> None:
    api = Api(service, ApiSettings(batch_limit_messages=3))
    problem(api.post("/v1/batch", {"batch": [1, 2, 3, 4]}), 413, "H604")


def test_an_empty_batch_is_a_success(api: Api) -> None:
    assert api.post("/v1/batch", {"batch": []}).json() == {"success": True}


def test_a_message_without_id_but_with_a_timestamp_counts_once(api: Api, service: FakeService) -> None:
    message = {"type": "track", "event": "e", "userId": "u", "timestamp": "2024-05-04T10:00:00Z"}
    for _ in range(2):
        api.post("/v1/batch", {"batch": [message]})
    assert len(service.messages) == 1


def test_messages_without_id_and_timestamp_are_different_ones(api: Api, service: FakeService) -> None:
    message = {"type": "track", "event": "e", "userId": "u"}
    api.post("/v1/batch", {"batch": [message, message]})
    assert len(service.messages) == 2


def test_the_write_key_may_stand_in_the_body(api: Api, service: FakeService) -> None:
    body = {"batch": [track()], "writeKey": "key-collect"}
    assert api.call("POST", "/v1/batch", json=body).status_code == 200
    single = {"event": "e", "userId": "u", "messageId": "m2", "writeKey": "key-collect"}
    assert api.call("POST", "/v1/track", json=single).status_code == 200
    assert sorted(service.messages) == ["m1", "m2"]


def test_the_write_key_may_be_the_user_name_of_basic(api: Api) -> None:
    word = base64.b64encode(b"key-collect:").decode()
    answer = api.call("POST", "/v1/batch", json={"batch": []}, headers={"Authorization": f"Basic {word}"})
    assert answer.status_code == 200


def test_gzip_gives_the_same(api: Api, service: FakeService) -> None:
    body = gzip.compress(b'{"batch":[{"type":"track","event":"e","userId":"u","messageId":"m"}]}')
    answer = api.post("/v1/batch", body, headers={"Content-Encoding": "gzip"})
    assert answer.json() == {"success": True}
    assert list(service.messages) == ["m"]


def test_busy_is_429_with_whole_seconds(api: Api, service: FakeService) -> None:
    service.failures.append(Busy(0.2))
    answer = api.post("/v1/batch", {"batch": [track()]})
    problem(answer, 429, "H611")
    assert answer.headers["retry-after"] == "1"


def test_unavailable_is_503_with_whole_seconds(api: Api, service: FakeService) -> None:
    service.failures.append(Unavailable("the store does not answer", 2.5))
    answer = api.post("/v1/batch", {"batch": [track()]})
    assert "the store does not answer" in problem(answer, 503, "H612")["detail"]
    assert answer.headers["retry-after"] == "3"
