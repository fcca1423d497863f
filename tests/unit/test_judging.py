"""Judging definitions by a server's log: which decisions count, what they earned, and what was known."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.commands import run
from tests.e2e.serving import Shop

from tilltal.core.errors import DataError
from tilltal.core.instants import micros
from tilltal.core.operational import Answered, Decided, Writes
from tilltal.decisions.live.exploring import Chance
from tilltal.engines.operational.opening import open_store
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.archive import Origin, keep
from tilltal.runtime.live.answers.deciding import Logged, read_logged, written
from tilltal.runtime.live.answers.judging import Judged, evaluate_logged
from tilltal.runtime.live.answers.replaying import Then
from tilltal.runtime.live.answers.selecting import firsts, selection_of
from tilltal.runtime.live.contract import Scalar
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY, HOUR = 86_400_000_000, 3_600_000_000
ACTION = """
    title: {name}
    group: {name}
    purpose: service
    propensity: {{adaptive: {{base_rate: 0.3, evidence: 10, wait: {wait}}}}}
    value: 100
    eligibility: [{{name: counted, when: purchases >= 0}}]
    """
POLICY = "exploration: {method: thompson}\n"


class Diary:
    """Decisions in a store, as a server would have made and logged them."""

    def __init__(self, root: Path) -> None:
        self.shop = Shop(root)
        for name in ("hello", "thanks"):
            shutil.rmtree(root / "actions" / name)
        self.shop.write("tilltal.yaml", (root / "tilltal.yaml").read_text().replace("[hello]", "[]"))
        self.shop.write("policies/arbitration.yaml", POLICY)
        for name, wait in (("card", "P1D"), ("fund", "P7D")):
            self.shop.write(f"actions/{name}/action.yaml", ACTION.format(name=name, wait=wait))
            self.shop.write(f"actions/{name}/push.en.yaml", "{title: Hello, body: Hello.}")
        (root / ".tilltal").mkdir()
        self._number = 0

    def lived(
        self,
        count: int,
        wish: Callable[[str, int], float],
        *,
        days: float = 0,
        context: dict[str, Scalar] | None = None,
    ) -> list[Decided]:
        """Decide for customers; who says yes, by action and purchases, does so soon."""
        return asyncio.run(self._lived(count, wish, int(days * DAY), context or {}))

    async def _lived(
        self, count: int, wish: Callable[[str, int], float], later: int, context: dict[str, Scalar]
    ) -> list[Decided]:
        workspace, rng = usable(self.shop.root), np.random.default_rng(7 + self._number)
        then, rows, answers = Then(workspace), [], []
        for _ in range(count):
            self._number += 1
            purchases = int(rng.integers(0, 10))
            row = self._decided(then, workspace.content_hash, micros(START) + later, purchases, context)
            rows.append(row)
            for one in read_logged(row.body).shown:
                if rng.random() < wish(one.action, purchases):
                    answers.append(answered(row, one.action, row.at + HOUR))
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            await keep(store, workspace, Origin())
            await store.write(Writes(decisions=rows, responses=answers))
        finally:
            await store.close()
        return rows

    def _decided(
        self, then: Then, version: str, at: int, purchases: int, context: dict[str, Scalar]
    ) -> Decided:
        key = (at // 1000).to_bytes(6, "big") + self._number.to_bytes(10, "big")
        logged = Logged(
            definitions=version,
            context=context,
            count=1,
            channel=None,
            is_known=True,
            is_fallback=False,
            values={"purchases": purchases},
            rates=b"",
            shown=[],
        )
        decider = then.decider(logged)
        pairs = len(decider.adaptive)
        explores = then.workspace.arbitration.exploration.method != "none"
        made = decider.decide(
            decider.values_of(logged.values),
            Clock(START, then.workspace.zone),
            context,
            count=1,
            rates=np.full(pairs, 0.3),
            chance=Chance(np.full(pairs, 10.0), key) if explores else None,
        )
        body = msgspec.structs.replace(
            logged,
            values=decider.known_of(made.moment.values),
            rates=np.asarray(made.moment.rates).tobytes(),
            explored=made.explored,
            shown=list(made.shown),
        )
        return Decided(id=key, at=at, profile=self._number, body=written(body))

    def judged(self, days: float) -> Judged:
        """Judge the definitions that lie there now, so long after the beginning."""
        return asyncio.run(
            evaluate_logged(usable(self.shop.root), START + timedelta(days=days), 1, Silent(), {})
        )


def answered(row: Decided, action: str, at: int) -> Answered:
    return Answered(
        id=row.id, decision=row.id, action=action, channel="push", kind="accept", at=at, received=at
    )


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "shop")


def yes(rows: Sequence[Decided], diary: Diary) -> float:
    """The share of decisions with an accept."""

    async def count() -> int:
        store = await open_store(str(diary.shop.root / ".tilltal/live.sqlite"))
        try:
            return len(await store.responses_to([row.id for row in rows]))
        finally:
            await store.close()

    return asyncio.run(count()) / len(rows)


def test_what_is_too_young_to_have_a_no_is_left_out_whatever_its_answer(diary: Diary) -> None:
    old = diary.lived(220, lambda *_: 0.2)
    diary.lived(220, lambda *_: 0.2, days=5)
    found = diary.judged(days=8)
    # on day 8 the card's silence of day 5 says no, the fund's not yet: both competed, so neither counts
    assert (found.evaluation.overlap.rows, found.young) == (220, 220)
    assert found.evaluation.earned.value == pytest.approx(100 * yes(old, diary))
    with pytest.raises(DataError, match="M413"):
        diary.judged(days=6.9)


def test_what_may_be_sent_later_has_its_whole_wait_from_then_on(diary: Diary) -> None:
    diary.shop.write("policies/sending.yaml", "{channels: [push], events: [purchase], horizon: 24 hours}\n")
    rows = diary.lived(220, lambda *_: 0.2)
    with pytest.raises(DataError, match="M413"):
        diary.judged(days=7.9)
    found = diary.judged(days=8.1)
    assert (found.evaluation.overlap.rows, found.young) == (220, 0)
    assert found.evaluation.earned.value == pytest.approx(100 * yes(rows, diary))


def test_a_contact_is_paid_for_by_who_says_no_too(diary: Diary) -> None:
    diary.shop.write("policies/arbitration.yaml", POLICY + "costs: {push: 15}\n")
    rows = diary.lived(220, lambda *_: 0.2)
    assert {(one.V, one.cost) for row in rows for one in read_logged(row.body).shown} == {(100.0, 15.0)}
    assert diary.judged(days=8).evaluation.earned.value == pytest.approx(100 * yes(rows, diary) - 15)


def test_what_was_not_read_then_cannot_be_judged_and_is_named(
    diary: Diary, capsys: pytest.CaptureFixture[str]
) -> None:
    diary.lived(220, lambda *_: 0.2)
    asks = ACTION.format(name="card", wait="P1D") + "applicability: [{name: spends, when: spend > 0}]\n"
    diary.shop.write("actions/card/action.yaml", asks)
    with pytest.raises(DataError, match=r"M415.*lacks spend\."):
        diary.judged(days=8)
    diary.lived(250, lambda *_: 0.2, days=1)
    found = diary.judged(days=9)
    assert (found.evaluation.overlap.rows, found.lacking, found.names) == (250, 220, ("spend",))
    assert run("evaluate", diary.shop.root) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "220 decisions were left out, for the log lacks what was not read then: spend." in said


def test_a_new_cap_cannot_be_judged_by_decisions_that_did_not_count_for_it(diary: Diary) -> None:
    diary.lived(220, lambda *_: 0.2)
    diary.shop.write("policies/contact.yaml", "caps: [{name: daily, limit: 1, rolling: P1D}]\n")
    with pytest.raises(DataError, match=r"M415.*contacts\."):
        diary.judged(days=8)


def test_the_context_is_in_the_log_whoever_read_it(diary: Diary) -> None:
    diary.lived(220, lambda *_: 0.2, context={"page": "loans"})
    diary.shop.write("policies/engagement.yaml", "context: {page: text}\n")
    asks = "applicability: [{name: there, when: context.page = 'loans'}]\n"
    for name, wait in (("card", "P1D"), ("fund", "P7D")):
        diary.shop.write(f"actions/{name}/action.yaml", ACTION.format(name=name, wait=wait) + asks)
    found = diary.judged(days=8).evaluation
    assert all(one.gain.value == pytest.approx(0, abs=1e-9) for one in found.values[:2])


@pytest.mark.slow
def test_what_was_known_makes_the_doubly_robust_answer_the_surest(diary: Diary) -> None:
    def wish(action: str, purchases: int) -> float:
        return (0.95 if purchases > 4 else 0.05) - (0.04 if action == "card" else 0.0)

    rows = diary.lived(600, wish)
    diary.shop.write("policies/arbitration.yaml", POLICY + "levers: {action: {fund: 200}}\n")
    found = {one.method: one.value for one in diary.judged(days=8).evaluation.values}
    new, truth = Then(usable(diary.shop.root)), 0.0
    for row in rows:
        logged = read_logged(row.body)
        purchases = logged.values["purchases"]
        assert isinstance(purchases, int)
        for name, chance in firsts(selection_of(new, logged, row.id, row.at)).items():
            truth += chance * 100 * wish(name, purchases) / len(rows)
    assert found["DR"].error < 0.85 * found["SNIPS"].error
    assert abs(found["DR"].value - truth) < 4 * found["DR"].error
