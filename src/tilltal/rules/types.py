"""The types of the dialect, and what stands for their values in SQL and in Python.

| type | DuckDB | Spark | Python |
|---|---|---|---|
| BOOLEAN | BOOLEAN | BOOLEAN | bool |
| INTEGER | BIGINT | BIGINT | int of 64 bits |
| NUMBER | DOUBLE, finite | DOUBLE, finite | float, finite |
| TEXT | VARCHAR | STRING | str |
| DATE | DATE | DATE | date, years 1 to 9999 |
| TIMESTAMP | TIMESTAMP, UTC | TIMESTAMP_NTZ, UTC | naive datetime in UTC, as stores hold it |
| ANY | VARCHAR: `"abc"`, `12.5`, `true` | STRING, likewise | str, float, int or bool |

ANY is an untyped JSON scalar. It is read as the context asks: a number where a number is wanted, else NULL;
a text where a text is wanted, else NULL; never converted.
"""

from __future__ import annotations

from enum import StrEnum


class Type(StrEnum):
    """What an expression gives."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    ANY = "any"

    def __str__(self) -> str:
        return self.value


SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**63 - 1
