"""Reads YAML text into a tree with places.

The dialect of YAML is 1.2's core: only `true` and `false` are booleans, dates are text, tags and merge keys
are not used. Aliases are allowed; what they expand to is bounded.
"""

from __future__ import annotations

import re

import yaml

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.workspace.document import Document, Listing, Mapping, Node, Scalar, ScalarKind

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 50_000

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_NUMBER = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)


def parse(text: str, file: str) -> Document:
    """Parse YAML text. What leaves the tree readable is in the document's `faults`.

    Raises:
        WorkspaceError: if there is no tree: bad syntax, an empty file, too much nesting.
    """
    normal = text.replace("\r\n", "\n")
    tree = _Tree(file)
    try:
        for event in yaml.parse(normal, Loader=yaml.CSafeLoader):
            tree.take(event)
    except yaml.YAMLError as error:
        raise WorkspaceError(*tree.faults, _syntax_fault(error, normal, file)) from error
    except _Stop as stop:
        raise WorkspaceError(*tree.faults, stop.fault) from None
    if tree.root is None or tree.is_empty:
        hint = "Delete it or fill it in."
        raise WorkspaceError.of("W106", "The file is empty.", place=Place(file=file), hint=hint)
    return Document(file=file, text=normal, root=tree.root, faults=tuple(tree.faults))


class _Stop(Exception):  # noqa: N818 - ends the parse of one file; never leaves this module
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


class _Open:
    """A mapping or sequence whose end has not come yet."""

    def __init__(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self.line, self.column = _mark(event)
        self.anchor = event.anchor
        self.is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.keys: dict[str, Scalar] = {}
        self.key: Scalar | None = None
        self.entries: list[tuple[Scalar, Node]] = []
        self.items: list[Node] = []

    def close(self) -> Node:
        if self.is_mapping:
            size = 1 + sum(1 + value.size for _, value in self.entries)
            return Mapping(line=self.line, column=self.column, items=tuple(self.entries), size=size)
        size = 1 + sum(item.size for item in self.items)
        return Listing(line=self.line, column=self.column, items=tuple(self.items), size=size)


class _Tree:
    """Builds the tree from the parser's events on a stack of its own, which no input can overflow."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self.documents = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node] = {}

    @property
    def is_empty(self) -> bool:
        return self.root is None or (isinstance(self.root, Scalar) and self.root.kind == "null")

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._start(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                closed = self.stack.pop()
                self._add(closed.close(), closed.anchor)
            case yaml.ScalarEvent():
                self._add(self._scalar(event), event.anchor)
            case yaml.AliasEvent():
                self._add(self._alias(event), None)
            case _:
                pass

    def _start(self, event: yaml.DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            message = "A second document begins here; one file holds one definition."
            raise _Stop(self._fault(event, "W105", message))

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(self._fault(event, "W107", f"More than {MAX_DEPTH} levels are nested in each other."))
        self._refuse_tag(event, event.tag)
        if self._expects_key():
            raise _Stop(self._fault(event, "W105", "A key must be a plain text, not a list or a mapping."))
        self.stack.append(_Open(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        is_plain = bool(event.implicit[0])
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._refuse_tag(event, event.tag)
        kind = _kind(event.value) if is_plain and event.tag is None else "text"
        line, column = _mark(event)
        return Scalar(line=line, column=column, text=event.value, kind=kind)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        found = self.anchors.get(event.anchor or "")
        if found is None:
            message = f"There is no finished anchor &{event.anchor} above this alias."
            raise _Stop(self._fault(event, "W105", message))
        return found

    def _add(self, node: Node, anchor: str | None) -> None:
        if node.size > MAX_NODES:
            place = Place(file=self.file, line=node.line, column=node.column)
            message = f"This holds more than {MAX_NODES:,} values, aliases expanded."
            raise _Stop(Fault(code="W107", message=message, place=place))
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
        elif not self.stack[-1].is_mapping:
            self.stack[-1].items.append(node)
        elif self.stack[-1].key is None:
            self._add_key(self.stack[-1], node)
        else:
            self._add_value(self.stack[-1], self.stack[-1].key, node)

    def _add_key(self, parent: _Open, node: Node) -> None:
        place = Place(file=self.file, line=node.line, column=node.column)
        if not isinstance(node, Scalar):
            raise _Stop(Fault(code="W105", message="A key must be a plain text.", place=place))
        first = parent.keys.setdefault(node.text, node)
        if first is not node:
            message = f"The key `{node.text}` is already on line {first.line}."
            self.faults.append(Fault(code="W108", message=message, place=place, hint="Keep one of them."))
        parent.key = node

    def _add_value(self, parent: _Open, key: Scalar, node: Node) -> None:
        if parent.keys[key.text] is key:
            parent.entries.append((key, node))
        parent.key = None

    def _expects_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].is_mapping and self.stack[-1].key is None

    def _refuse_tag(self, event: yaml.Event, tag: str | None) -> None:
        if tag is not None:
            raise _Stop(self._fault(event, "W105", f"The tag {tag} is not used here.", "Leave it out."))

    def _fault(self, event: yaml.Event, code: str, message: str, hint: str = "") -> Fault:
        line, column = _mark(event)
        place = Place(file=self.file, line=line, column=column)
        return Fault(code=code, message=message, place=place, hint=hint)


def _mark(event: yaml.Event) -> tuple[int, int]:
    """Return line and column of an event, counted from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)


def _kind(text: str) -> ScalarKind:
    if _NULL.match(text):
        return "null"
    if _BOOLEAN.match(text):
        return "boolean"
    if _INTEGER.match(text):
        return "integer"
    return "number" if _NUMBER.match(text) else "text"


def _syntax_fault(error: yaml.YAMLError, text: str, file: str) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
        place = Place(file=file, line=line, column=column)
        if _has_tab(text, line, column):
            return Fault(code="W105", message="A tab cannot indent YAML.", place=place, hint="Use spaces.")
        context = f" {error.context}" if error.context else ""
        return Fault(code="W105", message=f"This is not valid YAML:{context} {error.problem}.", place=place)
    position = getattr(error, "position", None)
    if isinstance(position, int):
        return _character_fault(text, file)
    return Fault(code="W105", message=f"This is not valid YAML: {error}.", place=Place(file=file))


_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _character_fault(text: str, file: str) -> Fault:
    """The parser names a byte position; people want the line and column."""
    found = _FORBIDDEN.search(text)
    offset = found.start() if found else 0
    line = text.count("\n", 0, offset) + 1
    place = Place(file=file, line=line, column=offset - (text.rfind("\n", 0, offset) + 1) + 1)
    shown = f"U+{ord(text[offset]):04X}" if text else "nothing"
    return Fault(code="W104", message=f"The character {shown} cannot stand in a text file.", place=place)


def _has_tab(text: str, line: int, column: int) -> bool:
    lines = text.split("\n")
    if line > len(lines):
        return False
    shown = lines[line - 1]
    return shown[column - 1 : column] == "\t" or "\t" in shown[: len(shown) - len(shown.lstrip())]
