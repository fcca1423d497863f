"""What sources said last of each token, as `linking.records` reads it for a run: kept here for one at a time.

Fields that are kept in history lie here with the instant they were said; those labelled `identity` are read
from the vault each time, so they lie nowhere but there and, as they are compared, in the index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tilltal.governance.vault import Vault
from tilltal.runtime.linking.records import Told, linked_sources, linking_of
from tilltal.runtime.live.linking.arriving import Said
from tilltal.workspace.names import kept_fields
from tilltal.workspace.workspace import Workspace


class Shelf:
    """The latest statements by token; of sources, the most trusted that knows a field."""

    def __init__(self, workspace: Workspace) -> None:
        """Begin empty.

        Raises:
            DataError: P374 if the workspace says nothing of linking.
        """
        compared = linking_of(workspace).compare
        self.sources = linked_sources(workspace)
        self.kept: Mapping[str, tuple[str, ...]] = {
            name: tuple(field for field in kept_fields(workspace.sources[name]) if field in compared)
            for name in self.sources
        }
        """Source → its compared fields that history keeps."""
        columns = [(name, field) for name in self.sources for field in self.kept[name]]
        self._places = {column: place for place, column in enumerate(columns)}
        self._secret = {
            (name, field)
            for name in self.sources
            for field in workspace.sources[name].fields
            if field in compared and field not in self.kept[name]
        }
        self._said: dict[int, list[tuple[int, str] | None]] = {}

    @property
    def fields(self) -> frozenset[str]:
        """All compared fields that history keeps."""
        return frozenset(field for fields in self.kept.values() for field in fields)

    def add(self, said: Said) -> None:
        """Take in what a record says; fields that it leaves out stay as they were."""
        for field, text in said.fields.items():
            place = self._places.get((said.source, field))
            if place is None:
                continue
            row = self._said.setdefault(said.token, [None] * len(self._places))
            known = row[place]
            if known is None or said.at >= known[0]:
                row[place] = said.at, text

    def told(self, token: int, vault: Vault) -> Told:
        """Return the compared fields of a token in clear, of the most trusted source that knows them."""
        row = self._said.get(token, ())
        known = {column: one[1] for column, one in zip(self._places, row, strict=False) if one is not None}
        if self._secret:
            known |= {
                (one.source, one.field): one.value
                for one in vault.personal(token)
                if (one.source, one.field) in self._secret
            }
        return self._most_trusted(known)

    def _most_trusted(self, known: Mapping[tuple[str, str], str]) -> Told:
        told: Told = {}
        for name in reversed(self.sources):  # what is more trusted is written over the rest
            told.update({field: text for (source, field), text in known.items() if source == name})
        return told


def said_by(source: str, fields: Iterable[str], row: tuple[object, ...]) -> list[Said]:
    """Return what `latest_statements` tells of one token: each field with the instant it was said last."""
    token, *rest = row
    assert isinstance(token, int), "tokens are whole numbers"
    found = []
    for field, text, at in zip(fields, rest[::2], rest[1::2], strict=True):
        if isinstance(text, str) and isinstance(at, int):
            found.append(Said(token, source, at, {field: text}))
    return found
