"""The steps of contact policy cases, taken one by one in a ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import zone_of
from tilltal.decisions.contacting.ledger import Ledger, Request
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import Answer
from tilltal.decisions.contacting.policy import ContactPolicy, Verdict
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent, Purpose

Step = Mapping[str, Any]
Compared = tuple[Step, dict[str, Any]]  # a step or request with what it expects, and what came of it


class Steps:
    """Takes the steps of one case."""

    def __init__(self, config: Mapping[str, Any], customers: Mapping[str, Any]) -> None:
        self._numbers: dict[str, int] = {}
        stated = {self._number(name): customer or {} for name, customer in customers.items()}
        policy = ContactPolicy(
            _terms(config),
            Consent(purposes=msgspec.convert(config.get("purposes") or {}, dict[str, Purpose])),
        )
        zones = {number: str(one["tz"]) for number, one in stated.items() if one.get("tz") is not None}
        self._ledger = Ledger(policy, zone_of(config.get("default_tz") or "UTC"), zones)
        for number, customer in stated.items():
            for consent in customer.get("consents") or ():
                self._ledger.answer(number, _answer(consent))

    def take(self, step: Step) -> Iterator[Compared]:
        """Take a step; yield what there is to compare."""
        now = _instant(step["at"])
        match step["do"]:
            case "request":
                yield step, _of_verdict(self._ledger.request(self._request(step), now))
            case "batch":
                verdicts = self._ledger.batch([self._request(one) for one in step["requests"]], now)
                for one in step["requests"]:
                    yield one, _of_verdict(verdicts[one["id"]])
            case "commit":
                yield step, self._committed(step["id"], now)
            case "fail":
                self._ledger.fail(step["id"], now)
            case "outcome":
                self._ledger.outcome(step["id"], step["outcome"], now)
            case "consent":
                self._ledger.answer(self._number(step["customer"]), _answer(step))
            case "merge":
                self._ledger.merge(self._number(step["from"]), self._number(step["into"]))
            case "split":
                self._ledger.split({self._number(name) for name in named(step)})
            case other:
                raise ValueError(f"there is no step {other!r}")

    def _committed(self, name: str, now: int) -> dict[str, Any]:
        done = self._ledger.commit(name, now)
        if done is None:
            return {"expect": "refused", "reason": "denied"}
        if done.refused:
            return {"expect": "refused", "reason": done.refused}
        return {"expect": "committed"}

    def _request(self, step: Step) -> Request:
        parts = ("action", "group", "issue", "channel", "purpose")
        contact = Contact(
            **{part: step.get(part) for part in parts}, priority=float(step.get("priority") or 0)
        )
        return Request(id=str(step["id"]), token=self._number(step["customer"]), contact=contact)

    def _number(self, customer: object) -> int:
        return self._numbers.setdefault(str(customer), len(self._numbers))


def _terms(config: Mapping[str, Any]) -> Terms:
    keys = ("caps", "cooldowns", "quiet_hours", "reservation_ttl")
    return msgspec.convert({key: config[key] for key in keys if config.get(key) is not None}, Terms)


def _answer(stated: Step) -> Answer:
    channel = stated.get("channel") or "*"
    return Answer(str(stated["purpose"]), str(channel), bool(stated["granted"]), _instant(stated["at"]))


def named(step: Step) -> Iterator[str]:
    """Return the customers that a split names, under whatever key."""
    for key in ("from", "into", "customer"):
        if step.get(key) is not None:
            yield from [step[key]] if isinstance(step[key], str) else step[key]
    yield from step.get("customers") or ()


def _of_verdict(verdict: Verdict) -> dict[str, Any]:
    if verdict.is_allowed:
        return {"expect": "allowed"}
    retry = None if verdict.retry_at is None else instant_of(verdict.retry_at)
    return {
        "expect": "denied",
        "reason": verdict.reasons[0],
        "reasons": list(verdict.reasons),
        "retry_at": retry,
    }


def _instant(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
