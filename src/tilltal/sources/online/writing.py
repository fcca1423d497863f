"""Writes a contract as one Python function: every column found and read in a row, without a loop.

As `rules.python` does for conditions. Names of a definition stand in the text as literals; whatever the text
calls lies in its scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tilltal.sources.inputs import Input
from tilltal.sources.online.casts import Ways
from tilltal.sources.online.cells import step_into


class Writer:
    """Writes the function of one source: the lines of its body, and the scope of what they call.

    The lines know `document`, `arrival`, and `reasons`, a list for what is wrong.
    """

    def __init__(self, scope: Mapping[str, object]) -> None:
        self.lines = ["find, reasons = document.get, []"]
        self._scope = {"step_into": step_into, **scope}

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
            self.lines += ["if raw is None:", f"    raw = find({head!r})"]
            self.lines += [
                f"    raw = raw.get({step!r}) if type(raw) is dict else step_into(raw, {step!r})"
                for step in rest
            ]
        self.lines.append(f"{into} = {self.name(short)}(raw)")
        self.lines.append(f"if {into} is None: {into} = {self.name(slow)}(raw, reasons)")

    def function(self) -> Callable[..., object]:
        """Compile what was written: a function of a message and the instant of its arrival."""
        text = "def read(document, arrival):\n" + "".join(f"    {line}\n" for line in self.lines)
        exec(compile(text, "<contract>", "exec"), self._scope)  # noqa: S102  # names stand in it as literals
        function = self._scope["read"]
        assert callable(function)
        return function
