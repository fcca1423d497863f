"""Text into tokens.

What other languages write differently is recognised and answered with the dialect's own spelling.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError

Kind: TypeAlias = Literal["number", "text", "name", "quoted", "sign", "end"]

MAX_TOKENS = 20_000


class Token(msgspec.Struct, frozen=True):
    """A piece of the text; `at` is its offset.

    `word` is upper-case for bare names, to compare with keywords.
    """

    kind: Kind
    text: str
    at: int
    word: str = ""


class Source(msgspec.Struct, frozen=True):
    """An expression's text and where it stands in its file."""

    text: str
    place: Place = Place()

    def place_of(self, at: int) -> Place:
        """Return the file, line and column of an offset.

        Further lines begin in the column of the first, as in a YAML block.
        """
        before = self.text[:at]
        line, column = max(self.place.line, 1), max(self.place.column, 1)
        return Place(
            file=self.place.file,
            line=line + before.count("\n"),
            column=column + at - (before.rfind("\n") + 1),
        )

    def fault(
        self, code: str, message: str, at: int, *, valid: tuple[str, ...] = (), hint: str = ""
    ) -> Fault:
        """Make a fault that points at an offset."""
        return Fault(code=code, message=message, place=self.place_of(at), valid=valid, hint=hint)


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<name>[^\W\d]\w*)
    |(?P<sign><=|>=|<>|!=|\|\||[-+*/%=<>(),.])""",
    re.VERBOSE,
)

# Spellings of other languages, looked for before the dialect's own signs.
_FOREIGN = {
    "==": "Write = to compare.",
    "&&": "Write AND.",
    "::": "Values are never cast; TO_NUMBER and TO_TEXT convert.",
    "**": "Write POWER(x, y).",
    "--": "Comments belong outside the expression: in YAML, after #.",
    "/*": "Comments belong outside the expression: in YAML, after #.",
}
_STRAY = {
    "'": "The text is not closed; end it with ' and write '' for a quote inside it.",
    '"': 'The name is not closed; end it with ".',
    "!": "Write NOT, or <> for unequal.",
    "^": "Write POWER(x, y).",
    ";": "Write one expression, without a semicolon.",
    "&": "Write AND.",
    "|": "Write OR, or || to join texts.",
    "`": 'Quote names as "name".',
    "[": "Write lists in parentheses: x IN (1, 2).",
    "{": "Write names bare: age >= 18.",
    "?": "Write IF(condition, a, b).",
    **dict.fromkeys("‘’‚´", "Write texts in straight quotes: 'text'."),
    **dict.fromkeys("“”„", "Write texts in straight single quotes: 'text'."),
    **dict.fromkeys("≥≤≠", "Write >=, <= or <>."),
    **dict.fromkeys("×·÷−", "Write *, / or -."),
}


_NUMBER = "Leave a space after a number; a name does not begin with a digit, a text stands in quotes."


def tokenize(source: Source) -> list[Token]:
    """Split an expression into tokens, the last of kind `end`.

    Raises:
        WorkspaceError: D201 for what cannot be read, D208 for a text that is too long.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(source.text):
        found = _TOKEN.match(source.text, at)
        if found is None or source.text[at : at + 2] in _FOREIGN:
            raise WorkspaceError(_unreadable(source, at))
        kind = found.lastgroup
        if kind == "number" and found.end() < len(source.text) and source.text[found.end()].isidentifier():
            raise WorkspaceError(
                source.fault("D201", f"Cannot read {found[0]!r} and letters together.", at, hint=_NUMBER)
            )
        if kind != "space":
            tokens.append(_token(kind, found[0], at))
        at = found.end()
    if len(tokens) > MAX_TOKENS:
        raise WorkspaceError(
            source.fault(
                "D208",
                f"The expression has {len(tokens):,} words and signs; {MAX_TOKENS:,} is the most.",
                0,
                hint="Split it into traits or audiences and refer to them by name.",
            )
        )
    return [*tokens, Token("end", "the end", len(source.text))]


def _token(kind: str | None, text: str, at: int) -> Token:
    match kind:
        case "text":
            return Token("text", text[1:-1].replace("''", "'"), at)
        case "quoted":
            return Token("quoted", text[1:-1].replace('""', '"'), at)
        case "name":
            return Token("name", text, at, text.upper())
        case "number":
            return Token("number", text, at)
        case _:
            return Token("sign", "<>" if text == "!=" else text, at)


def _unreadable(source: Source, at: int) -> Fault:
    pair, sign = source.text[at : at + 2], source.text[at]
    if pair in _FOREIGN:
        return source.fault("D201", f"{pair} is not part of the dialect.", at, hint=_FOREIGN[pair])
    return source.fault("D201", f"Cannot read {sign!r} here.", at, hint=_STRAY.get(sign, ""))
