"""What the dialect refuses, and what it says: golden pairs, places in files, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilltal.core.errors import Place, WorkspaceError
from tilltal.rules.expression import parse
from tilltal.rules.types import Type

FAULTS = Path(__file__).parents[1] / "golden" / "rules" / "faults.txt"
SCHEMA = {
    **dict.fromkeys(("age", "logins"), Type.INTEGER),
    **dict.fromkeys(("city", "note", "lifecycle.stage"), Type.TEXT),
    **dict.fromkeys(("flag", "maybe"), Type.BOOLEAN),
    **dict.fromkeys(("score", "word", "sure", "missing"), Type.ANY),
    "spend": Type.NUMBER,
    "born": Type.DATE,
    "seen": Type.TIMESTAMP,
}


def faults_of(text: str, place: Place | None = None, want: Type | None = None) -> list[str]:
    with pytest.raises(WorkspaceError) as caught:
        parse(text, SCHEMA, place=place, want=want)
    return [str(fault).removeprefix(":") for fault in caught.value.faults]


def golden_pairs() -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    expression = ""
    for line in FAULTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            pairs[expression].append(line.strip())
        elif line and not line.startswith("#"):
            expression = line
            pairs[expression] = []
    return pairs


@pytest.mark.parametrize(("text", "faults"), golden_pairs().items(), ids=list(golden_pairs()))
def test_faults_are_told_word_for_word(text: str, faults: list[str]) -> None:
    assert faults_of(text) == faults


def test_a_fault_points_into_the_file() -> None:
    place = Place(file="audiences/young.yaml", line=3, column=12)
    (fault,) = faults_of("flag AND aeg > 18", place)
    assert fault.startswith("audiences/young.yaml:3:21 D203 ")


def test_further_lines_begin_in_the_column_of_the_first() -> None:
    place = Place(file="a.yaml", line=3, column=5)
    (fault,) = faults_of("flag\nAND\n  aeg > 18", place)
    assert fault.startswith("a.yaml:5:7 D203 ")


def test_all_faults_are_told_at_once_in_order() -> None:
    faults = faults_of("aeg > 1 AND\nUPER(city) = 'A' OR city > 5")
    assert [fault[:8] for fault in faults] == ["1:1 D203", "2:1 D204", "2:28 D20"]


def test_a_fault_is_told_once_though_what_is_around_it_cannot_be_checked() -> None:
    assert len(faults_of("ROUND(aeg + 1, 2) > 5 AND flag")) == 1


def test_want_is_checked() -> None:
    (fault,) = faults_of("age + 1", want=Type.BOOLEAN)
    assert fault == "1:1 D209 A boolean is wanted here, but this gives: integer. Compare it: x <> 0."
    assert parse("age", SCHEMA, want=Type.NUMBER).type is Type.NUMBER
    assert parse("NULL", SCHEMA, want=Type.DATE).type is Type.DATE


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_is_refused(text: str) -> None:
    (fault,) = faults_of(text)
    assert "D202 The expression is empty." in fault


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "(" * 500 + "1" + ")" * 500,
        "NOT " * 5_000 + "flag",
        "- " * 5_000 + "1",
        " + ".join(["age"] * 5_000),
        "CASE age WHEN 1 THEN " * 300 + "1" + " END" * 300,
        "ROUND(spend * " * 12 + "1" + ")" * 12,
        "age IN (" + ", ".join(["1"] * 30_000) + ")",
    ],
    ids=["parentheses", "fewer", "not", "minus", "plus", "case", "copies", "list"],
)
def test_what_is_too_large_is_refused_with_a_word_on_what_to_do(text: str) -> None:
    (fault,) = faults_of(text)
    assert " D208 " in fault
    assert "Split it into traits or audiences" in fault


@pytest.mark.parametrize("text", ["'a\0b'", "'\ud800'", "\0", "age > \ufeff1"])
def test_unreadable_characters_are_refused(text: str) -> None:
    assert faults_of(text)[0].split()[1] in ("D201", "D210")
