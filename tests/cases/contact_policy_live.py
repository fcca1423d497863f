"""The steps of contact policy cases as a channel tool takes them: calls of the API of a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cases.contact_policy_steps import Compared, Step, named
from tests.cases.serving import CaseServer

_PARTS = ("action", "group", "issue", "channel", "purpose", "priority")
_TERMS = ("caps", "cooldowns", "quiet_hours", "reservation_ttl")
_IDENTITY = {"namespaces": [{"name": "crm", "kind": "person", "unique": True}]}


class LiveSteps:
    """Takes the steps of one case over HTTP."""

    def __init__(self, case: Mapping[str, Any], config: Mapping[str, Any], place: str | None = None) -> None:
        self._steps = list(case.get("steps") or ())
        customers = {str(name): one or {} for name, one in (case.get("customers") or {}).items()}
        stated = [
            {"customer": name, **one}
            for name, each in customers.items()
            for one in each.get("consents") or ()
        ]
        self._consents = sorted(stated, key=lambda one: _instant(one["at"]))
        self._merges: dict[str, str] = {}
        self._zones = {name: each["tz"] for name, each in customers.items() if each.get("tz") is not None}
        start = min((_instant(step["at"]) for step in self._steps), default=datetime(2026, 1, 1, tzinfo=UTC))
        self._server = CaseServer(_workspace(case, config), start - timedelta(seconds=1), place)
        self._known: set[str] = set()

    def close(self) -> None:
        """Stop the server."""
        self._server.close()

    def take(self, step: Step) -> Iterator[Compared]:
        """Take a step; yield what there is to compare."""
        now = _instant(step["at"])
        self._answer_until(now)
        self._server.now = now
        match step["do"]:
            case "request":
                self._meet(step["customer"])
                yield step, _of_answer(self._server.call("/v1/contacts", self._request(step)))
            case "batch":
                for one in step["requests"]:
                    self._meet(one["customer"])
                asked = [self._request(one) for one in step["requests"]]
                found = self._server.call("/v1/contacts/batch", asked)["contacts"]
                for one, answer in zip(step["requests"], found, strict=True):
                    yield one, _of_answer(answer)
            case "commit":
                yield step, self._stepped(step, "commit")
            case "fail":
                self._stepped(step, "fail")
            case "outcome":
                told = {"id": str(step["id"]), "kind": step["outcome"]}
                self._server.wait(self._server.api.post("/v1/contacts/outcomes", told))
            case "consent":
                self._answered(step)
            case "merge":
                self._merge(str(step["from"]), str(step["into"]))
            case "split":
                self._split({str(name) for name in named(step)})
            case other:
                raise ValueError(f"there is no step {other!r}")

    def _answer_until(self, now: datetime) -> None:
        """Let consents come as they are given."""
        while self._consents and _instant(self._consents[0]["at"]) <= now:
            self._server.now = max(self._server.now, _instant(self._consents[0]["at"]))
            self._answered(self._consents.pop(0))

    def _answered(self, stated: Step) -> None:
        channel = stated.get("channel") or "*"
        granted = "true" if stated["granted"] else "false"
        properties = {"purpose": stated["purpose"], "channel": channel, "granted": granted}
        self._meet(stated["customer"])
        self._server.collect(
            {
                "type": "track",
                "event": "Answered",
                "userId": str(stated["customer"]),
                "timestamp": _instant(stated["at"]),
                "properties": properties,
            }
        )

    def _meet(self, customer: object) -> None:
        """Let a customer be known: what the case states of the time zone comes with it."""
        name = str(customer)
        if name not in self._known:
            self._known.add(name)
            zone = self._zones.get(name)
            traits = {} if zone is None else {"tz": str(zone)}
            self._server.collect({"type": "identify", "userId": name, "traits": traits})

    def _stepped(self, step: Step, what: str) -> dict[str, Any]:
        answer = self._server.wait(self._server.api.post(f"/v1/contacts/{step['id']}/{what}", {}))
        if answer.status == 404:
            return {"expect": "refused", "reason": "unknown"}
        found = answer.json()
        if answer.status != 200:
            raise ValueError(answer.body.decode())
        return {"expect": found["state"], "reason": found["reason"]}

    def _request(self, step: Step) -> dict[str, Any]:
        parts = {part: step[part] for part in _PARTS if step.get(part) is not None}
        return {"id": str(step["id"]), "identity": {"crm": str(step["customer"])}, **parts}

    def _merge(self, gone: str, into: str) -> None:
        for name in (gone, into):
            self._meet(name)
        root = self._root(gone)
        if root != self._root(into):
            self._merges[root] = into
            self._correct()

    def _split(self, customers: set[str]) -> None:
        """Take apart those named, or all who were merged into one that is named alone."""
        found = {one for one in customers if self._merges.get(one) in customers}
        found = found or {one for one in customers if one in self._merges}
        for name in found or {one for one in self._merges if self._root(one) in customers}:
            del self._merges[name]
        self._correct()

    def _root(self, name: str) -> str:
        while name in self._merges:
            name = self._merges[name]
        return name

    def _correct(self) -> None:
        same = [{"same_as": [f"crm:{a}", f"crm:{b}"]} for a, b in self._merges.items()]
        self._server.change({"identity.yaml": {**_IDENTITY, "corrections": same}})


def _workspace(case: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, object]:
    channels = {str(one["channel"]) for one in _requests(case)} | {"email"}
    ids = {"crm": "userId"}
    said = {name: {"column": f"properties.{name}"} for name in ("purpose", "channel")}
    return {
        "tilltal.yaml": {
            "name": "case",
            "time_zone": config.get("default_tz") or "UTC",
            "channels": sorted(channels),
        },
        "identity.yaml": _IDENTITY,
        "sources/people.yaml": {
            "kind": "record",
            "read": {"collector": ["identify"]},
            "identities": ids,
            "fields": {"tz": {"type": "text", "column": "traits.tz"}},
        },
        "sources/answers.yaml": {
            "kind": "consent",
            "read": {"collector": ["track"], "event": ["Answered"]},
            "identities": ids,
            **said,
            "granted": "properties.granted",
        },
        "policies/consent.yaml": {"purposes": config.get("purposes") or {}},
        "policies/contact.yaml": {
            **{key: config[key] for key in _TERMS if config.get(key) is not None},
            "time_zone": "tz",
        },
    }


def _requests(case: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for step in case.get("steps") or ():
        if step["do"] == "request":
            yield step
        yield from step.get("requests") or ()


def _of_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    if answer["allowed"]:
        return {"expect": "allowed"}
    retry = answer["retry_at"]
    return {
        "expect": "denied",
        "reason": answer["reason"],
        "reasons": answer["reasons"],
        "retry_at": None if retry is None else datetime.fromisoformat(retry),
    }


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
