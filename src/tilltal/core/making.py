"""Customers in the making: what other definitions make of the same facts, beside the customers in use.

`OperationalStore.making` is the same store with owners, states and marks of its own. What is written there of
log, changes and memberships is left out; all else is shared. It needs no closing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Exchange(Protocol):
    """What a transaction can do with customers in the making."""

    async def hold_customers(self) -> None:
        """Keep everybody else from owners and states until the end; who is at it ends first."""

    async def swap(self) -> None:
        """Put owners, states and marks in the making into use; owners and states of before are there then."""

    async def former(self, profiles: Iterable[int]) -> dict[int, bytes]:
        """Return states that were in use before the last swap, as far as they were not cleared."""

    async def clear(self) -> int:
        """Remove owners, states and marks in the making, at most a portion; returns how many."""
