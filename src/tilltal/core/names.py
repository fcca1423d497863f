"""Names: what may be one, and how SQL quotes it."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_name(text: str) -> bool:
    """True for a plain name: letters, digits and underscores, not beginning with a digit."""
    return bool(_NAME.match(text))


def quote(name: str) -> str:
    """Quote a column or table name for SQL.

    >>> quote('lifecycle.stage')
    '"lifecycle.stage"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text value for SQL."""
    return "'" + text.replace("'", "''") + "'"
