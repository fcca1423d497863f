"""Linking: Splink in batch against the online index, one record at a time, on records with known truth.

Run: nice -n 5 .venv/bin/python -m benchmarks.link [records]
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from tests.link_people import LINKING, people

from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.linking.index import Link, LinkIndex
from tilltal.customers.identity.linking.judging import Holder, Judge
from tilltal.customers.identity.linking.plan import LinkPlan, Values, compile_linking
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import Weights, weight_of
from tilltal.customers.identity.rules import NamespaceRule, Rules
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.linking import batch

_RULES = Rules(
    namespaces=(
        NamespaceRule(
            name="record", is_person=True, is_unique=False, is_lower_case=False, shared_after=None, limit=None
        ),
    )
)


def main() -> None:
    """Print quality and time of both ways."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    made = people(count, seed=7)
    plan = compile_linking(LINKING)
    records = {number: plan.values(one.told) for number, one in enumerate(made)}
    truth = {number: one.truth for number, one in enumerate(made)}
    started = time.perf_counter()
    weights, groups = in_batch(records, plan)
    print(f"batch   {time.perf_counter() - started:7.1f} s   {quality(groups, truth)}")
    groups, seconds = online(records, plan, weights)
    p50, p99, p999 = np.percentile(np.array(seconds) * 1e3, [50, 99, 99.9])
    print(f"online  {sum(seconds):7.1f} s   {quality(groups, truth)}")
    print(
        f"online  p50 {p50:.3f} ms   p99 {p99:.3f} ms   p99.9 {p999:.3f} ms   "
        f"most {max(seconds) * 1e3:.1f} ms"
    )


def in_batch(records: Mapping[int, Values], plan: LinkPlan) -> tuple[Weights, dict[int, int]]:
    """Train, score and judge as `tilltal link run` does; return each record's group."""
    with DuckDBEngine() as engine:
        table = batch.record_table(records, plan)
        weights = batch.train(engine, table, plan, datetime(2026, 1, 1, tzinfo=UTC))
        found = batch.scored(engine, table, plan, weights, weight_of(plan.auto_link))
    holders = [Holder(one, 0, one, 0) for one in records]
    judge = Judge(holders, _RULES, Corrections(), records, plan, PairScorer(plan, weights))
    for a, b in zip(found["a"].to_pylist(), found["b"].to_pylist(), strict=True):
        judge.take(a, b)
    return weights, {one: min(judge.person(one).members) for one in records}


def online(
    records: Mapping[int, Values], plan: LinkPlan, weights: Weights
) -> tuple[dict[int, int], list[float]]:
    """Link each record against those before; return each record's group and the seconds of each decision."""
    index = LinkIndex(plan, weights)
    groups: dict[int, int] = {}
    seconds = []
    gc.freeze()
    for record, values in records.items():
        started = time.perf_counter()
        decision = index.decide(values)
        index.put(record, record, values)
        if isinstance(decision, Link):
            for match in decision.matches:
                index.join(record, match.person)
        seconds.append(time.perf_counter() - started)
    for record in records:
        groups[record] = index.person(record)
    return groups, seconds


def quality(groups: Mapping[int, int], truth: Mapping[int, int]) -> str:
    """Return precision, recall and F1 over all pairs of records that are, or should be, of one person."""
    right = _pairs(Counter((groups[one], truth[one]) for one in groups))
    said, true = _pairs(Counter(groups.values())), _pairs(Counter(truth.values()))
    precision, recall = right / max(said, 1), right / max(true, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return f"precision {precision:.5f}   recall {recall:.4f}   F1 {f1:.4f}"


def _pairs(sizes: Counter[object] | Counter[int] | Counter[tuple[int, int]]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


if __name__ == "__main__":
    main()
