"""Every code that the product can report is documented, and every documented code can be reported."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("C", "D", "E", "H", "M", "P", "S", "W")


def in_source() -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    return {code for text in texts for code in re.findall(r'"([A-Z][0-9]{3})"', text)}


def in_reference() -> set[str]:
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([A-Z][0-9]{3}) \|", text, re.MULTILINE))


@pytest.mark.parametrize("family", FAMILIES)
def test_codes_of_the_source_and_of_the_reference_are_the_same(family: str) -> None:
    source = {code for code in in_source() if code.startswith(family)}
    reference = {code for code in in_reference() if code.startswith(family)}
    assert source, f"no code of {family} in the source: the scan is broken"
    assert source - reference == set(), "undocumented"
    assert reference - source == set(), "documented, but never reported"


def test_no_family_is_forgotten() -> None:
    assert {code[0] for code in in_source()} == set(FAMILIES)


def test_no_code_is_documented_twice() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z][0-9]{3}) \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(set(rows))
