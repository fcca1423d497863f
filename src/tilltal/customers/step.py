"""A step of a plan: a query whose rows the steps after it read under its name."""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, frozen=True):
    """A SELECT to keep as a table under `name` (not quoted) until the plan is done."""

    name: str
    sql: str
