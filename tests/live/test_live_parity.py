"""The server as a whole against the batch: whatever comes in whatever order, both say the same of all."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.live.bank import LiveBank, Seen, cells, differences
from tests.live.live_messages import Document, Draft, corrections, drafts, next_midnight
from tests.live.live_words import FACTS, ONE_EMAIL, OTHER_FACTS, RULES
from tests.postgres_server import running_server

from tilltal.core.instants import micros
from tilltal.customers.audiences import PREFIX

_TICK = timedelta(microseconds=1)
_STARTS = (  # a day before the clocks go forward and back, and an hour before
    datetime(2026, 3, 27, 11, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 24, 15, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
)
_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 60, 299, 600, 3_600, 10_800, 40_000, 86_400, 2 * 86_400, 6 * 86_400, 31 * 86_400)
)


class Tally:
    """What the machines of a test have compared together."""

    def __init__(self) -> None:
        self.cells = 0
        self.steps: Counter[str] = Counter()


class Life(RuleBasedStateMachine):
    """A server lives; now and then everything is compared."""

    def __init__(self, tally: Tally, place: str | None) -> None:
        super().__init__()
        self._tally = tally
        self._folder = Path(tempfile.mkdtemp(prefix="tilltal-life-"))
        self._place = place or str(self._folder / "live.db")
        self._numbers = itertools.count(1)
        self._sent: list[Document] = []
        self._is_checked = True
        self._is_behind = False
        self._members: dict[str, dict[int, int]] = {}

    @initialize(start=st.sampled_from(_STARTS), rules=st.sampled_from(RULES), key=st.integers(0, 2**64))
    def found(self, start: datetime, rules: dict[str, Any], key: int) -> None:
        self._bank = LiveBank(self._folder / "bank", self._place, rules, start, key)
        self._told = Told()

    def teardown(self) -> None:
        try:
            if hasattr(self, "_bank"):
                self._finish()
        finally:
            shutil.rmtree(self._folder)

    def _finish(self) -> None:
        try:
            self.compare()
        finally:
            self._bank.close()

    @rule(call=st.lists(drafts(), min_size=1, max_size=9))
    def send_many(self, call: list[Draft]) -> None:
        self.send([call])

    @rule(calls=st.lists(st.lists(drafts(), min_size=1, max_size=4), min_size=1, max_size=4))
    def send(self, calls: list[list[Draft]]) -> None:
        for call in calls:
            documents = [draft.document(next(self._numbers), self._bank.now) for draft in call]
            collected = self._bank.send(documents)
            assert (collected.accepted, collected.rejected) == (len(call), ())
            self._sent += [as_stored(one, self._bank.now) for one in documents]
        self._note("send")

    @rule(call=st.lists(drafts(), min_size=1, max_size=9), portions=st.integers(0, 4))
    def ingest(self, call: list[Draft], portions: int) -> None:
        """Files bring messages while the server runs; it catches up with some of their rows."""
        now = self._bank.now
        documents = [typed(as_stored(draft.document(next(self._numbers), now), now)) for draft in call]
        assert self._bank.ingest(documents).taken == len(call)
        self._is_behind = True
        self._bank.catch_up(portions)
        self._sent += documents
        self._note("ingest")

    @precondition(lambda self: self._sent)
    @rule(picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=3), portions=st.integers(0, 4))
    def ingest_again(self, picks: list[int], portions: int) -> None:
        """Files bring what came before, as messages or in files."""
        places = {pick % len(self._sent) for pick in picks}
        self._bank.ingest([one for place in places if typed(one := self._sent[place]) == one])
        self._is_behind = True
        self._bank.catch_up(portions)
        self._note("ingest again")

    @precondition(lambda self: self._sent)
    @rule(picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=3))
    def send_again(self, picks: list[int]) -> None:
        collected = self._bank.send([self._sent[pick % len(self._sent)] for pick in dict.fromkeys(picks)])
        assert collected.accepted == 0 or self._is_behind  # what counts already is known, also of files
        self._note("send again")

    @rule(step=st.sampled_from(_STEPS))
    def pass_time(self, step: timedelta) -> None:
        self._bank.now += step
        self._note("time")

    @rule(nudge=st.sampled_from((-_TICK, timedelta(), _TICK, timedelta(hours=3))))
    def pass_midnight(self, nudge: timedelta) -> None:
        self._bank.now = max(self._bank.now, next_midnight(self._bank.now) + nudge)
        self._note("midnight")

    @precondition(lambda self: self._sent)
    @rule(what=st.sampled_from(("restart", "compact")))
    def upkeep(self, what: str) -> None:
        getattr(self._bank, what)()
        self._note(what)

    @precondition(lambda self: self._sent)
    @rule(given=corrections())
    def correct(self, given: list[Document]) -> None:
        self._bank.correct(given)
        self._note("correct")

    @precondition(lambda self: self._sent)
    @rule(
        rules=st.sampled_from((*RULES, ONE_EMAIL)),
        facts=st.sampled_from((FACTS, OTHER_FACTS, dict.fromkeys(FACTS, ""))),
        calls=st.lists(st.lists(drafts(), min_size=1, max_size=4), max_size=4),
    )
    def redefine(self, rules: dict[str, Any], facts: dict[str, str], calls: list[list[Draft]]) -> None:
        """Other facts of the past, other rules of who is who; messages come meanwhile."""
        self._bank.redefine(rules, facts, [partial(self.send, [call]) for call in calls])
        self._note("redefine")

    @precondition(lambda self: not self._is_checked)
    @rule(is_woken=st.booleans())
    def compare(self, is_woken: bool = True) -> None:
        self._bank.catch_up()
        self._is_behind = False
        batch = self._bank.batch()
        self._same(self._bank.live(), batch)
        if is_woken:
            self._bank.wake()
            self._same(self._bank.live(), batch)
            self._compare_moves(batch)
        self._is_checked = True
        self._tally.steps["compare"] += 1

    @precondition(lambda self: self._sent)
    @rule()
    def take_over(self) -> None:
        place = str(self._folder / f"over{next(self._numbers)}.db")
        self._same(self._bank.taken_over(place), self._bank.batch())
        self._tally.steps["take over"] += 1

    def _same(self, live: Seen, batch: Seen) -> None:
        found = differences(live, batch)
        assert not found, found[:6]
        self._tally.cells += cells(batch)

    def _compare_moves(self, batch: Seen) -> None:
        """Compare memberships and stages, as stored and as told, with the batch's."""
        members = self._bank.members()
        for audience, held in members.items():
            wanted = {profile for profile, row in batch.profiles.items() if row[PREFIX + audience] is True}
            assert held.keys() == wanted, audience
            self._tally.cells += len(batch.profiles)
        self._told.take(self._bank)
        assert self._told.members == {name: held for name, held in members.items() if held}
        stages = {profile: row["lifecycle.stage"] for profile, row in batch.profiles.items()}
        assert self._told.stages == {profile: stage for profile, stage in stages.items() if stage}
        self._tally.cells += len(stages)

    def _note(self, step: str) -> None:
        self._is_checked = False
        self._tally.steps[step] += 1


def as_stored(document: Document, now: datetime) -> Document:
    """Return a message as a server keeps it: a clock that is a little ahead means now."""
    return {**document, "timestamp": min(document["timestamp"], now)}


def typed(document: Document) -> Document:
    """Return a message without the field of no declared type, which files keep as text."""
    fields = document.get("properties", {})
    if "thing" not in fields:
        return document
    return {**document, "properties": {name: fields[name] for name in fields if name != "thing"}}


class Told:
    """What a subscriber knows who has heard every change in order."""

    def __init__(self) -> None:
        self.members: dict[str, dict[int, int]] = {}
        self.stages: dict[int, str] = {}
        self._position = 0

    def take(self, bank: LiveBank) -> None:
        """Hear what is new; who is in does not enter, who is out does not leave."""
        for change in bank.run(bank.store.changes_after(self._position, 1_000_000)):
            self._position = change.position
            assert change.at <= micros(bank.now)
            held = self.members.setdefault(change.name, {})
            if change.kind == "entered":
                assert change.profile not in held, change
                held[change.profile] = change.at
            elif change.kind == "left":
                assert held[change.profile] <= change.at, change
                del held[change.profile]
            elif change.kind == "stage":
                stage = msgspec.msgpack.decode(change.body)
                assert (stage["from"] or "") == self.stages.get(change.profile, ""), change
                self.stages[change.profile] = stage["to"]
            elif change.kind == "merged":
                self.stages.pop(change.profile, None)
                for profiles in self.members.values():
                    profiles.pop(change.profile, None)
        self.members = {name: held for name, held in self.members.items() if held}
        self.stages = {profile: stage for profile, stage in self.stages.items() if stage}


def live_through(
    tally: Tally, new_place: Callable[[], str | None], examples: int, steps: int, seed: int
) -> None:
    """Let Hypothesis lead some lives and compare."""

    class Drawn(Life):
        def __init__(self) -> None:
            super().__init__(tally, new_place())

    run_state_machine_as_test(
        hypothesis_seed(seed)(Drawn),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )


def test_live_and_batch_agree_on_everybody() -> None:
    tally = Tally()
    live_through(tally, lambda: None, examples=8, steps=12, seed=3)
    assert tally.cells > 2_000
    assert {"send", "ingest", "correct", "time", "compare"} <= tally.steps.keys()


@pytest.mark.parametrize("opened", ["2026-10-20", "2026-10-23"], ids=["today", "ahead"])
def test_a_holding_is_whose_the_device_was_as_its_day_began_or_it_was_told(
    tmp_path: Path, opened: str
) -> None:
    noon = datetime(2026, 10, 20, 12, tzinfo=UTC)

    def look(number: int, at: datetime, user: str) -> Document:
        draft = Draft("Look", {"userId": user, "anonymousId": "d1"}, timedelta(), {})
        return draft.document(number, at)

    held = Draft("Held", {"anonymousId": "d1"}, timedelta(), {"product": "loan", "opened": opened})
    bank = LiveBank(tmp_path / "bank", str(tmp_path / "live.db"), {}, noon, key=1)
    try:
        local_midnight = noon.replace(hour=0) - timedelta(hours=2)
        bank.send(
            [look(1, noon - timedelta(days=5), "c1"), look(2, local_midnight + timedelta(hours=1), "c2")]
        )
        bank.send([held.document(3, noon)])
        bank.now += timedelta(days=1)
        bank.send([look(4, bank.now, "c3")])
        bank.now += timedelta(days=3)
        seen = bank.live()
        assert differences(seen, bank.batch()) == []
        assert [row["holdings"] for row in seen.profiles.values()].count(1) == 1
    finally:
        bank.close()


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_hundred_thousand_cells_agree(store: str) -> None:
    tally = Tally()
    seed = 100
    while tally.cells < 100_000:
        seed += 1
        place = running_server().new_dsn if store == "postgres" else lambda: None
        live_through(tally, place, examples=15, steps=20, seed=seed)
    assert tally.cells >= 100_000
    assert tally.steps.keys() >= {
        "send", "send again", "ingest", "ingest again", "time", "midnight", "restart", "compact", "correct",
        "compare", "take over", "redefine",
    }  # fmt: skip
