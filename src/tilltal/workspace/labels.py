"""Data-use labels: what a name of the profile carries, through everything it is made from.

A label stands on a source, a field, an attribute or a trait; besides, data of a party carries its name:
`zero_party`, `first_party`, `second_party` or `third_party`. A trait carries the labels of the fields it
reads, an audience those of the names in its condition, a score those of its model's features, an action those
of all its conditions: so a label cannot be lost by giving data another name.
"""

from __future__ import annotations

from collections.abc import Mapping

from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.sources import Field, Source
from tilltal.workspace.graph import node_of, order, uses
from tilltal.workspace.names import Schema, event_types, expanded_traits, field_type, known_values, names_in
from tilltal.workspace.workspace import Workspace

Labels = frozenset[str]
_NONE: Labels = frozenset()


class LabelBook:
    """The labels of every name and node of a workspace.

    Raises:
        WorkspaceError: if definitions need each other in a circle.
    """

    def __init__(self, workspace: Workspace, schema: Schema) -> None:
        self._attributes = _attribute_labels(workspace) | _holding_labels(workspace)
        self._uses = uses(workspace, schema)
        self._nodes: dict[str, Labels] = {}
        own = _trait_labels(workspace)
        for node in order(workspace):
            read = (self.of(name) for name in self._uses.get(node, ()))
            self._nodes[node] = own.get(node, _NONE).union(*read)

    def of(self, name: str) -> Labels:
        """Return the labels that a name of the profile carries."""
        return self._attributes.get(name) or self._nodes.get(node_of(name), _NONE)

    def read_by(self, node: str) -> Mapping[str, Labels]:
        """Return the names that a node reads itself, with the labels each carries."""
        return {name: self.of(name) for name in sorted(self._uses.get(node, ()))}


def _attribute_labels(workspace: Workspace) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for source in workspace.sources.values():
        if source.kind == "record":
            for name in source.fields:
                found[name] = found.get(name, _NONE) | _field_labels(source, name)
    for name, attribute in workspace.profile.attributes.items():
        found[name] = found.get(name, _NONE).union(attribute.labels)
    return found


def _holding_labels(workspace: Workspace) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for source in workspace.sources.values():
        if source.kind == "holding":
            held = (f"holding.{product}" for product in known_values(source.product))
            for name in (*held, "holdings", "leading_product"):
                found[name] = found.get(name, _NONE) | _source_labels(source)
    return found


def _trait_labels(workspace: Workspace) -> dict[str, Labels]:
    """Return the labels that traits carry by themselves: their own and those of the fields they read."""
    sources: dict[str, list[Source]] = {}
    for source in workspace.sources.values():
        for event in event_types(source):
            sources.setdefault(event, []).append(source)
    return {
        name: frozenset(trait.labels).union(
            *(
                _field_labels(source, field)
                for event in trait.from_
                for source in sources.get(event, ())
                for field in _fields_read(trait, source)
            )
        )
        for name, trait in expanded_traits(workspace).items()
    }


def _fields_read(trait: Trait, source: Source) -> frozenset[str]:
    """Return the fields of a source that a trait reads; the empty name stands for the event itself."""
    schema = {name: field_type(field) for name, field in source.fields.items()}
    read = names_in(trait.where, schema) if trait.where else frozenset[str]()
    return read | {trait.of or ""}


def _field_labels(source: Source, name: str) -> Labels:
    field = source.fields.get(name)
    return _source_labels(source).union(field.labels if isinstance(field, Field) else ())


def _source_labels(source: Source) -> Labels:
    return frozenset(source.labels) | {f"{source.party}_party"}
