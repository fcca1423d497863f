"""Identity cases: observations in arrival order, and who is who after all or some of them.

Each state is resolved exactly in the order of arrival, reversed and in shuffled orders, again in bulk over
tokens, and live, line by line in every one of these orders. All must agree.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from tests.cases.identity_bulk import BulkAnswer
from tests.cases.identity_live import Line, LiveAnswer
from tests.cases.report import Document, Mismatch, case_id, unknown_keys

from tilltal.core.errors import TilltalError
from tilltal.core.time import parse_instant
from tilltal.customers.identity.corrections import Correction, Corrections, in_force
from tilltal.customers.identity.graph import resolve
from tilltal.customers.identity.resolution import Resolution
from tilltal.customers.identity.rules import Rules, compile_rules
from tilltal.customers.identity.values import Identifier, Observation, parse_identifier
from tilltal.workspace.definitions.identity import Identity

_CASE = {"id", "title", "rules", "needs", "observations", "expect", "checkpoints", "note"}
_CONTENT = {"ids", "revoke", "forbid", "same_as"}
_OBSERVATION = _CONTENT | {"id", "at", "note"}
_EXPECTED = {
    "people",
    "dropped_links",
    "dropped_ids",
    "refused_observations",
    "shared_values",
    "anonymous_owner",
    "note",
}
_SHUFFLES = 4
_UTC = ZoneInfo("UTC")

Case = Mapping[str, Any]
Lines = Sequence[Mapping[str, Any]]


def run(document: Document) -> list[Mismatch]:
    """Run all cases of a document."""
    defaults = document.get("defaults") or {}
    found = unknown_keys("defaults", "defaults", defaults, {"rules"})
    for case in document["cases"]:
        try:
            found += _run_case(case, defaults.get("rules", {}))
        except (TilltalError, msgspec.ValidationError, ValueError, KeyError) as error:
            found.append(
                Mismatch(case=case_id(case), what="cannot be run", got=f"{type(error).__name__}: {error}")
            )
    return found


def _run_case(case: Case, defaults: Mapping[str, Any]) -> list[Mismatch]:
    unknown = list(_unknown(case))
    if unknown:
        return unknown
    rules = _rules({**defaults, **(case.get("rules") or {})})
    lines: Lines = case.get("observations") or ()
    names = [line["id"] for line in lines]
    found = []
    for state in [*(case.get("checkpoints") or ()), {"after": None, **(case.get("expect") or {})}]:
        arrived = len(names) if state["after"] is None else names.index(state["after"]) + 1
        when = f"after {names[arrived - 1]}" if names else "of nothing"
        expected = {key: value for key, value in state.items() if key not in ("after", "note")}
        found += _run_state(case_id(case), when, lines[:arrived], rules, expected)
    return found


def _unknown(case: Case) -> Iterator[Mismatch]:
    name = case_id(case)
    yield from unknown_keys(name, "the case", case, _CASE)
    yield from unknown_keys(name, "expect", case.get("expect") or {}, _EXPECTED)
    for line in case.get("observations") or ():
        yield from unknown_keys(name, f"observation {line.get('id')}", line, _OBSERVATION)
        if not line.keys() & _CONTENT:
            yield Mismatch(
                case=name, what=f"content of {line.get('id')}", expected=sorted(_CONTENT), got=sorted(line)
            )
    for state in case.get("checkpoints") or ():
        yield from unknown_keys(name, f"checkpoint {state.get('after')}", state, _EXPECTED | {"after"})


def _rules(given: Mapping[str, Any]) -> Rules:
    """Translate a case's rules; e-mail is in lower case by its namespace's name."""
    namespaces = [
        {"normalise": "email", **one} if one.get("name") == "email" else one for one in given["namespaces"]
    ]
    return compile_rules(msgspec.convert({**given, "namespaces": namespaces}, Identity))


def _observations(lines: Lines) -> list[Observation]:
    return [
        Observation(id=line["id"], at=parse_instant(line["at"], _UTC), ids=tuple(_identifiers(line["ids"])))
        for line in lines
        if "ids" in line
    ]


def _identifiers(ids: Mapping[str, object]) -> Iterator[Identifier]:
    for namespace, given in ids.items():
        for value in given if isinstance(given, list) else [given]:
            yield Identifier(namespace, _text(value))


def _text(value: object) -> str:
    """Return a value as it is written in YAML."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _corrections(lines: Lines, rules: Rules) -> Corrections[Identifier]:
    return in_force(
        (
            Correction(
                id=line["id"],
                revoke=line.get("revoke"),
                forbid=_pair(line.get("forbid")),
                same_as=_pair(line.get("same_as")),
            )
            for line in lines
        ),
        rules,
    )


def _pair(texts: Sequence[str] | None) -> tuple[Identifier, Identifier] | None:
    if texts is None:
        return None
    first, second = texts
    return parse_identifier(first), parse_identifier(second)


def _run_state(
    case: str, when: str, lines: Lines, rules: Rules, expected: Mapping[str, Any]
) -> list[Mismatch]:
    found: list[Mismatch] = []
    for order, arrived in _orders(lines):
        got = resolve(_observations(arrived), rules, _corrections(arrived, rules))
        found += _compare(case, f"{when}{order}", expected, _stated(got))
        if found:
            return found
    bulk = BulkAnswer(_observations(lines), rules, _corrections(lines, rules))
    if bulk.is_representable():
        asked = {key: value for key, value in expected.items() if key != "dropped_ids"}
        found += _compare(case, f"{when} (bulk)", asked, bulk.stated())
        for order, arrived in _orders(lines):
            found += _run_live(case, f"{when}{order} (live)", arrived, rules, asked)
            if found:
                return found
    return found


def _run_live(
    case: str, when: str, lines: Lines, rules: Rules, expected: Mapping[str, Any]
) -> Iterator[Mismatch]:
    live = LiveAnswer(list(_live_lines(lines, rules)), rules)
    if "people" in expected:
        expected = {**expected, "people": live.people_of(expected["people"])}
    yield from _compare(case, when, expected, live.stated())


def _live_lines(lines: Lines, rules: Rules) -> Iterator[Line]:
    for count, line in enumerate(lines, start=1):
        observations = _observations([line])
        yield (observations[0] if observations else None), _corrections(lines[:count], rules)


def _orders(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Yield the lines in the order of arrival, then in others."""
    yield "", lines
    yield " (reversed)", lines[::-1]
    for seed in range(_SHUFFLES):
        yield f" (shuffled with seed {seed})", random.Random(seed).sample(lines, len(lines))


def _stated(got: Resolution) -> dict[str, object]:
    """Write a resolution the way cases do, sets sorted."""
    return {
        "people": got.people,
        "dropped_links": [{"link": [one.a, one.b], "reason": one.reason} for one in got.dropped_links],
        "dropped_ids": [msgspec.to_builtins(one) for one in got.dropped_ids],
        "refused_observations": [msgspec.to_builtins(one) for one in got.refused],
        "shared_values": got.shared_values,
        "anonymous_owner": dict(got.owners),
    }


def _compare(case: str, when: str, expected: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[Mismatch]:
    for key, value in expected.items():
        actual = got[key]
        if key == "anonymous_owner":  # a case may list the observations it cares about
            actual = {name: actual.get(name, "not anonymous") for name in value}
        if _as_set(key, value) != _as_set(key, actual):
            yield Mismatch(
                case=case, what=f"{key} {when}", expected=_as_set(key, value), got=_as_set(key, actual)
            )


def _as_set(key: str, value: Any) -> object:
    """Return sets in one order, so that equal sets are equal lists."""
    if key == "anonymous_owner":
        return value
    if key == "people":
        return sorted(sorted(person) for person in value)
    if key == "dropped_links":
        return sorted(
            ({**one, "link": sorted(one["link"])} for one in value),
            key=lambda one: (one["link"], one["reason"]),
        )
    return sorted(value, key=str)
