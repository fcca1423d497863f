"""What the checks share: the names of the workspace, and how a fault finds its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

import msgspec

from tilltal.core.errors import Fault, nearest
from tilltal.core.names import is_name
from tilltal.core.time import parse_duration, zone_of
from tilltal.workspace import names
from tilltal.workspace.absent import may_define
from tilltal.workspace.decision_names import decision_schema
from tilltal.workspace.names import Schema
from tilltal.workspace.workspace import Workspace

Path = tuple[str | int, ...]

_SHOWN = 12  # so many valid names are listed in full, of more only the nearest


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace and the names it offers, computed once for all checks; `decision`: those of conditions."""

    workspace: Workspace
    events: dict[str, Schema]
    profile: Schema
    products: tuple[str, ...]
    decision: Schema


def scope_of(workspace: Workspace) -> Scope:
    """Compute the names of a workspace."""
    profile = names.profile_schema(workspace)
    return Scope(
        workspace=workspace,
        events=names.event_schemas(workspace),
        profile=profile,
        products=names.products(workspace),
        decision=decision_schema(
            profile,
            workspace.actions,
            workspace.settings.channels,
            workspace.engagement,
            workspace.contact,
        ),
    )


class At(msgspec.Struct, frozen=True):
    """Makes the faults of one file."""

    workspace: Workspace
    file: str

    def fault(
        self, code: str, message: str, *path: str | int, valid: Iterable[str] = (), hint: str = ""
    ) -> Fault:
        """Return a fault at the value of `path`."""
        place = self.workspace.place(self.file, *path)
        return Fault(code=code, message=message, place=place, valid=tuple(valid), hint=hint)

    def key_fault(
        self, code: str, message: str, *path: str | int, valid: Iterable[str] = (), hint: str = ""
    ) -> Fault:
        """Return a fault at the key that ends `path`."""
        place = self.workspace.key_place(self.file, *path)
        return Fault(code=code, message=message, place=place, valid=tuple(valid), hint=hint)

    def states(self, *path: str | int) -> bool:
        """True where the file states the value; what it leaves out is a default and no fault of its own."""
        return self.workspace.states(self.file, *path)

    def unknown(self, what: str, name: str, valid: Iterable[str], *path: str | int) -> Iterator[Fault]:
        """Yield a fault unless `name` is one of `valid`, or of what a faulty file may define."""
        known = sorted(set(valid))
        if name not in known and not may_define(self.workspace.faulty, what, name):
            shown = nearest(name, known) or tuple(known if len(known) <= _SHOWN else ())
            hint = "" if known else f"The workspace has no {what} yet."
            yield self.fault("W130", f"There is no {what} {name!r}.", *path, valid=shown, hint=hint)

    def all_known(
        self, what: str, listed: Iterable[str], valid: Iterable[str], *path: str | int
    ) -> Iterator[Fault]:
        """Yield a fault for each item of a list that is not one of `valid`, and for each repeated one."""
        known = tuple(valid)
        seen: set[str] = set()
        for index, name in enumerate(listed):
            yield from self.unknown(what, name, known, *path, index)
            if name in seen:
                yield self.fault("W133", f"{name!r} is in the list twice.", *path, index)
            seen.add(name)

    def plain(self, what: str, name: str, *path: str | int) -> Iterator[Fault]:
        """Yield a fault unless `name` is a plain name."""
        if not is_name(name):
            hint = "Use letters, digits and underscores, not beginning with a digit."
            yield self.fault("W103", f"The {what} {name!r} is no plain name.", *path, hint=hint)

    def one_of(self, given: Mapping[str, object], *path: str | int, needed: bool = True) -> Iterator[Fault]:
        """Yield a fault unless exactly one of the keys is given (or none, where none is needed)."""
        stated = [key for key, value in given.items() if value not in (None, (), {}, False, "")]
        listed = tuple(given)
        if len(stated) > 1:
            message = f"Only one of {_and(f'`{key}`' for key in stated)} can be given."
            yield self.key_fault("W120", message, *path, stated[1], hint="Remove the others.")
        if not stated and needed:
            yield self.fault("W120", "One of these keys must be given.", *path, valid=listed)

    def readable(self, text: str | None, read: Callable[[str], object], *path: str | int) -> Iterator[Fault]:
        """Yield a fault if `read` raises ValueError for the text; its message is the fault's."""
        if text is None:
            return
        try:
            read(text)
        except ValueError as error:
            yield self.fault("W122", f"{str(error).rstrip('.')}.", *path)


def read_span(text: str) -> timedelta:
    """Read a duration longer than nothing; another text is a ValueError."""
    span = parse_duration(text)
    if not span:
        raise ValueError(f"{text!r} is no time at all; write one such as '7 days'")
    return span


def read_zone(text: str) -> object:
    """Read an IANA time zone; an unsafe or unknown key is a ValueError."""
    return zone_of(text)


def read_pattern(text: str) -> object:
    """Compile a regular expression; a broken one is a ValueError."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


def read_format(text: str) -> object:
    """Refuse a strptime format without a single directive."""
    if not re.search(r"%-?[A-Za-z]", text):
        raise ValueError(f"{text!r} is no strptime format; write one such as '%Y-%m-%d'")
    return text


def _and(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
