"""Contacts over HTTP: asked for, committed, released; what does not fit is told."""

from __future__ import annotations

from tests.api.callers import Api, problem

ASKED = {"id": "r1", "identity": {"crm": "c1"}, "channel": "email", "action": "card"}


def test_a_contact_is_asked_for_and_answered(api: Api) -> None:
    allowed = api.post("/v1/contacts", ASKED, "key-decide").json()
    assert (allowed["id"], allowed["allowed"], allowed["permit"]["basis"]) == ("r1", True, "required")
    denied = api.post("/v1/contacts", {**ASKED, "channel": "sms"}, "key-decide").json()
    assert (denied["allowed"], denied["reason"], denied["reasons"]) == (False, "cap:week", ["cap:week"])


def test_several_are_answered_in_the_order_asked(api: Api) -> None:
    asked = [{**ASKED, "id": name} for name in ("b", "a")]
    found = api.post("/v1/contacts/batch", asked, "key-decide").json()["contacts"]
    assert [one["id"] for one in found] == ["b", "a"]
    problem(api.post("/v1/contacts/batch", [ASKED] * 501, "key-decide"), 413, "H620")


def test_the_steps_of_a_contact_that_was_asked_for(api: Api) -> None:
    api.post("/v1/contacts", ASKED, "key-decide")
    assert api.post("/v1/contacts/r1/commit", {}, "key-decide").json()["state"] == "committed"
    assert api.post("/v1/contacts/r1/fail", {}, "key-decide").json()["state"] == "released"
    told = api.post("/v1/contacts/outcomes", {"id": "r1", "kind": "reject"}, "key-decide")
    assert told.status_code == 200


def test_of_a_contact_that_nobody_asked_for_there_is_no_step(api: Api) -> None:
    for url, body in (
        ("/v1/contacts/none/commit", {}),
        ("/v1/contacts/none/fail", {}),
        ("/v1/contacts/outcomes", {"id": "none", "kind": "reject"}),
    ):
        problem(api.post(url, body, "key-decide"), 404, "H615")


def test_a_request_that_does_not_fit_is_refused_with_its_place(api: Api) -> None:
    wrongs: list[dict[str, object]] = [{"id": ""}, {"identity": {}}, {"channel": 5}, {"colour": "red"}]
    for wrong in wrongs:
        problem(api.post("/v1/contacts", {**ASKED, **wrong}, "key-decide"), 400, "H606")
