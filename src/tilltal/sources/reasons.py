"""Why a row was turned away: stable codes, and the sentences that go with them.

SQL writes a reason as three parts (code, role, value) in one text; here it becomes a sentence. Values of
identifiers are never part of a reason.
"""

from __future__ import annotations

import msgspec

from tilltal.core.names import literal

SEPARATOR = "\x1f"
SHOWN_LETTERS = 40

_SENTENCES = {
    "S321": "has fewer columns than the header",
    "S322": "has more columns than the header",
    "S323": "has a quote that does not close where its column ends",
    "S324": "is not valid text in the file's encoding",
    "S325": "is longer than 2 MB",
    "S326": "is no JSON object",
    "S327": "states the key {value} twice",
    "S328": "closed {value}, before it opened",
    "S329": "no source takes messages of the {role} {value}; taken are: {type}",
    "S330": "no source takes messages whose {role} is {value}; the nearest of those taken: {type}",
    "S331": "{role} is missing",
    "S332": "{role} is {value}, which is no {type}",
    "S333": "{role} is {value}, not a finite number",
    "S334": "{role} is {value}, with more decimals than the currency has",
    "S335": "{role} is {value}, outside its limits",
    "S336": "{role} is {value}, not one of its values",
    "S337": "has no usable identifier: all are blank, blocked or unreadable",
    "S338": "{role} is {value}, more than 5 minutes in the future",
    "S339": "{role} is {value}, outside the calendar: a placeholder rather than a time",
    "S340": "event type {value} is no name of letters, digits and underscores",
}
ROW_CODES = tuple(_SENTENCES)


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a row was turned away; `words` is its sentence where the code alone does not give it."""

    code: str
    role: str = ""
    value: str = ""
    type: str = ""
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return self.words
        shown = self.value[:SHOWN_LETTERS] + ("…" if len(self.value) > SHOWN_LETTERS else "")
        return _SENTENCES[self.code].format(role=self.role, value=repr(shown), type=self.type)


def written(code: str, role: str = "", value: str = "''", kind: str = "") -> str:
    """Return SQL that writes a reason; `value` is SQL of the text at fault, may be NULL."""
    head, tail = literal(f"{code}{SEPARATOR}{role}{SEPARATOR}"), literal(f"{SEPARATOR}{kind}")
    shown = f"left(coalesce(CAST({value} AS VARCHAR), ''), {SHOWN_LETTERS + 1})"
    return f"{head} || {shown} || {tail}"


def read(text: str) -> Reason:
    """Read a reason that SQL wrote."""
    code, role, rest = text.split(SEPARATOR, 2)
    value, _, kind = rest.rpartition(SEPARATOR)
    return Reason(code=code, role=role, value=value, type=kind)
