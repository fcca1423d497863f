"""One record that arrived at a server: linked, shown or left alone, by the people of that moment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Observed, OperationalStore, Owned, Writes
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.levels import level_names
from tilltal.customers.identity.linking.plan import LinkPlan, Values, compile_linking
from tilltal.customers.identity.linking.weights import FieldWeights, Weights
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.customers.identity.rules import NamespaceRule, Rules
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.linking.judgement import Judgement
from tilltal.runtime.linking.verdicts import Verdict, keep_verdicts, link_id, observation_of
from tilltal.runtime.live.linking.finding import Finder
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.identity import Linking

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PLAN = compile_linking(
    Linking(
        compare={"name": "name", "born": "date", "phone": "number"},
        blocking=(("born",), ("phone",), ("name:2",)),
        max_records=3,
    ),
    (re.compile("unknown"),),
)


def weights_of(plan: LinkPlan, prior: float = 2**-10) -> Weights:
    """Same is worth 8 bits, different -6."""
    fields = []
    for one in plan.fields:
        steps = len(level_names(one.kind)) - 1
        u = tuple(0.5 / 2 ** (8 - 14 * number / steps) for number in range(steps + 1))
        fields.append(FieldWeights(field=one.name, m=(0.5,) * (steps + 1), u=u))
    return Weights(content=plan.content, trained="", records=0, prior=prior, fields=tuple(fields))


def record(name: str, born: str = "", phone: str = "") -> Values:
    told = {"name": name, "born": born, "phone": phone}
    return PLAN.values({field: text for field, text in told.items() if text})


ANN = record("Ann Lind", "1980-02-03", "070 1")
NEARLY = record("Ann Lind", "1980-02-03")
BO = record("Bo Ek", "1990-12-24", "070 2")
RULES = Rules(
    namespaces=(
        NamespaceRule(
            name="web", is_person=True, is_unique=False, is_lower_case=False, shared_after=None, limit=None
        ),
    )
)


class People:
    """Records 1, 2, ... and whose each is."""

    def __init__(self, store: OperationalStore, files: Store) -> None:
        self.store = store
        self.files = files
        self.finder = Finder(store, files)
        self.index = RecordIndex(PLAN, weights_of(PLAN))
        self.identity = OnlineIdentity(RULES)

    async def put(self, number: int, profile: int, values: Values) -> None:
        """Let a record be somebody's."""
        self.index.put(number, values)
        owners: dict[int, tuple[Owned, ...]] = {number: (Owned(number, micros(NOW), None, profile),)}
        await self.store.write(Writes(identities=[Identified(number, "web", None)], owners=owners))

    async def found(self, number: int) -> Judgement:
        """Return what the server finds about a record."""
        return await self.finder.found(self.index, [number], self.identity, NOW + timedelta(hours=1))


@asynccontextmanager
async def people(root: Path, *records: tuple[int, Values]) -> AsyncIterator[People]:
    """Open a store with records, each with whose it is."""
    store = await open_store(str(root / "live.sqlite"))
    made = People(store, Store(root))
    try:
        for number, (profile, values) in enumerate(records, start=1):
            await made.put(number, profile, values)
        yield made
    finally:
        await store.close()


def found(
    root: Path, *records: tuple[int, Values]
) -> tuple[set[tuple[int, int]], dict[tuple[int, int], str]]:
    """Return the sure pairs that the last of some records makes, and the shown ones with what is said."""

    async def story() -> Judgement:
        async with people(root, *records) as made:
            return await made.found(len(records))

    judged = asyncio.run(story())
    return {(one.a, one.b) for one in judged.sure}, {
        (one.a, one.b): one.objection for one in judged.proposals
    }


def test_the_same_is_linked_the_unsure_shown_and_others_left_alone(tmp_path: Path) -> None:
    for place, (values, sure, shown) in enumerate(
        ((ANN, {(1, 3)}, {}), (NEARLY, set(), {(1, 3): ""}), (record("Cid Ost"), set(), {}))
    ):
        root = tmp_path / str(place)
        root.mkdir()
        assert found(root, (1, ANN), (2, BO), (3, values)) == (sure, shown)


def test_records_of_one_person_are_no_news(tmp_path: Path) -> None:
    assert found(tmp_path, (1, ANN), (1, ANN)) == (set(), {})


def test_a_person_whose_other_record_speaks_against_is_shown(tmp_path: Path) -> None:
    assert found(tmp_path, (1, ANN), (1, BO), (3, ANN)) == (set(), {(1, 3): "contradiction"})


def test_a_person_with_many_records_gets_no_more(tmp_path: Path) -> None:
    assert found(tmp_path, (1, ANN), (1, NEARLY), (1, ANN), (4, ANN)) == (set(), {(1, 4): "max_records"})


def test_one_record_can_make_two_people_one(tmp_path: Path) -> None:
    half, other = NEARLY, record("Ann Lind", "", "070 1")

    async def story() -> Judgement:
        async with people(tmp_path, (1, half), (2, other), (3, ANN)) as made:
            likely = RecordIndex(PLAN, weights_of(PLAN, prior=0.4))
            for number, values in enumerate((half, other, ANN), start=1):
                likely.put(number, values)
            made.index = likely
            return await made.found(3)

    assert {(one.a, one.b) for one in asyncio.run(story()).sure} == {(1, 3), (2, 3)}


def test_whose_a_record_is_now_decides(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path, (1, ANN), (2, ANN)) as made:
            assert [one.id for one in (await made.found(2)).sure] == [link_id(1, 2)]
            await made.put(2, 1, ANN)
            assert await made.found(2) == Judgement()

    asyncio.run(story())


def test_a_link_that_a_rule_broke_is_not_found_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path, (1, ANN), (2, ANN)) as made:
            seen = Observed(observation_of(link_id(1, 2)), micros(NOW), (("web", 1), ("web", 2)))
            await made.store.write(Writes(observations=[seen]))
            assert await made.found(2) == Judgement()

    asyncio.run(story())


@pytest.mark.parametrize(("said", "objections"), [("undone", ["undone"]), ("rejected", [])])
def test_what_a_person_says_counts_from_then_on(tmp_path: Path, said: str, objections: list[str]) -> None:
    async def story() -> None:
        async with people(tmp_path, (1, ANN), (2, ANN)) as made:
            assert len((await made.found(2)).sure) == 1
            verdict = {"link": link_id(1, 2), "a": 1, "b": 2, "said": said, "at": NOW.isoformat()}
            keep_verdicts(made.files, [msgspec.convert(verdict, Verdict)])
            judged = await made.found(2)
            assert (judged.sure, [one.objection for one in judged.proposals]) == ((), objections)

    (tmp_path / "links").mkdir()
    asyncio.run(story())


def test_two_that_must_stay_apart_are_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path, (1, ANN), (2, ANN)) as made:
            made.identity = OnlineIdentity(RULES, Corrections(forbid=frozenset({(1, 2)})))
            assert [one.objection for one in (await made.found(2)).proposals] == ["forbidden_pair"]

    asyncio.run(story())


def test_a_record_without_anything_to_compare_is_left_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path, (1, ANN)) as made:
            assert await made.found(7) == Judgement()

    asyncio.run(story())
