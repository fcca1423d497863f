"""One YAML file as a tree whose every key and value knows its line and column."""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

import msgspec

from tilltal.core.errors import Fault, Place

ScalarKind = Literal["text", "integer", "number", "boolean", "null"]


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """A text, number, boolean or null as written; `text` is its content without quotes and folding."""

    line: int
    column: int
    text: str
    kind: ScalarKind
    size: int = 1


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A YAML sequence; `size` counts the nodes in it, aliases expanded."""

    line: int
    column: int
    items: tuple[Node, ...]
    size: int


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """A YAML mapping in the file's order; its keys are plain texts and unique."""

    line: int
    column: int
    items: tuple[tuple[Scalar, Node], ...]
    size: int


Node = Scalar | Listing | Mapping


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a workspace: its path within the workspace, its text and its tree.

    `faults` are those that leave the tree readable: keys that stand twice (the first one counts).
    """

    file: str
    text: str
    root: Node
    faults: tuple[Fault, ...] = ()

    def place(self, *path: str | int) -> Place:
        """Return where the value at `path` (keys and list indices) stands; the nearest parent's if absent."""
        node = self.root
        for step in path:
            below = _step(node, step)
            if below is None:
                break
            node = below[1]
        return Place(file=self.file, line=node.line, column=node.column)

    def key_place(self, *path: str | int) -> Place:
        """Return where the key at the end of `path` stands; the nearest parent's if it is absent."""
        node = self.root
        for step in path[:-1]:
            below = _step(node, step)
            if below is None:
                break
            node = below[1]
        last = _step(node, path[-1])
        mark = last[0] if last else node
        return Place(file=self.file, line=mark.line, column=mark.column)

    def has(self, *path: str | int) -> bool:
        """True where the file states the value at `path`."""
        return self._find(path) is not None

    def place_within(self, offset: int, *path: str | int) -> Place:
        """Return where the character number `offset` of the text value at `path` stands in the file.

        Quotes, escapes, folding and the indentation of block texts are taken into account.
        """
        node = self._find(path)
        if not isinstance(node, Scalar):
            return self.place(*path)
        starts = _line_starts(self.text)
        position = _align(self.text, starts[node.line - 1] + node.column - 1, node.text, offset)
        line = bisect_right(starts, position)
        return Place(file=self.file, line=line, column=position - starts[line - 1] + 1)

    def _find(self, path: tuple[str | int, ...]) -> Node | None:
        node = self.root
        for step in path:
            below = _step(node, step)
            if below is None:
                return None
            node = below[1]
        return node


def _step(node: Node, step: str | int) -> tuple[Scalar | Listing | Mapping, Node] | None:
    """Return the key (or the item itself) and the value one step below a node."""
    if isinstance(node, Mapping):
        return next(((key, value) for key, value in node.items if key.text == step), None)
    if isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
        return node.items[step], node.items[step]
    return None


def _line_starts(text: str) -> list[int]:
    return [0, *(index + 1 for index, letter in enumerate(text) if letter == "\n")]


_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


def _align(source: str, start: int, value: str, offset: int) -> int:
    """Walk source and value side by side and return the source position of `value[offset]`.

    Folding changes white space only, so every other character of the value is found in its order.
    """
    quote = source[start] if source[start] in "'\"" else ""
    is_block = source[start] in "|>"
    position = source.find("\n", start) + 1 if is_block else start + len(quote)
    last = position
    for letter in value[: offset + 1]:
        last, position = _next(source, position, letter, quote)
    return min(last, len(source) - 1)


def _next(source: str, position: int, letter: str, quote: str) -> tuple[int, int]:
    """Return where the next letter of the value stands and where to go on."""
    if letter.isspace():
        here = position
        if position < len(source) and source[position] == "\n":
            position = _skip_space(source, position)
        elif position < len(source) and (source[position].isspace() or source[position] == "\\"):
            position += 1 if source[position].isspace() else 2
        return here, position
    position = _skip_space(source, position)
    if quote == '"' and source[position : position + 2] == "\\\n":  # the line goes on
        position = _skip_space(source, position + 2)
    if quote == '"' and source[position : position + 1] == "\\":
        length = _ESCAPE_LENGTHS.get(source[position + 1 : position + 2], 2)
        return position, position + length
    return position, position + (2 if quote == "'" and letter == "'" else 1)


def _skip_space(source: str, position: int) -> int:
    while position < len(source) and source[position].isspace():
        position += 1
    return position
