from collections.abc import Callable
from pathlib import Path

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.rules.types import Type
from tilltal.workspace.graph import cycles, dependencies, needed_by, order, uses_scores
from tilltal.workspace.load import load
from tilltal.workspace.names import (
    attribute_fields,
    event_fields,
    event_schemas,
    expanded_traits,
    matching,
    products,
    profile_schema,
    record_attributes,
)
from tilltal.workspace.workspace import Workspace

FILES = {
    "tilltal.yaml": "name: bank\nchannels: [email, sms]\n",
    "sources/cards.yaml": (
        "kind: event\nread: {files: a.csv}\nidentities: {customer: id}\nat: at\n"
        "event: {column: type, map: {P: purchase}, values: [refund]}\n"
        "fields: {amount: money, items: integer, shop: text, weight: number, extra: any, sent: date}\n"
    ),
    "sources/till.yaml": (
        "kind: event\nread: {files: b.csv}\nidentities: {customer: id}\nat: at\n"
        "event: purchase\nfields: {till: integer, amount: money}\n"
    ),
    "sources/people.yaml": (
        "kind: record\nread: {files: c.csv}\nidentities: {customer: id}\nat: at\n"
        "fields: {age: integer, debt: money}\n"
    ),
    "sources/held.yaml": (
        "kind: holding\nread: {files: d.csv}\nidentities: {customer: id}\n"
        "product: {column: p, values: [card, loan]}\nopened: o\n"
    ),
    "sources/loans.yaml": (
        "kind: holding\nread: {files: e.csv}\nidentities: {customer: id}\nproduct: mortgage\nopened: o\n"
    ),
    "traits/spend.yaml": (
        "measure: sum\nof: amount\nfrom: [purchase]\nwindows: [7 days, 1 year, 30 minutes]\n"
    ),
    "traits/ratio.yaml": "expression: spend_7d / spend_12mo\n",
    "traits/is_big.yaml": "expression: ratio > 0.5\n",
    "audiences/big.yaml": "condition: is_big\n",
    "audiences/likely.yaml": "condition: audience.big AND score.loan > 0.1\n",
    "audiences/alike.yaml": "lookalike: {of: likely, features: [spend_*], size: 5}\n",
    "models/loan.yaml": (
        "outcome: {holding: loan}\nhorizon: 90 days\neligible: NOT holding.loan\n"
        "features: ['*']\nexclude: [is_*]\n"
    ),
    "personas.yaml": (
        "financial: {spend: {value: spend_7d}}\ncentroids: {saver: {spend: 1}, spender: {spend: 9}}\n"
    ),
    "policies/consent.yaml": "purposes: {marketing: {}, service: {consent: not_required}}\n",
}

MEASURES = {
    "count": ("", Type.INTEGER),
    "distinct": ("of: shop", Type.INTEGER),
    "recency": ("", Type.INTEGER),
    "exists": ("", Type.BOOLEAN),
    "avg": ("of: items", Type.NUMBER),
    "sum": ("of: items", Type.INTEGER),
    "min": ("of: amount", Type.NUMBER),
    "max": ("of: items", Type.INTEGER),
    "first": ("of: shop", Type.TEXT),
    "last": ("of: sent", Type.DATE),
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[dict[str, str]], Workspace]:
    def write(files: dict[str, str]) -> Workspace:
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text, encoding="utf-8")
        return load(tmp_path)

    return write


Make = Callable[[dict[str, str]], Workspace]


def test_event_types_come_from_fixed_names_maps_and_values(make: Make) -> None:
    schemas = event_schemas(make(FILES))
    assert set(schemas) == {"purchase", "refund"}
    assert schemas["purchase"] == {**schemas["refund"], "till": Type.INTEGER}
    assert schemas["refund"]["amount"] is Type.NUMBER
    assert schemas["refund"]["extra"] is Type.ANY


def test_declared_types_tell_money_from_numbers(make: Make) -> None:
    workspace = make(FILES)
    assert event_fields(workspace)["purchase"]["amount"] == "money"
    assert event_fields(workspace)["purchase"]["weight"] == "number"
    assert attribute_fields(workspace) == {"age": "integer", "debt": "money"}
    assert record_attributes(workspace) == {"age": Type.INTEGER, "debt": Type.NUMBER}


def test_windows_expand_to_one_trait_each(make: Make) -> None:
    traits = expanded_traits(make(FILES))
    assert set(traits) == {"spend_7d", "spend_12mo", "spend_30min", "ratio", "is_big"}
    assert traits["spend_12mo"].window == "1 year"
    assert traits["spend_12mo"].windows == ()
    assert traits["ratio"].expression == "spend_7d / spend_12mo"


def test_products_are_those_the_sources_declare(make: Make) -> None:
    assert products(make(FILES)) == ("card", "loan", "mortgage")


def test_the_profile_has_exactly_the_documented_names(make: Make) -> None:
    schema = profile_schema(make(FILES))
    consents = {f"consent.{p}.{c}" for p in ("marketing", "service") for c in ("email", "sms")}
    held = {"holdings", "leading_product", "holding.card", "holding.loan", "holding.mortgage"}
    segments = {"persona.name", "persona.saver", "persona.spender", "score.loan"}
    audiences = {"audience.big", "audience.likely", "audience.alike"}
    traits = {"spend_7d", "spend_12mo", "spend_30min", "ratio", "is_big"}
    assert set(schema) == {"age", "debt", "is_known"} | consents | held | segments | audiences | traits
    assert schema["ratio"] is Type.NUMBER
    assert schema["is_big"] is Type.BOOLEAN
    assert schema["holdings"] is Type.INTEGER


@pytest.mark.parametrize("measure", MEASURES)
def test_a_trait_has_the_type_of_its_measure(make: Make, measure: str) -> None:
    of, kind = MEASURES[measure]
    workspace = make(FILES | {"traits/one.yaml": f"measure: {measure}\nfrom: [purchase]\n{of}\n"})
    assert profile_schema(workspace)["one"] is kind


def test_a_pattern_without_a_dot_never_means_a_score() -> None:
    names = ["age", "spend_7d", "score.loan", "audience.big"]
    assert matching(["*"], names) == ("age", "spend_7d")
    assert matching(["score.*", "sp?nd_*"], names) == ("spend_7d", "score.loan")


def test_dependencies_follow_expressions_features_and_lookalikes(make: Make) -> None:
    graph = dependencies(make(FILES))
    assert graph["ratio"] == ("spend_12mo", "spend_7d")
    assert graph["audience.likely"] == ("audience.big", "score.loan")
    assert graph["audience.alike"] == ("audience.likely", "spend_12mo", "spend_30min", "spend_7d")
    assert graph["score.loan"] == ("ratio", "spend_12mo", "spend_30min", "spend_7d")
    assert graph["persona"] == ("spend_7d",)
    assert needed_by(graph, ["audience.big"]) == {"is_big", "ratio", "spend_7d", "spend_12mo"}


def test_the_order_puts_each_definition_after_what_it_needs(make: Make) -> None:
    workspace = make(FILES)
    graph, done = dependencies(workspace), order(workspace)
    assert sorted(done) == sorted(graph)
    for node, needs in graph.items():
        assert all(done.index(need) < done.index(node) for need in needs)


def test_what_needs_scores_is_found_through_others(make: Make) -> None:
    assert uses_scores(make(FILES)) == {"audience.likely", "audience.alike"}


def test_a_cycle_is_refused_with_its_path(make: Make) -> None:
    workspace = make(FILES | {"audiences/big.yaml": "condition: audience.likely OR is_big\n"})
    with pytest.raises(WorkspaceError, match=r"audience\.big -> audience\.likely -> audience\.big"):
        order(workspace)


def test_every_knot_of_cycles_is_found() -> None:
    graph = {"a": ("b",), "b": ("a", "b"), "c": ("d",), "d": ("c",), "e": ("a",)}
    assert set(cycles(graph)) == {("a", "b", "a"), ("b", "b"), ("c", "d", "c")}
    assert cycles({"a": ("b",), "b": ()}) == ()


def test_a_long_chain_of_traits_is_no_problem(make: Make) -> None:
    chain = {f"traits/t{i}.yaml": f"expression: t{i - 1} + 1\n" for i in range(1, 300)}
    workspace = make(FILES | chain | {"traits/t0.yaml": "expression: age\n"})
    assert profile_schema(workspace)["t299"] is Type.INTEGER
