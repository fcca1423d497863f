"""Writes a contract as one Python function: every column found and read in a row, without a loop.

As `rules.python` does for conditions. Names of a definition stand in the text as literals; whatever the text
calls lies in its scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tilltal.sources.inputs import Input
from tilltal.sources.online.casts import Ways
from tilltal.sources.online.cells import SPACES, step_into
from tilltal.sources.online.quick import text_cell

_TEXT_CELL = (
    "raw.strip(SPACES) or None if type(raw) is str and raw.isascii() else None"  # as the function says
)


class Writer:
    """Writes the function of one source: the lines of its body, and the scope of what they call.

    The lines know `document`, `arrival`, and `reasons`, a list for what is wrong.
    """

    def __init__(self, scope: Mapping[str, object]) -> None:
        self.lines = ["find, reasons = document.get, []"]
        self._heads: dict[str, str] = {}
        self._scope = {"step_into": step_into, "SPACES": SPACES, "Mapping": Mapping, **scope}

    def name(self, value: object) -> str:
        """Put a value into the scope, and return its name there."""
        name = f"k{len(self._scope)}"
        self._scope[name] = value
        return name

    def read(self, one: Input, ways: Ways, into: str) -> None:
        """Find an input, as a key of its column's name or by its path, and read it into a variable."""
        short, slow = ways
        if one.value is not None:
            value = short(one.value)
            self.lines.append(f"{into} = {self.name(slow(one.value, []) if value is None else value)}")
            return
        head, *rest = one.column.split(".")
        self.lines.append(f"raw = find({one.column!r})")
        if rest:
            found = self._head(head)
            self.lines.append("if raw is None:")
            for step in rest:
                step_in = f"{found}.get({step!r}) if type({found}) is dict else step_into({found}, {step!r})"
                self.lines.append(f"    raw = {step_in}")
                found = "raw"
        self.lines.append(f"{into} = {_TEXT_CELL if short is text_cell else f'{self.name(short)}(raw)'}")
        self.lines.append(f"if {into} is None: {into} = {self.name(slow)}(raw, reasons)")

    def _head(self, key: str) -> str:
        """Return the variable of a key that paths begin with; it is found once."""
        if key not in self._heads:
            self._heads[key] = f"head{len(self._heads)}"
            self.lines.append(f"{self._heads[key]} = find({key!r})")
        return self._heads[key]

    def function(self, otherwise: str) -> Callable[..., object]:
        """Compile what was written: a function of a message and the instant of its arrival.

        Args:
            otherwise: the words of what it returns for what is no JSON object, such as half a surrogate pair
                or endless nesting.
        """
        text = "\n".join(
            [
                "def read(document, arrival):",
                "    if type(document) is not dict and not isinstance(document, Mapping):",
                f"        return {otherwise}",
                "    try:",
                *(f"        {line}" for line in self.lines),
                "    except (UnicodeEncodeError, RecursionError):",
                f"        return {otherwise}",
            ]
        )
        exec(compile(text, "<contract>", "exec"), self._scope)  # noqa: S102  # names stand in it as literals
        function = self._scope["read"]
        assert callable(function)
        return function
