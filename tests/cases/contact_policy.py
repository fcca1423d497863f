"""Contact policy cases: steps are taken in a ledger, batches in both orders, and through the API of a server.

The server keeps its contacts in SQLite, or in a store whose address is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from tests.cases.contact_policy_live import LiveSteps
from tests.cases.contact_policy_steps import Steps
from tests.cases.report import Document, Mismatch, case_id, unknown_keys

_CASE = {"id", "kind", "title", "config", "customers", "steps", "note", "needs"}
_CONFIG = {"caps", "cooldowns", "quiet_hours", "reservation_ttl", "default_tz", "purposes"}
_CUSTOMER = {"tz", "consents"}
_KEYS = {
    "request": {"do", "at", "id", "customer", "expect", "reason", "reasons", "retry_at"},
    "batch": {"do", "at", "requests"},
    "commit": {"do", "at", "id", "expect", "reason"},
    "fail": {"do", "at", "id"},
    "outcome": {"do", "at", "id", "outcome"},
    "consent": {"do", "at", "customer", "purpose", "channel", "granted"},
    "merge": {"do", "at", "from", "into"},
    "split": {"do", "at", "from", "into", "customer", "customers", "id"},
}
_PARTS = {"channel", "group", "action", "issue", "purpose", "priority"}
_KEYS["request"] |= _PARTS


def run(document: Document, place: Callable[[], str] | None = None) -> list[Mismatch]:
    """Run every case of a file; `place` gives the address of a new store for each."""
    defaults = document.get("defaults") or {}
    return [
        found
        for case in document["cases"]
        for found in _run_case(case, defaults, None if place is None else place())
    ]


def _run_case(case: Mapping[str, Any], defaults: Mapping[str, Any], place: str | None) -> list[Mismatch]:
    name = case_id(case)
    config = _merged(defaults, case.get("config") or {})
    found = _unknown(name, case, config)
    if found:
        return found
    listed = _compared(name, case, Steps(config, case.get("customers") or {}))
    backwards = _compared(name, _reversed(case), Steps(config, case.get("customers") or {}))
    found = listed or [msgspec.structs.replace(one, what=f"backwards: {one.what}") for one in backwards]
    return found or _served(name, case, config, place)


def _served(
    name: str, case: Mapping[str, Any], config: Mapping[str, Any], place: str | None
) -> list[Mismatch]:
    """Take the same steps through the API of a server."""
    steps = LiveSteps(case, config, place)
    try:
        found = _compared(name, case, steps)
    finally:
        steps.close()
    return [msgspec.structs.replace(one, what=f"through the API: {one.what}") for one in found]


def _unknown(name: str, case: Mapping[str, Any], config: Mapping[str, Any]) -> list[Mismatch]:
    found = unknown_keys(name, "case", case, _CASE) + unknown_keys(name, "config", config, _CONFIG)
    for customer, stated in (case.get("customers") or {}).items():
        found += unknown_keys(name, f"customer {customer}", stated or {}, _CUSTOMER)
    for step in case.get("steps") or ():
        known = _KEYS.get(step["do"], set())
        found += unknown_keys(name, f"step {step['do']}", step, known)
        for request in step.get("requests") or ():
            found += unknown_keys(name, f"request {request['id']}", request, _KEYS["request"])
    return found


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Override single keys of the defaults, mappings within mappings too; lists are replaced whole."""
    merged = dict(defaults)
    for key, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _reversed(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the case with every batch listed the other way round, which means nothing."""
    steps = [
        {**step, "requests": step["requests"][::-1]} if step["do"] == "batch" else step
        for step in case.get("steps") or ()
    ]
    return {**case, "steps": steps}


def _compared(name: str, case: Mapping[str, Any], steps: Steps | LiveSteps) -> list[Mismatch]:
    found = []
    for number, step in enumerate(case.get("steps") or (), start=1):
        for expected, got in steps.take(step):
            wanted = _wanted(expected)
            shown = {key: got.get(key) for key in wanted}
            if wanted != shown:
                what = f"step {number}, {step['do']} {expected['id']} at {step['at']}"
                found.append(Mismatch(case=name, what=what, expected=wanted, got=shown))
    return found


def _wanted(expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a step expects: where one reason is stated, there is no other."""
    wanted = {key: expected[key] for key in ("expect", "reason", "reasons") if key in expected}
    if expected.get("expect") == "denied" and "reason" in expected:
        wanted.setdefault("reasons", [expected["reason"]])
    if expected.get("retry_at") is not None:
        wanted["retry_at"] = datetime.fromisoformat(expected["retry_at"])
    return wanted
