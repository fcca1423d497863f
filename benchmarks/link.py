"""Linking: Splink in batch against a server's own finder, one record at a time, on records with known truth.

The finder asks a SQLite store whose records are; links that it is sure of are settled there by the rules of
identity. Timed is what stands between a record and the word on it: into the index, pairs, people, judgement.

Run: nice -n 5 .venv/bin/python -m benchmarks.link [records]
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from tests.link_people import LINKING, people

from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Observed, OperationalStore, Owned, Writes
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.judging import Holder, Judge
from tilltal.customers.identity.linking.plan import LinkPlan, Values, compile_linking
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import Weights, weight_of
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.customers.identity.rules import NamespaceRule, Rules
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.linking import batch
from tilltal.runtime.linking.judgement import Judgement
from tilltal.runtime.linking.queue import Proposal
from tilltal.runtime.linking.verdicts import observation_of
from tilltal.runtime.live.linking.finding import Finder
from tilltal.runtime.storage.store import Store

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PORTION = 1_000
_NAMESPACE = "record"
_RULES = Rules(
    namespaces=(
        NamespaceRule(
            name=_NAMESPACE,
            is_person=True,
            is_unique=False,
            is_lower_case=False,
            shared_after=None,
            limit=None,
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
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_online(records, plan, weights, Path(folder)))


async def _online(
    records: Mapping[int, Values], plan: LinkPlan, weights: Weights, folder: Path
) -> tuple[dict[int, int], list[float]]:
    store = await open_store(str(folder / "live.sqlite"))
    try:
        people = People(store)
        await people.arrive(list(records))
        index = RecordIndex(plan, weights)
        finder = Finder(store, Store(folder))
        seconds = []
        gc.freeze()
        for number, (record, values) in enumerate(records.items()):
            now = _START + timedelta(seconds=number)
            started = time.perf_counter()
            index.put(record, values)
            found = await finder.found(index, [record], people.identity, now)
            seconds.append(time.perf_counter() - started)
            await people.link(found, now)
        return await people.groups(list(records)), seconds
    finally:
        await store.close()


class People:
    """Whose records are, in an operational store."""

    def __init__(self, store: OperationalStore) -> None:
        self._store = store
        self.identity = OnlineIdentity(_RULES)

    async def arrive(self, records: Sequence[int]) -> None:
        """Let each record be a person of its own."""
        since = micros(_START)
        for begin in range(0, len(records), _PORTION):
            some = records[begin : begin + _PORTION]
            identities = [Identified(one, _NAMESPACE, None) for one in some]
            owners: dict[int, tuple[Owned, ...]] = {one: (Owned(one, since, None, one),) for one in some}
            await self._store.write(Writes(identities=identities, owners=owners))

    async def link(self, found: Judgement, now: datetime) -> None:
        """Settle the links that are sure, each an observation, by the rules of identity."""
        for one in found.sure:
            await self._store.write(await self._settled(one, now))

    async def _settled(self, link: Proposal, now: datetime) -> Writes:
        ends = (link.namespace_a, link.a), (link.namespace_b, link.b)
        seen = Observed(observation_of(link.id), micros(now), ends)
        every = [*await self._store.component([link.a, link.b]), seen]
        known = await self._store.owners({token for one in every for _, token in one.ids})
        return Writes(observations=[seen], owners=self.identity.settle(every, known).owners)

    async def groups(self, records: Sequence[int]) -> dict[int, int]:
        """Return each record's person."""
        found: dict[int, int] = {}
        for begin in range(0, len(records), _PORTION):
            for record, spans in (await self._store.owners(records[begin : begin + _PORTION])).items():
                assert spans[-1].profile is not None, "a record is always somebody's"
                found[record] = spans[-1].profile
        return found


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
