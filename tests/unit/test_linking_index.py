"""The index of records and the judge: who is probably one, and what is refused."""

import re

import msgspec
import pytest

from tilltal.core.errors import DataError
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.judging import (
    CONTRADICTION,
    MAX_RECORDS,
    UNDONE,
    Holder,
    Judge,
    best_per_people,
)
from tilltal.customers.identity.linking.levels import level_names
from tilltal.customers.identity.linking.plan import LinkPlan, Values, compile_linking
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import FieldWeights, Weights, probability, weight_of
from tilltal.customers.identity.links import KEPT
from tilltal.customers.identity.rules import NamespaceRule, Rules
from tilltal.workspace.definitions.identity import Linking

LINKING = Linking(
    compare={"name": "name", "born": "date", "phone": "number"},
    blocking=(("born",), ("phone",), ("name:2",)),
    max_block=3,
    max_records=3,
)
PLAN = compile_linking(LINKING, (re.compile("unknown"),))


def weights_of(plan: LinkPlan, prior: float = 2**-10) -> Weights:
    """Same is worth 8 bits, different -6, each level between an even share."""
    fields = []
    for one in plan.fields:
        steps = len(level_names(one.kind)) - 1
        bits = [8 - 14 * number / steps for number in range(steps + 1)]
        fields.append(
            FieldWeights(field=one.name, m=(0.5,) * (steps + 1), u=tuple(0.5 / 2**bit for bit in bits))
        )
    return Weights(content=plan.content, trained="", records=0, prior=prior, fields=tuple(fields))


WEIGHTS = weights_of(PLAN)


def record(name: str, born: str = "", phone: str = "") -> Values:
    told = {"name": name, "born": born, "phone": phone}
    return PLAN.values({field: text for field, text in told.items() if text})


ANN = record("Ann Lind", "1980-02-03", "070 1")
BO = record("Bo Ek", "1990-12-24", "070 2")


def records(*values: Values) -> RecordIndex:
    """Records 1, 2, ..."""
    made = RecordIndex(PLAN, WEIGHTS)
    for number, one in enumerate(values, start=1):
        made.put(number, one)
    return made


def test_a_score_is_the_sum_of_weights() -> None:
    made = records(ANN, BO)
    prior = WEIGHTS.prior_weight
    assert made.score(1, 1) == pytest.approx(probability(prior + 24))
    assert made.score(1, 2) < 1e-6
    assert probability(weight_of(0.999)) == pytest.approx(0.999)


def test_a_missing_value_is_no_evidence() -> None:
    scorer = PairScorer(PLAN, WEIGHTS)
    assert scorer.evidence(ANN, record("Ann Lind")) == pytest.approx(8)
    assert record("unknown", "1980-02-03") == (None, "19800203", None)


def test_candidates_share_a_key_and_crowded_keys_find_nobody() -> None:
    made = records(ANN, BO)
    assert set(made.candidates(record("An", "1990-12-24"))) == {1, 2}
    for number in range(3, 6):
        made.put(number, record(f"X{number}", "1980-02-03"))
    assert set(made.candidates(record("Qu", "1980-02-03"))) == set()


def test_records_leave_and_are_replaced() -> None:
    made = records(ANN, BO)
    made.put(1, BO)
    assert set(made.candidates(ANN)) == set()
    made.remove(1)
    made.remove(1)
    assert set(made.candidates(BO)) == {2}
    assert (len(made), 1 in made, 2 in made) == (1, False, True)


def test_a_record_of_other_letters_is_kept_as_told_and_leaves_whole() -> None:
    ivan = record("Иван Ёлкин", "1980-02-03", "070 1")
    made = records(ivan, ANN)
    assert made.values(1) == ivan
    made.put(1, BO)
    assert set(made.candidates(ivan)) == {2}
    made.remove(1)
    made.remove(2)
    assert len(made) == 0


def test_pairs_of_a_record_are_those_that_a_run_would_review() -> None:
    made = records(ANN, BO, record("Ann Lind", "1980-02-03"), record("Anna Lind", "1980-02-03", "070 1"))
    scorer = PairScorer(PLAN, WEIGHTS)
    pairs = made.pairs(1)
    assert {pair[:2] for pair in pairs} == {(1, 3), (1, 4)}
    for a, b, weight in pairs:
        assert weight == pytest.approx(scorer.weight(made.prepared(a), made.prepared(b)))
        assert weight >= weight_of(PLAN.review)
    assert made.pairs(2) == []


def test_a_key_is_crowded_from_the_same_size_on_for_records_inside() -> None:
    made = records(*[record(name, "1980-02-03", "070 1") for name in ("Ann Lind", "Ann Lind", "Ann Lind")])
    assert {pair[:2] for pair in made.pairs(1)} == {(1, 2), (1, 3)}
    made.put(4, ANN)
    assert made.pairs(1) == []


def test_early_stopping_changes_no_decision() -> None:
    scorer = PairScorer(PLAN, WEIGHTS)
    known = {1: ANN, 2: BO, 3: record("Anna Lindh", "1980-02-13", "071")}
    for values in (*known.values(), record("Ann", "1990-12-24", "0702")):
        for least in (-20.0, -5.0, 0.0, 5.0):
            every = {one: scorer.weight(values, other) for one, other in known.items()}
            found = {one: weight for weight, one in scorer.best(values, known.items(), least)}
            assert found == pytest.approx({one: weight for one, weight in every.items() if weight >= least})


def test_weights_of_other_definitions_are_refused() -> None:
    other = compile_linking(msgspec.structs.replace(LINKING, blocking=(("born",), ("name",))))
    with pytest.raises(DataError, match="P372"):
        RecordIndex(other, WEIGHTS)
    assert compile_linking(msgspec.structs.replace(LINKING, review=0.5)).content == PLAN.content


def namespace(name: str, *, unique: bool) -> NamespaceRule:
    return NamespaceRule(
        name=name, is_person=True, is_unique=unique, is_lower_case=False, shared_after=None, limit=None
    )


RULES = Rules(namespaces=(namespace("crm", unique=True), namespace("web", unique=False)))
CLOSE = record("Ann Lind", "1980-02-03", "070 1")


def judge(
    records: dict[int, Values],
    holders: list[Holder],
    forbid: frozenset[tuple[int, int]] = frozenset(),
    undone: tuple[tuple[int, int], ...] = (),
) -> Judge:
    scorer = PairScorer(PLAN, WEIGHTS)
    return Judge(holders, RULES, Corrections(forbid=forbid), records, PLAN, scorer, undone)


def test_two_values_of_a_unique_namespace_stay_apart() -> None:
    holders = [Holder(1, 0, 1, 0), Holder(2, 0, 2, 0), Holder(3, 1, 3, 0)]
    made = judge({1: ANN, 2: CLOSE, 3: CLOSE}, holders)
    assert made.take(1, 2) == "unique_namespace:crm"
    assert made.take(1, 3) == KEPT
    assert made.take(2, 3) == "unique_namespace:crm", "through the record linked before, too"
    assert made.conflict(2, 3) == "unique_namespace:crm"


def test_forbidden_and_undone_pairs_stay_apart_whoever_they_are_with() -> None:
    holders = [Holder(one, 1, one, 0) for one in (1, 2, 3)]
    same = {1: ANN, 2: CLOSE, 3: CLOSE}
    made = judge(same, holders, forbid=frozenset({(1, 2)}))
    assert [made.take(1, 3), made.take(2, 3)] == [KEPT, "forbidden_pair"]
    made = judge(same, holders, undone=((2, 1),))
    assert [made.take(1, 3), made.take(2, 3)] == [KEPT, UNDONE]


def test_a_chain_stops_where_records_contradict_each_other() -> None:
    holders = [Holder(one, 1, one, 0) for one in (1, 2, 3)]
    middle = (ANN[0], BO[1], None)
    made = judge({1: ANN, 2: middle, 3: BO}, holders)
    assert made.take(1, 2) == KEPT
    assert made.take(2, 3) == CONTRADICTION


def test_a_person_holds_so_many_records() -> None:
    holders = [Holder(one, 1, one, 0) for one in range(5)]
    made = judge(dict.fromkeys(range(5), ANN), holders)
    assert [made.take(0, 1), made.take(1, 2), made.take(2, 3)] == [KEPT, KEPT, MAX_RECORDS]


def test_of_pairs_between_the_same_people_the_first_is_kept() -> None:
    holders = [Holder(1, 1, 1, 0), Holder(2, 1, 1, 0), Holder(3, 1, 3, 0), Holder(4, 1, 4, 0)]
    made = judge({}, holders)
    found = [(1, 3, 9.0), (2, 3, 8.0), (3, 4, 7.0), (1, 2, 6.0)]
    assert best_per_people(found, made) == [(1, 3, 9.0), (3, 4, 7.0)]
