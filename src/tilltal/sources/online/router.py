"""Which sources take a message of the tracking API: by its type and, for `track`, by its event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tilltal.core.errors import nearest
from tilltal.sources.online.cells import SPACES, Document, Find, cell, finder
from tilltal.sources.online.contract import OnlineContract, Rejected
from tilltal.sources.reasons import SHOWN_LETTERS, Reason
from tilltal.workspace.definitions.sources import Column, Source
from tilltal.workspace.names import known_values


class _Choice(msgspec.Struct, frozen=True):
    """Contracts told apart by one column of a message: its text → positions of those that take it."""

    column: str
    find: Find
    takers: dict[str, tuple[int, ...]]


class _Takers(msgspec.Struct, frozen=True):
    """The contracts of one message type: those that take every message, and choices; by position."""

    every: tuple[int, ...]
    choices: tuple[_Choice, ...]


class Router:
    """Finds the contracts of a message. A message may have several: an identify is a record and a consent."""

    def __init__(self, contracts: Sequence[OnlineContract]) -> None:
        self._contracts = tuple(contracts)
        types = {str(kind) for one in contracts for kind in one.source.read.collector or ()}
        self._types = {kind: self._takers(kind) for kind in types}

    def route(self, message_type: str, document: Document) -> list[OnlineContract] | Rejected:
        """Return the contracts that take a message, in their order, or why none does."""
        takers = self._types.get(message_type)
        if takers is None:
            return _untaken("S329", "type", message_type, tuple(sorted(self._types)))
        found = takers.every
        for choice in takers.choices:
            found += choice.takers.get(_text(choice.find(document)), ())
        if len(found) == 1:
            return [self._contracts[found[0]]]
        if not found and takers.choices:
            return _nearest_event([(choice, _text(choice.find(document))) for choice in takers.choices])
        return [self._contracts[n] for n in sorted(found)]

    def _takers(self, kind: str) -> _Takers:
        every, chosen = [], dict[str, dict[str, tuple[int, ...]]]()
        for n, contract in enumerate(self._contracts):
            if kind in (contract.source.read.collector or ()):
                column, names = _told_by(contract.source, kind)
                if column is None:
                    every.append(n)
                for name in names:
                    takers = chosen.setdefault(column or "", {})
                    takers[name] = (*takers.get(name, ()), n)
        choices = (_Choice(column, finder(column), takers) for column, takers in chosen.items())
        return _Takers(tuple(every), tuple(choices))


def _told_by(source: Source, kind: str) -> tuple[str | None, Iterable[str]]:
    """Return the column that tells whether a source takes a message, and the texts that say so."""
    if isinstance(source.event, Column):
        return source.event.column, dict.fromkeys((*source.event.map, *known_values(source.event)))
    if source.read.event and kind == "track":
        return "event", source.read.event
    return None, ()


def _text(raw: object) -> str:
    if type(raw) is str and raw.isascii():
        return raw.strip(SPACES)
    try:
        return cell(raw) or ""
    except (UnicodeEncodeError, RecursionError):  # what is no text is no event's name either
        return ""


def _nearest_event(stated: Sequence[tuple[_Choice, str]]) -> Rejected:
    choice, text = next((one for one in stated if one[1]), stated[0])
    valid = nearest(text, (name for one, _ in stated for name in one.takers), count=1)[:1]
    return _untaken("S330", choice.column, text, valid)


def _untaken(code: str, role: str, text: str, valid: tuple[str, ...]) -> Rejected:
    wanted = Reason(code=code, role=role, value=text[: SHOWN_LETTERS + 1], type=", ".join(valid) or "none")
    return Rejected(source="", reasons=(wanted,))
