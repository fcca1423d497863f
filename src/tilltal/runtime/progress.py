"""How a long job says how far it is. The CLI draws it; a test or a server may stay silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of tasks and their steps, one task after the other."""

    def start(self, task: str, total: int | None) -> None:
        """A task begins; `total` is its number of steps, None where nobody knows."""

    def advance(self, steps: int = 1) -> None:
        """So many more steps of the present task are done."""


class Silent:
    """Progress that nobody watches."""

    def start(self, task: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1) -> None:
        """Do nothing."""
