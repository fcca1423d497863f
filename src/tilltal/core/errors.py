"""Errors as sentences that help: a code, a place, what is wrong, what would be valid, what to do.

    TilltalError               exit 1   anything the user can act on
    ├── WorkspaceError         exit 2   faults in definitions, all of them at once
    ├── SourceError            exit 3   a source cannot be read, or breaks its contract too often
    ├── DataError              exit 4   stored data is missing, stale or does not fit the question
    └── EngineError            exit 5   an engine, a disk or a driver gave up

One `Fault` renders the same on a terminal, as JSON and on a page.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

import msgspec


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is wrong. Lines and columns count from 1; 0 means unknown."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, in a sentence that helps.

    `code` is stable (documented in docs/reference/errors.md), `valid` lists what would be accepted,
    nearest first, and `hint` says what to do next.
    """

    code: str
    message: str
    place: Place = Place()
    valid: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        head = " ".join(part for part in (str(self.place), self.code, self.message) if part)
        tail = f" Valid: {', '.join(self.valid)}." if self.valid else ""
        return head + tail + (f" {self.hint}" if self.hint else "")


class TilltalError(Exception):
    """Anything the user can act on; carries one or more faults."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *faults: Fault) -> None:
        if not faults:
            raise ValueError("an error needs at least one fault")
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))

    def __reduce__(self) -> tuple[type[Self], tuple[Fault, ...]]:
        """Return how it is made again, in another process."""
        return type(self), self.faults

    @classmethod
    def of(
        cls, code: str, message: str, *, place: Place | None = None, valid: Iterable[str] = (), hint: str = ""
    ) -> Self:
        """Make an error of one fault."""
        fault = Fault(code=code, message=message, place=place or Place(), valid=tuple(valid), hint=hint)
        return cls(fault)


class WorkspaceError(TilltalError):
    """Definitions that cannot be used; every fault at once."""

    exit_code = 2


class SourceError(TilltalError):
    """A source that cannot be read or breaks its contract too often. Nothing was changed."""

    exit_code = 3


class DataError(TilltalError):
    """Stored data that is missing, stale or does not fit the question."""

    exit_code = 4


class EngineError(TilltalError):
    """An engine, a disk or a driver gave up."""

    exit_code = 5


class SupersededError(EngineError):
    """Customers were made anew by other definitions meanwhile: by those the same may succeed."""


def nearest(name: str, valid: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """Return the valid names most like `name`, best first; all of them where they are few.

    >>> nearest("emial", ["email", "phone", "crm"])
    ('email', 'phone', 'crm')
    """
    names: Sequence[str] = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if len(names) <= count:
        close += [other for other in names if other not in close]
    return tuple(close)
