"""Holdouts: a share of customers, always the same ones, drawn by a hash of the profile.

The hash is a polynomial of degree three over the prime 2³¹ - 1 with coefficients from the holdout's name:
four profiles fall independently of each other, and whole numbers of 64 bits hold every step, so that SQL and
Python agree exactly. Two holdouts share customers by chance only.

Source: Wegman and Carter, New hash functions and their use in authentication and set equality, Journal of
Computer and System Sciences 22 (1981).
"""

from __future__ import annotations

import hashlib

import msgspec

from tilltal.workspace.definitions.contact import Holdout

_PRIME = 2**31 - 1


class Draw(msgspec.Struct, frozen=True):
    """Draws one holdout: those whose hash lies below `border`."""

    coefficients: tuple[int, ...]
    border: int

    def has(self, profile: int) -> bool:
        """True if a customer is held out."""
        number, hashed = profile % _PRIME, 0
        for each in self.coefficients:
            hashed = (hashed * number + each) % _PRIME
        return hashed < self.border

    def sql(self, profile: str) -> str:
        """Return the same as a SQL condition over a BIGINT column."""
        number = f"((({profile}) % {_PRIME} + {_PRIME}) % {_PRIME})"
        hashed = "CAST(0 AS BIGINT)"
        for each in self.coefficients:
            hashed = f"(({hashed} * {number} + {each}) % {_PRIME})"
        return f"{hashed} < {self.border}"


def draw_of(holdout: Holdout) -> Draw:
    """Return how a holdout is drawn: its name alone says who, its share how many."""
    digest = hashlib.sha256(holdout.name.encode()).digest()
    words = (digest[at : at + 8] for at in range(0, 32, 8))
    return Draw(
        coefficients=tuple(int.from_bytes(word, "big") % _PRIME for word in words),
        border=round(holdout.share * _PRIME),
    )
