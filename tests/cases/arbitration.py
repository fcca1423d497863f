"""Arbitration cases: each is run exactly, in reversed order, through the batch ranking, and by a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from tests.cases.arbitration_live import LiveRanking
from tests.cases.report import Document, Mismatch, case_id, unknown_keys

from tilltal.decisions.arbitration import Candidate, Context, Ranking, arbitrate
from tilltal.decisions.batch import BatchDecision, rank
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import Arbitration

_CASE = {"id", "kind", "title", "config", "context", "candidates", "expect", "note", "needs"}
_STAGES = ("eligibility", "applicability", "suitability", "contact_policy")
_CANDIDATE = {"action", "group", "issue", "propensity", "value", "mandatory", *_STAGES}
_EXPECT = {"ranked", "lost", "winner_without"}
_TOLERANCE = 1e-6


def run(document: Document) -> list[Mismatch]:
    """Run every case of a file."""
    defaults = document.get("defaults") or {}
    return [found for case in document["cases"] for found in _run_case(case, defaults)]


def winner_without(
    candidates: Sequence[Candidate], policy: Arbitration, context: Context
) -> dict[str, str | None]:
    """Say who would be first if one factor counted as 1 for everybody: factor → action or None."""
    winners = {}
    for factor in ("P", "C", "V", "L"):
        factors = msgspec.structs.replace(policy.factors, **{factor: False})
        ranking = arbitrate(candidates, msgspec.structs.replace(policy, factors=factors), context)
        winners[factor] = ranking.ranked[0].action if ranking.ranked else None
    return winners


def _run_case(case: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Mismatch]:
    name, expect = case_id(case), case["expect"]
    unknown = unknown_keys(name, "case", case, _CASE) + unknown_keys(name, "expect", expect, _EXPECT)
    given = case.get("candidates") or ()
    for each in given:
        unknown += unknown_keys(name, f"candidate {each['action']}", each, _CANDIDATE)
    policy = msgspec.convert(_merged(defaults, case.get("config") or {}), Arbitration)
    context = case.get("context") or {}
    candidates = [_candidate(each) for each in given]
    found = list(unknown)
    for order in (candidates, candidates[::-1]):
        ranking = arbitrate(order, policy, context)
        if "ranked" in expect:
            found += _compare_ranked(name, expect["ranked"] or [], _ranked(ranking))
        if "lost" in expect:
            found += _compare_lost(name, expect["lost"] or [], _lost(ranking))
        if "winner_without" in expect:
            got = {key: winner_without(order, policy, context)[key] for key in expect["winner_without"]}
            found += _different(name, "winner_without", expect["winner_without"], got)
    if "ranked" in expect:
        batch = _in_batch(candidates, policy, context)
        found += _compare_ranked(name, expect["ranked"] or [], batch, "in batch: ")
    return found or _served(name, case, given, _merged(defaults, case.get("config") or {}))


def _served(
    name: str, case: Mapping[str, Any], given: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
) -> list[Mismatch]:
    """Compare what a server answers."""
    expect, context = case["expect"], case.get("context") or {}
    server = LiveRanking(given, config)
    try:
        ranked, lost = server.decide(context)
        found = []
        if "ranked" in expect:
            found += _compare_ranked(name, expect["ranked"] or [], ranked, "through the API: ")
        if "lost" in expect:
            found += _compare_lost(name, expect["lost"] or [], lost, "through the API: ")
        stated = expect.get("winner_without") or {}
        got = {factor: server.winner_without(factor, context) for factor in stated}
        return found + _different(name, "through the API: winner_without", dict(stated), got)
    finally:
        server.close()


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Override single keys of the defaults, mappings within mappings too; lists are replaced whole."""
    merged = dict(defaults)
    for key, value in own.items():
        if value is None and key in ("context_rules", "levers"):
            continue  # an empty key is no rules and no levers
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _candidate(given: Mapping[str, Any]) -> Candidate:
    failed = next((f"{stage}:{given[stage]}" for stage in _STAGES if given.get(stage)), None)
    return Candidate(
        action=given["action"],
        group=given.get("group") or "",
        issue=given.get("issue") or "",
        propensity=_propensity(given.get("propensity")),
        value=given.get("value"),
        mandatory=given.get("mandatory") or False,
        failed=failed,
    )


def _propensity(given: object) -> float | None:
    """Return what stands for a propensity; what is no number is no probability either."""
    return given if given is None or isinstance(given, int | float) else float("nan")


def _ranked(ranking: Ranking) -> list[dict[str, Any]]:
    return [
        {
            "rank": entry.rank,
            "action": entry.action,
            "priority": float(entry.priority),
            "factors": {factor: float(getattr(entry.factors, factor)) for factor in "PCVL"},
        }
        for entry in ranking.ranked
    ]


def _in_batch(
    candidates: list[Candidate], policy: Arbitration, context: Mapping[str, Any]
) -> list[dict[str, Any]]:
    ordered = sorted(candidates, key=lambda each: each.action)
    plan = DecisionPlan(actions=tuple(_action(each) for each in ordered), arbitration=policy, schema={})
    columns: dict[str, list[float | None]] = {"profile": [1]}
    for index, each in enumerate(ordered):
        columns[f"f{index}"] = [0 if each.failed is None else 99]
        columns[f"h{index}"] = [0]
        columns[f"p{index}"] = [each.propensity]
        columns[f"v{index}"] = [each.value]
    table = pa.table({name: pa.array(values, pa.float64()) for name, values in columns.items()})
    return _from_batch(rank(plan, table, context), plan)


def _from_batch(decision: BatchDecision, plan: DecisionPlan) -> list[dict[str, Any]]:
    factors = (decision.propensity, decision.context, decision.value, decision.lever)
    return [
        {
            "rank": slot + 1,
            "action": plan.actions[index].name,
            "priority": float(decision.priority[0, slot]),
            "factors": {name: float(factor[0, slot]) for name, factor in zip("PCVL", factors, strict=True)},
        }
        for slot, index in enumerate(decision.actions[0])
        if index >= 0
    ]


def _action(each: Candidate) -> ActionPlan:
    definition = Action(title=each.action, group=each.group, issue=each.issue, mandatory=each.mandatory)
    return ActionPlan(
        name=each.action,
        definition=definition,
        rules=(),
        channels=(),
        value=0.0,
        model=None,
        propensity=None,
        starts=None,
        ends=None,
    )


def _compare_ranked(
    case: str, expected: list[dict[str, Any]], got: list[dict[str, Any]], how: str = ""
) -> list[Mismatch]:
    if [each["action"] for each in expected] != [each["action"] for each in got]:
        return [Mismatch(case=case, what=f"{how}ranked", expected=expected, got=got)]
    found = []
    for want, have in zip(expected, got, strict=True):
        if not all(_equal(want[key], have[key]) for key in want):
            found.append(Mismatch(case=case, what=f"{how}ranked {want['action']}", expected=want, got=have))
    return found


def _lost(ranking: Ranking) -> dict[str, dict[str, Any]]:
    return {
        entry.action: {
            "action": entry.action,
            "reason": entry.reason,
            "priority": None if entry.priority is None else float(entry.priority),
        }
        for entry in ranking.lost
    }


def _compare_lost(
    case: str, expected: list[dict[str, Any]], got: Mapping[str, Mapping[str, Any]], how: str = ""
) -> list[Mismatch]:
    found = _different(case, f"{how}lost", sorted(each["action"] for each in expected), sorted(got))
    for want in expected:
        have = got.get(want["action"])
        if have is not None and not all(_equal(want[key], have.get(key)) for key in want):
            what = f"{how}lost {want['action']}"
            found.append(Mismatch(case=case, what=what, expected=want, got=dict(have)))
    return found


def _different(case: str, what: str, expected: object, got: object) -> list[Mismatch]:
    return [] if expected == got else [Mismatch(case=case, what=what, expected=expected, got=got)]


def _equal(want: object, have: object) -> bool:
    if isinstance(want, Mapping) and isinstance(have, Mapping):
        return all(key in have and _equal(want[key], have[key]) for key in want)
    if isinstance(want, int | float) and isinstance(have, int | float):
        return bool(np.isclose(want, have, rtol=0, atol=_TOLERANCE))
    return want == have
