"""What a runner reports and how it reads on a terminal.

A runner is a module `tests.cases.<kind>` with `run(document) -> list[Mismatch]`. It answers for every case of
`document["cases"]`; a case without a mismatch has passed. A key the runner does not know is a mismatch too:
`unknown_keys` makes them, so that a new kind of expectation can never pass by being overlooked.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

import msgspec
import yaml

Document = dict[str, Any]  # a parsed case file; its runner knows the shape


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation that was not met.

    `what` says where: `people after o2`, `members at 2026-03-01T12:00:00Z`. `expected` and `got` may be any
    plain data (text, numbers, lists, dicts); they are shown as a line-by-line difference.
    """

    case: str
    what: str
    expected: object = None
    got: object = None


class Runner(Protocol):
    """What a module of a kind offers."""

    def run(self, document: Document) -> list[Mismatch]:
        """Run all cases of a document."""


def case_id(case: Mapping[str, Any]) -> str:
    """Return a case's id, or its title where it has none."""
    return str(case.get("id") or case.get("title") or "?")


def unknown_keys(case: str, place: str, given: Collection[object], known: Collection[str]) -> list[Mismatch]:
    """Return a mismatch where a mapping holds keys its runner does not know; a note may stand anywhere."""
    extra = sorted(str(key) for key in given if key not in known and key != "note")
    if not extra:
        return []
    return [Mismatch(case=case, what=f"unknown keys in {place}", expected=sorted(known), got=extra)]


def plain(value: object) -> str:
    """Write any data as text, one item a line, mappings sorted by key."""
    if isinstance(value, str):
        return value
    tidy = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    return str(
        yaml.safe_dump(tidy, default_flow_style=None, sort_keys=True, width=100, allow_unicode=True)
    ).removesuffix("\n...\n")


def difference(mismatch: Mismatch) -> Iterator[str]:
    """Yield the lines of a readable difference: `-` expected, `+` got."""
    yield f"    {mismatch.what}"
    expected, got = plain(mismatch.expected).splitlines(), plain(mismatch.got).splitlines()
    for line in difflib.ndiff(expected, got):
        if not line.startswith("?"):
            yield f"      {line}"
