"""Levels of agreement: Python and DuckDB give the same for any two values; values lose what means nothing."""

import random
import re
from typing import get_args

import pyarrow as pa
import pytest
from tests.link_people import slip

from tilltal.customers.identity.linking.levels import level, level_names, levels_of
from tilltal.customers.identity.linking.similarity import as_bytes, is_within_one_slip, jaro_winkler
from tilltal.customers.identity.linking.values import comparable, folded
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.identity import Comparison

KINDS: tuple[Comparison, ...] = get_args(Comparison)
ALPHABETS = ("ab", "abcdefgh", "0123456789", "aåäéжд中文ab")


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    source = random.Random(seed)
    made = []
    for _ in range(count):
        letters = source.choice(ALPHABETS)
        a = "".join(source.choices(letters, k=source.randint(1, 14)))
        b = a if source.random() < 0.7 else "".join(source.choices(letters, k=source.randint(1, 14)))
        for _ in range(source.randint(0, 3)):
            b = slip(source, b) or a
        made.append((a, b))
    return made


def dates(count: int, seed: int) -> list[tuple[str, str]]:
    source = random.Random(seed)

    def date() -> str:
        return f"{source.choice((1980, 1981))}{source.randint(1, 12):02d}{source.randint(1, 12):02d}"

    return [(date(), source.choice((date(), date()[:7]))) for _ in range(count)]


def mails(count: int, seed: int) -> list[tuple[str, str]]:
    source = random.Random(seed)

    def mail() -> str:
        return f"{source.choice(('ann.b', 'ann.bo', 'c', 'anna.b'))}{source.choice(('@x.se', '@y.se', ''))}"

    return [(mail(), mail()) for _ in range(count)]


def in_duckdb(found: list[tuple[str, str]], sql: str) -> list[tuple[object, ...]]:
    with DuckDBEngine() as engine:
        columns = {"n": range(len(found)), "a": [a for a, _ in found], "b": [b for _, b in found]}
        engine.register("pairs", pa.table({name: list(values) for name, values in columns.items()}))
        return engine.rows(f"SELECT {sql} FROM pairs ORDER BY n")


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_forms_of_each_level_agree(kind: Comparison) -> None:
    found = pairs(8_000, 1) + dates(2_000, 2) + mails(2_000, 3)
    whens = [f"WHEN {one.sql} THEN {number}" for number, one in enumerate(levels_of(kind), start=1)]
    last = len(whens) + 1
    sql = f"CASE WHEN a = b THEN 0 {' '.join(whens)} ELSE {last} END" if whens else "CAST(a <> b AS INTEGER)"
    expected = [row[0] for row in in_duckdb(found, sql)]
    ours = [level(kind, as_bytes(a), as_bytes(b)) for a, b in found]
    wrong = [
        (pair, one, other) for pair, one, other in zip(found, ours, expected, strict=True) if one != other
    ]
    if kind in ("postcode", "date"):  # comparable ones are ASCII; letters and bytes differ only beyond
        wrong = [one for one in wrong if "".join(one[0]).isascii()]
    assert wrong == []
    assert set(ours) == set(range(last + 1)), "a level that no pair showed was not tested"


def test_jaro_winkler_is_that_of_duckdb() -> None:
    found = pairs(20_000, 4)
    expected = [row[0] for row in in_duckdb(found, "jaro_winkler_similarity(a, b)")]
    assert [jaro_winkler(as_bytes(a), as_bytes(b)) for a, b in found] == pytest.approx(expected, abs=1e-12)


def test_jaro_winkler_of_the_published_examples() -> None:
    assert jaro_winkler("MARTHA", "MARHTA") == pytest.approx(0.9611, abs=5e-5)  # Winkler 1990
    assert jaro_winkler("DWAYNE", "DUANE") == pytest.approx(0.84, abs=5e-5)
    assert jaro_winkler("DIXON", "DICKSONX") == pytest.approx(0.8133, abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "is_one"),
    [
        ("", "", True),
        ("", "a", True),
        ("", "ab", False),
        ("ab", "ba", True),
        ("abc", "cba", False),
        ("abcd", "abd", True),
        ("abcd", "abxd", True),
        ("abcd", "acbd", True),
        ("abcd", "axyd", False),
    ],
)
def test_one_slip(a: str, b: str, is_one: bool) -> None:
    assert is_within_one_slip(a, b) is is_one
    assert is_within_one_slip(b, a) is is_one


@pytest.mark.parametrize(
    ("kind", "told", "kept"),
    [
        ("name", "  O'Neill-Åberg ", "oneillaberg"),
        ("name", "Łoś", "los"),
        ("name", "--", None),
        ("date", "1964-02-29 00:00:00", "19640229"),
        ("date", "1964/02/29", "19640229"),
        ("number", "070-123 45 67", "0701234567"),
        ("postcode", "se-114 55", "se11455"),
        ("email", " Ann@Example.SE ", "ann@example.se"),
        ("exact", "Straße", "strasse"),
    ],
)
def test_what_means_nothing_is_gone(kind: Comparison, told: str, kept: str | None) -> None:
    assert comparable(kind, told) == kept


def test_folding_leaves_other_scripts() -> None:
    assert folded("Жук") == "жук"


def test_conditions_name_the_two_sides_as_words() -> None:
    for kind in KINDS:
        assert len(level_names(kind)) == len(levels_of(kind)) + 2
        for one in levels_of(kind):
            assert set(re.findall(r"\b[a-z]\b", one.sql)) == {"a", "b"}
