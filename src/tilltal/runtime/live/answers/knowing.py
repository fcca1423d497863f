"""What was known at logged decisions, as features for a model of what came of them.

The values that deciding read, the context, and the channel asked for. A name's numbers and its texts are
columns of their own, so that definitions which read the same name as another type do not meet in one. A date
is how many days before the decision it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import pyarrow as pa

from tilltal.core.errors import WorkspaceError
from tilltal.models.dataset.features import Matrix, learn_encoding

_DAY = 86_400.0
_ROW = "row"


def known_columns(rows: Sequence[tuple[Mapping[str, object], datetime]]) -> pa.Table:
    """Return what was known as columns of numbers and texts beside the row's place; NULL where it has none.

    Args:
        rows: values by name, and the instant of the decision, for each decision.

    >>> then = datetime(2026, 5, 4, tzinfo=UTC)
    >>> known_columns([({"age": 40}, then), ({"town": "Visby", "born": date(2026, 5, 1)}, then)]).to_pylist()
    [{'row': 0, 'number.age': 40.0, 'text.town': None, 'number.born': None}, \
{'row': 1, 'number.age': None, 'text.town': 'Visby', 'number.born': 3.0}]
    """
    found: dict[str, list[float | str | None]] = {}
    for place, (values, at) in enumerate(rows):
        for name, value in _columns(values, at):
            found.setdefault(name, [None] * len(rows))[place] = value
    kinds = {name: pa.string() if name.startswith("text.") else pa.float64() for name in found}
    arrays = {name: pa.array(column, kinds[name]) for name, column in found.items()}
    return pa.table({_ROW: pa.array(range(len(rows)), pa.int64()), **arrays})


def features_of(parts: Sequence[pa.Table]) -> tuple[Matrix | None, tuple[int, ...]]:
    """Return the features of all rows, and which of them are categories; None where nothing tells rows apart.

    Args:
        parts: of `known_columns`, one after another; at least one.
    """
    whole = pa.concat_tables(parts, promote_options="default")
    try:
        encoding = learn_encoding(whole, [name for name in whole.column_names if name != _ROW])
    except WorkspaceError:  # M402: all are constant
        return None, ()
    return encoding.matrix(whole, date.min), encoding.categorical


def _columns(values: Mapping[str, object], at: datetime) -> Iterator[tuple[str, float | str]]:
    for name, value in values.items():
        if isinstance(value, str):
            yield f"text.{name}", value
        elif isinstance(value, bool | int | float):
            yield f"number.{name}", float(value)
        elif isinstance(value, date):
            yield f"number.{name}", _days(value, at)


def _days(value: date, at: datetime) -> float:
    """Return how many days before an instant a date or an instant was."""
    if isinstance(value, datetime):
        instant = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (at - instant).total_seconds() / _DAY
    return float((at.date() - value).days)
