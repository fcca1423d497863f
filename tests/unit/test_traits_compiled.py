from __future__ import annotations

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.customers.traits.compiled import compile_trait, compile_traits
from tilltal.customers.traits.schema import EventType
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait

SCHEMAS = {
    "buy": EventType({"amount": Type.NUMBER, "city": Type.TEXT, "pieces": Type.INTEGER}, {"amount": 100}),
    "call": EventType({"pieces": Type.NUMBER, "city": Type.BOOLEAN, "amount": Type.NUMBER}),
    "page": EventType({"anything": Type.ANY}),
}


@pytest.mark.parametrize(
    ("trait", "code", "words"),
    [
        (Trait(measure="count"), "W161", "names no event type"),
        (Trait(measure="count", from_=("buys",)), "W161", "Valid: buy"),
        (Trait(measure="sum", of="amont", from_=("buy",)), "W162", "Valid: amount"),
        (Trait(measure="last", of="city", from_=("buy", "call")), "W163", "different types"),
        (Trait(measure="sum", of="amount", from_=("buy", "call")), "W163", "money in some only"),
        (Trait(measure="sum", from_=("buy",)), "W164", "needs a field in `of`"),
        (Trait(measure="max", of="city", from_=("buy",)), "W164", "needs numbers, and 'city' is text"),
        (Trait(measure="count", from_=("buy",), window="7 d"), "W165", "is no window"),
        (Trait(measure="count", from_=("buy",), where="amount >"), "D202", "traits/t.yaml"),
    ],
)
def test_a_faulty_trait_is_refused_with_help(trait: Trait, code: str, words: str) -> None:
    with pytest.raises(WorkspaceError) as caught:
        compile_trait("t", trait, SCHEMAS)
    assert [fault.code for fault in caught.value.faults] == [code]
    assert words in str(caught.value)
    assert "traits/t.yaml" in str(caught.value)


def test_all_faulty_traits_are_told_at_once() -> None:
    traits = {
        "a": Trait(measure="count"),
        "b": Trait(expression="1"),
        "c": Trait(measure="count", from_=("x",)),
    }
    with pytest.raises(WorkspaceError) as caught:
        compile_traits(traits, SCHEMAS)
    assert [fault.place.file for fault in caught.value.faults] == ["traits/a.yaml", "traits/c.yaml"]


@pytest.mark.parametrize(
    ("measure", "of", "expected"),
    [
        ("count", None, Type.INTEGER),
        ("distinct", "city", Type.INTEGER),
        ("recency", None, Type.INTEGER),
        ("exists", None, Type.BOOLEAN),
        ("sum", "amount", Type.NUMBER),
        ("sum", "pieces", Type.INTEGER),
        ("avg", "pieces", Type.NUMBER),
        ("max", "pieces", Type.INTEGER),
        ("last", "city", Type.TEXT),
        ("first", "amount", Type.NUMBER),
    ],
)
def test_a_trait_knows_its_type(measure: Measure, of: str | None, expected: Type) -> None:
    assert compile_trait("t", Trait(measure=measure, of=of, from_=("buy",)), SCHEMAS).type is expected


def test_types_meet_over_event_types() -> None:
    trait = compile_trait("t", Trait(measure="sum", of="pieces", from_=("call", "buy", "call")), SCHEMAS)
    assert trait.of_type is Type.NUMBER
    assert trait.types == ("buy", "call")
    untyped = compile_trait("t", Trait(measure="sum", of="anything", from_=("page",)), SCHEMAS)
    assert untyped.type is Type.NUMBER
