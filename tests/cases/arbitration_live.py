"""Arbitration cases as requests to a server: candidates are actions of a workspace, rules remove them.

Actions and rules get names of their own, in the same order, as a workspace's names are identifiers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.cases.serving import CaseServer

_NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
_STAGES = ("eligibility", "applicability", "suitability")
_POLICY = "contact_policy"
_REST = {"outcome": "reject", "scope": "action", "for": "P1D"}
_NO_PROBABILITY = 2.0  # definitions hold finite numbers alone; this one is refused in the same way
_FILES: Mapping[str, object] = {
    "tilltal.yaml": {"name": "case", "channels": ["app"], "server": {"budget_ms": 60_000}},
    "identity.yaml": {"namespaces": [{"name": "crm", "unique": True}]},
    "sources/people.yaml": {
        "kind": "record",
        "read": {"collector": ["identify"]},
        "identities": {"crm": "userId"},
        "fields": {"unknown": {"type": "number", "column": "traits.unknown"}},
    },
}


class LiveRanking:
    """A server that decides among the candidates of a case."""

    def __init__(self, candidates: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> None:
        self._candidates = candidates
        self._config = config
        names = sorted(str(each["action"]) for each in candidates)
        self._named = {name: f"a{number:04}" for number, name in enumerate(names)}
        self._rules: dict[str, str] = {}
        self._server = CaseServer(self._workspace(), _NOON)
        self._server.collect({"type": "identify", "userId": "c1", "traits": {}})
        for name in self._rested():
            asked = {"id": name, "identity": {"crm": "c1"}, "channel": "app", "action": self._named[name]}
            self._server.call("/v1/contacts", {**asked, "purpose": "free"})
            self._server.call("/v1/contacts/outcomes", {"id": name, "kind": "reject"})

    def close(self) -> None:
        """Stop the server."""
        self._server.close()

    def decide(self, context: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """Return what is ranked, and by action what lost, as a case states it."""
        made = self._decided(context)
        answer = self._server.wait(self._server.api.get(f"/v1/decisions/{made['decision_id']}/explain"))
        ranked = [
            {
                **{key: one[key] for key in ("rank", "priority", "factors")},
                "action": self._back(one["action"]),
            }
            for one in made["actions"]
        ]
        lost = {
            self._back(one["action"]): {
                "action": self._back(one["action"]),
                "reason": self._reason(one["reason"]),
                "priority": one["priority"],
            }
            for one in answer.json()["not_chosen"]
        }
        return ranked, lost

    def winner_without(self, factor: str, context: Mapping[str, Any]) -> str | None:
        """Return who would be first if a factor counted as 1 for everybody."""
        factors = {**(self._config.get("factors") or {}), factor: False}
        self._server.change({"policies/arbitration.yaml": {**self._arbitration(), "factors": factors}})
        found = self._decided(context)["actions"]
        return self._back(found[0]["action"]) if found else None

    def _decided(self, context: Mapping[str, Any]) -> Any:
        known = {key: value for key, value in context.items() if value is not None}
        asked = {"identity": {"crm": "c1"}, "context": known, "reserve": False}
        return self._server.call("/v1/decide", asked)

    def _workspace(self) -> dict[str, object]:
        purposes: dict[str, object] = {"free": {"consent": "not_required"}}
        files = {**_FILES, "policies/arbitration.yaml": self._arbitration()}
        for each in self._candidates:
            name = self._named[str(each["action"])]
            files[f"actions/{name}/action.yaml"] = self._action(each)
            files[f"actions/{name}/app.en.yaml"] = {"body": "Hello"}
        for text, _ in self._removed("no_consent:"):
            purposes[text.partition("/")[0]] = {"consent": "required"}
        rules = {
            "caps": [
                {"name": text, "limit": 0, "calendar": "day", "applies_to": {"action": name}}
                for text, name in self._removed("cap:")
            ],
            "cooldowns": [
                {"name": text, **_REST, "applies_to": {"action": name}}
                for text, name in self._removed("cooldown:")
            ],
            "quiet_hours": [
                {"from": "11:00", "to": "13:00", "applies_to": {"action": name}}
                for _, name in self._removed("quiet_hours")
            ],
            "holdouts": [
                {"name": text, "share": 1, "applies_to": {"action": name}}
                for text, name in self._removed("holdout:")
            ],
        }
        files["policies/consent.yaml"] = {"purposes": purposes}
        files["policies/contact.yaml"] = rules
        return files

    def _action(self, each: Mapping[str, Any]) -> dict[str, object]:
        """Write a candidate as an action; a value that is not stated is NULL, so that the default counts."""
        value, given = each.get("value"), each.get("propensity")
        removed = str(each.get(_POLICY) or "")
        purpose = removed.removeprefix("no_consent:") if removed.startswith("no_consent:") else "free"
        action: dict[str, object] = {
            "title": str(each["action"]),
            "group": each.get("group") or "",
            "issue": each.get("issue") or "",
            "purpose": purpose.partition("/")[0],
            "value": "unknown" if value is None else value,
            "mandatory": bool(each.get("mandatory")),
        }
        if given is not None:
            is_number = isinstance(given, int | float) and math.isfinite(given)
            action["propensity"] = given if is_number else _NO_PROBABILITY
        for stage in _STAGES:
            if each.get(stage):
                rule = self._rules.setdefault(str(each[stage]), f"r{len(self._rules):04}")
                action[stage] = [{"name": rule, "when": "FALSE"}]
        return action

    def _arbitration(self) -> dict[str, Any]:
        config = dict(self._config)
        levers = dict(config.get("levers") or {})
        pulled = (levers.get("action") or {}).items()
        levers["action"] = {self._named[name]: per_cent for name, per_cent in pulled if name in self._named}
        rules = []
        for rule in config.get("context_rules") or ():
            scope = dict(rule.get("applies_to") or {})
            if "action" in scope:
                scope["action"] = self._named.get(str(scope["action"]), "nobody")
            rules.append({**rule, "applies_to": scope})
        stated = {**config, "levers": levers, "context_rules": rules}
        return {key: value for key, value in stated.items() if value is not None}

    def _removed(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield rules of the contact policy that remove candidates, and which ones."""
        for each in self._candidates:
            text = str(each.get(_POLICY) or "")
            if text.startswith(kind):
                yield text.removeprefix(kind), self._named[str(each["action"])]

    def _rested(self) -> list[str]:
        stated = ((str(each["action"]), str(each.get(_POLICY) or "")) for each in self._candidates)
        return [name for name, text in stated if text.startswith("cooldown:")]

    def _back(self, name: str) -> str:
        return next((own for own, given in self._named.items() if given == name), name)

    def _reason(self, reason: str) -> str:
        """Return a reason with the names of the case."""
        kind, _, rest = reason.partition(":")
        if kind == _POLICY:
            return f"{kind}:{self._without_channel(rest)}"
        rule = next((text for text, name in self._rules.items() if name == rest), None)
        return f"{kind}:{rule or self._back(rest)}" if rest else reason

    def _without_channel(self, reason: str) -> str:
        """Return a reason of consent with the channel that the case names."""
        stated = (str(each.get(_POLICY) or "") for each in self._candidates)
        purpose = reason.partition("/")[0]
        return next((text for text in stated if text.partition("/")[0] == purpose), reason)
