"""What becomes of probable pairs: linked, to be looked at, or left alone. The same in batch and online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.linking.judging import Holder, Judge, best_per_people
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import probability, weight_of
from tilltal.customers.identity.links import KEPT
from tilltal.customers.identity.rules import Rules
from tilltal.runtime.linking.queue import Proposal
from tilltal.runtime.linking.verdicts import Verdict, link_id

Scored = tuple[int, int, float]  # two tokens and their weight, the prior included


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Records to compare, and whose they are by now: at least of everybody that pairs name."""

    records: Mapping[int, Values]
    holders: tuple[Holder, ...]
    namespace: Mapping[int, str]

    @property
    def profile(self) -> dict[int, int]:
        """Token → profile."""
        return {one.token: one.profile for one in self.holders}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of pairs: `sure` are to be linked, `proposals` to be shown to a person."""

    proposals: tuple[Proposal, ...] = ()
    sure: tuple[Proposal, ...] = ()


def judged(
    pairs: Sequence[Scored],
    known: Known,
    plan: LinkPlan,
    scorer: PairScorer,
    rules: Rules,
    corrections: Corrections[int],
    said: Mapping[str, Verdict],
    now: datetime,
) -> Judgement:
    """Say what to do with pairs of different people.

    Args:
        pairs: most probable first.
        known: who the people are.
        plan: thresholds and limits of linking.
        scorer: of the trained weights.
        rules: of identity.
        corrections: decisions in force, over tokens.
        said: the last word on each pair that was ever decided against, by link: what a person took back is
            never sure again.
        now: the time of what is found.
    """
    if not pairs:
        return Judgement()
    undone = [(one.a, one.b) for one in said.values() if one.said == "undone"]
    holders = _concerned(known, pairs)
    records = {one.token: known.records[one.token] for one in holders if one.token in known.records}
    judge = Judge(holders, rules, corrections, records, plan, scorer, undone)
    sure, rest = _taken(pairs, judge, weight_of(plan.auto_link), said)
    first = {pair[:2]: objection for pair, objection in rest}
    waiting = best_per_people([pair for pair, _ in rest], judge)
    return Judgement(
        proposals=tuple(
            _proposal(known, one, now, judge.conflict(one[0], one[1]) or first[one[:2]]) for one in waiting
        ),
        sure=tuple(_proposal(known, one, now, "") for one in sure),
    )


def last_said(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    """Return the last word on each pair that was ever decided against."""
    return {one.link: one for one in verdicts}


def _concerned(known: Known, pairs: Sequence[Scored]) -> list[Holder]:
    """Return the identifiers of people that a pair speaks of: of millions, those that matter."""
    profile = known.profile
    people = {profile[token] for pair in pairs for token in pair[:2]}
    return [one for one in known.holders if one.profile in people]


def _taken(
    pairs: Sequence[Scored], judge: Judge, least: float, said: Mapping[str, Verdict]
) -> tuple[list[Scored], list[tuple[Scored, str]]]:
    """Return the pairs that are sure, and the others with what kept them from being linked."""
    sure: list[Scored] = []
    rest: list[tuple[Scored, str]] = []
    for pair in pairs:
        a, b, weight = pair
        word = said.get(link_id(a, b))
        if (word is not None and word.said == "rejected") or judge.person(a) is judge.person(b):
            continue
        objection = judge.take(a, b) if weight >= least else KEPT
        if weight >= least and objection == KEPT:
            sure.append(pair)
        else:
            rest.append((pair, objection))
    return sure, rest


def _proposal(known: Known, pair: Scored, now: datetime, objection: str) -> Proposal:
    a, b, weight = pair
    return Proposal(
        id=link_id(a, b),
        a=a,
        namespace_a=known.namespace[a],
        b=b,
        namespace_b=known.namespace[b],
        probability=probability(weight),
        found=now.astimezone(UTC).isoformat(),
        objection=objection,
    )
