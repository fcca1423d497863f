import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.workspace.document import Mapping, Scalar
from tilltal.workspace.yaml_tree import MAX_DEPTH, MAX_NODES, parse


def codes(text: str) -> list[str]:
    try:
        return [fault.code for fault in parse(text, "a.yaml").faults]
    except WorkspaceError as error:
        return [fault.code for fault in error.faults]


def kind_of(text: str) -> str:
    root = parse(f"a: {text}\n", "a.yaml").root
    assert isinstance(root, Mapping)
    value = root.items[0][1]
    assert isinstance(value, Scalar)
    return value.kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no", "text"),
        ("on", "text"),
        ("yes", "text"),
        ("true", "boolean"),
        ("False", "boolean"),
        ("2026-05-04", "text"),
        ("12:30", "text"),
        ("1_000", "text"),
        ("0x1F", "integer"),
        ("-7", "integer"),
        ("1e3", "number"),
        (".5", "number"),
        (".inf", "number"),
        ("~", "null"),
        ("", "null"),
        ("'1'", "text"),
        ('"true"', "text"),
        ("!!str 5", "text"),
    ],
)
def test_plain_values_follow_yaml_1_2(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_the_key_on_stays_text() -> None:
    document = parse("on: 1\nno: 2\n", "a.yaml")
    assert document.has("on")
    assert document.has("no")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "W106"),
        ("# only a comment\n", "W106"),
        ("---\n", "W106"),
        ("a: [1\n", "W105"),
        ("a:\n\tb: 1\n", "W105"),
        ("a: 1\n---\nb: 2\n", "W105"),
        ("a: *nowhere\n", "W105"),
        ("a: &x [*x]\n", "W105"),
        ("a: !!python/object:os.system x\n", "W105"),
        ("? [1, 2]\n: x\n", "W105"),
        ("a: \x07\n", "W104"),
        ("a: 1\na: 2\n", "W108"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "W107"),
        ("[" * 100_000, "W107"),
    ],
)
def test_what_is_no_sound_yaml_is_one_clear_fault(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_aliases_are_allowed_but_not_without_bound() -> None:
    assert parse("a: &x [1]\nb: *x\n", "a.yaml").place("b", 0).line == 1
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
    )
    assert codes(laughs) == ["W107"]
    assert MAX_NODES < 10**9


def test_every_duplicate_key_is_reported() -> None:
    assert codes("a: 1\na: 2\nb: {c: 1, c: 2}\n") == ["W108", "W108"]


def test_places_count_from_one_and_fall_back_to_the_parent() -> None:
    document = parse("a:\n  - b: 1\n    c: två\n", "a.yaml")
    assert str(document.place("a", 0, "c")) == "a.yaml:3:8"
    assert str(document.key_place("a", 0, "c")) == "a.yaml:3:5"
    assert str(document.place("a", 0, "missing")) == "a.yaml:2:5"
    assert str(document.key_place("missing")) == "a.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: one + WRONG\n", 1, 10),
        ("a: 'one + WRONG'\n", 1, 11),
        ("a: 'it''s + WRONG'\n", 1, 13),
        ('a: "one + WRONG"\n', 1, 11),
        ('a: "\\u00e5 \\"x\\" WRONG"\n', 1, 18),
        ("a: >\n  one\n  + WRONG\n", 3, 5),
        ("a: >-  # folded\n\n  one\n\n  + WRONG\n", 5, 5),
        ("a: |\n  one\n    + WRONG\n", 3, 7),
        ("a:\n  one +\n  WRONG\n", 3, 3),
        ("a: 'one\n  + WRONG'\n", 2, 5),
        ('a: "one \\\n  + WRONG"\n', 2, 5),
        ("a: ååå + WRONG\r\n", 1, 10),
    ],
)
def test_a_place_inside_a_text_is_exact_in_every_style(text: str, line: int, column: int) -> None:
    document = parse(text, "a.yaml")
    root = document.root
    assert isinstance(root, Mapping)
    value = root.items[0][1]
    assert isinstance(value, Scalar)
    place = document.place_within(value.text.index("WRONG"), "a")
    assert (place.line, place.column) == (line, column)
