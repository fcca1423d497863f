"""Features: which names of a profile a model reads, and how each becomes a number, frozen at training.

Numbers stay; booleans are 0 and 1; dates are days before the as-of date; texts are categories with the
vocabulary seen in training. What is missing, not finite or not in the vocabulary is NaN, which the trees
of `propensity` treat as a value of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tilltal.core.errors import DataError, WorkspaceError, nearest
from tilltal.models.dataset.labels import LABEL, PROFILE, SNAPSHOT

MAX_CATEGORIES = 64  # beyond it a tree learns single values by heart
_RESERVED = frozenset({PROFILE, SNAPSHOT, LABEL})
_EPOCH = date(1970, 1, 1).toordinal()

Matrix = NDArray[np.float32]
Kind = Literal["number", "boolean", "date", "category"]
_PLAIN: Mapping[Kind, frozenset[type]] = {
    "number": frozenset((int, float, Decimal, type(None))),
    "boolean": frozenset((bool, type(None))),
}


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature and how its column becomes a number; a category is its place in the vocabulary."""

    name: str
    kind: Kind
    vocabulary: tuple[str, ...] = ()


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen name that is not used, and why."""

    name: str
    reason: str


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """The features of a model in the order of its matrix columns."""

    features: tuple[Feature, ...]
    dropped: tuple[Dropped, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Columns that hold categories."""
        return tuple(i for i, feature in enumerate(self.features) if feature.kind == "category")

    def without(self, name: str) -> Encoding:
        """Return the encoding less one feature."""
        return msgspec.structs.replace(self, features=tuple(f for f in self.features if f.name != name))

    def matrix(self, table: pa.Table, as_of: date | None = None) -> Matrix:
        """Return float32 of shape (rows, features), C-ordered.

        Args:
            table: must have a column per feature.
            as_of: the local date the table is as of; without it the table's `snapshot` column tells.

        Raises:
            DataError: M404 where a column is missing, M405 where its type no longer fits.
        """
        _require(frozenset(table.column_names), self.names)
        out = np.empty((table.num_rows, len(self.features)), dtype=np.float32)
        for index, feature in enumerate(self.features):
            out[:, index] = _column(table, feature, as_of)
        out[~np.isfinite(out)] = np.nan
        return out


class RowReader:
    """Reads one customer's values as a row of the matrix: what `Encoding.matrix` makes of a table of one row.

    For a single customer a table costs fifty times what the row does.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._features = encoding.features
        self._plain = [
            (
                kind,
                [feature.name for feature in encoding.features if feature.kind == kind],
                _places(encoding, kind),
            )
            for kind in _PLAIN
        ]
        self._others = [
            (place, feature.name, _reader(feature))
            for place, feature in enumerate(encoding.features)
            if feature.kind not in _PLAIN
        ]

    def read(self, values: Mapping[str, object], as_of: date) -> Matrix:
        """Return float32 of shape (1, features).

        Args:
            values: by name; at least the features.
            as_of: the local date the values are as of.

        Raises:
            DataError: M404 where a name is missing, M405 where the type of a value no longer fits.
        """
        row = np.full((1, len(self._features)), np.nan)
        try:
            for kind, names, places in self._plain:
                row[0, places] = self._numbers([values[name] for name in names], kind, names)
            for place, name, read in self._others:
                row[0, place] = read(values[name], as_of.toordinal())
        except KeyError:
            _require(values.keys(), [feature.name for feature in self._features])
            raise
        with np.errstate(over="ignore"):
            out = row.astype(np.float32)
        out[~np.isfinite(out)] = np.nan
        return out

    def _numbers(self, found: list[Any], kind: Kind, names: Sequence[str]) -> list[float]:
        if not _PLAIN[kind].issuperset(map(type, found)):
            for name, value in zip(names, found, strict=True):
                _check_type(next(each for each in self._features if each.name == name), value)
        return [math.nan if value is None else value for value in found]


def select_features(patterns: Sequence[str], exclude: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names a model reads: matched by a pattern, not excluded, in the order given by `names`.

    Scores of models are never features: a model would feed on another, or on itself.

    >>> select_features(["card_*", "age"], ["card_secret"], ["age", "card_30d", "card_secret", "city"])
    ('age', 'card_30d')

    Raises:
        WorkspaceError: M401 for a pattern that matches nothing, M402 where nothing is left.
    """
    usable = [name for name in names if name not in _RESERVED and not name.startswith("score.")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in usable):
            raise WorkspaceError.of(
                "M401",
                f"The feature pattern {pattern!r} matches no name of the profile.",
                valid=nearest(pattern, usable, count=5),
                hint="Correct it or take it out of `features`.",
            )
    chosen = tuple(name for name in usable if _matches(name, patterns) and not _matches(name, exclude))
    if not chosen:
        raise _nothing_left()
    return chosen


def learn_encoding(table: pa.Table, names: Sequence[str]) -> Encoding:
    """Freeze how each name is encoded, from the training rows.

    Constant columns, types without an order or a vocabulary (lists, structs) and texts with too many
    different values are dropped, with the reason.

    Raises:
        WorkspaceError: M402 where nothing is left.
    """
    learned = [_learn(name, table.column(name)) for name in names]
    features = tuple(item for item in learned if isinstance(item, Feature))
    dropped = tuple(item for item in learned if isinstance(item, Dropped))
    if not features:
        raise _nothing_left(dropped)
    return Encoding(features=features, dropped=dropped)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _nothing_left(dropped: Sequence[Dropped] = ()) -> WorkspaceError:
    why = "; ".join(f"{item.name}: {item.reason}" for item in dropped)
    return WorkspaceError.of(
        "M402",
        "No feature is left for the model" + (f" ({why})." if why else "."),
        hint="Name more of the profile in `features`, or exclude less.",
    )


def _learn(name: str, column: pa.ChunkedArray) -> Feature | Dropped:
    if column.null_count == len(column):
        return Dropped(name=name, reason="it is always missing")
    kind = _kind(column.type)
    if kind is None:
        return Dropped(name=name, reason=f"a {column.type} is neither number, date nor text")
    values = _text(column) if kind == "category" else column
    if column.null_count == 0 and len(values.unique()) == 1:
        return Dropped(name=name, reason="it has one value for everybody")
    if kind != "category":
        return Feature(name=name, kind=kind)
    vocabulary, coverage = _vocabulary(values)
    if coverage < 0.5:
        return Dropped(
            name=name, reason=f"its {MAX_CATEGORIES} commonest values cover {coverage:.0%} of the rows"
        )
    return Feature(name=name, kind="category", vocabulary=vocabulary)


def _kind(type_: pa.DataType) -> Kind | None:
    types = pa.types
    if types.is_boolean(type_):
        return "boolean"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_date(type_) or types.is_timestamp(type_):
        return "date"
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "category"
    if types.is_dictionary(type_):
        return _kind(type_.value_type)
    return None


def _vocabulary(column: pa.ChunkedArray) -> tuple[tuple[str, ...], float]:
    """The commonest values, most frequent first and ties by name, and the share of rows they cover."""
    counts = column.drop_null().value_counts().to_pylist()
    ranked = sorted(counts, key=lambda item: (-item["counts"], item["values"]))[:MAX_CATEGORIES]
    covered = sum(item["counts"] for item in ranked)
    return tuple(item["values"] for item in ranked), covered / (len(column) - column.null_count)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Other ways to hold texts, such as dictionaries, as plain text."""
    return column if pa.types.is_large_string(column.type) else column.cast(pa.string())


def _require(there: Collection[str], names: Iterable[str]) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError.of(
            "M404",
            f"The model reads {', '.join(missing)}, which the profile no longer has.",
            valid=nearest(missing[0], there, count=5),
            hint="Bring the name back, or train the model again.",
        )


def _column(table: pa.Table, feature: Feature, as_of: date | None) -> NDArray[np.float32]:
    column = table.column(feature.name)
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, np.nan, dtype=np.float32)
    if _kind(column.type) != feature.kind:
        raise _changed(feature, str(column.type))
    if feature.kind == "date":
        return _days_before(table, column, as_of)
    if feature.kind == "category":
        texts = _text(column)
        column = pc.index_in(texts, value_set=pa.array(feature.vocabulary, texts.type))
    return _floats(column)


def _places(encoding: Encoding, kind: Kind) -> NDArray[np.intp]:
    return np.array(
        [place for place, feature in enumerate(encoding.features) if feature.kind == kind], dtype=np.intp
    )


def _reader(feature: Feature) -> Callable[[object, int], float]:
    """Return what makes a number of a category or date, given the day's ordinal."""
    if feature.kind == "date":
        return lambda value, today: math.nan if value is None else today - _ordinal(feature, value)
    places = {text: float(place) for place, text in enumerate(feature.vocabulary)}
    return lambda value, today: math.nan if value is None else _place(feature, places, value)


def _place(feature: Feature, places: Mapping[str, float], value: object) -> float:
    if not isinstance(value, str):
        raise _changed(feature, type(value).__name__)
    return places.get(value, math.nan)


def _ordinal(feature: Feature, value: object) -> int:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    if not isinstance(value, date):
        raise _changed(feature, type(value).__name__)
    return value.toordinal()


def _check_type(feature: Feature, value: object) -> None:
    """Refuse what is no number, or no boolean, also where its class is a relative of the usual ones."""
    is_boolean = isinstance(value, bool | np.bool_)
    is_number = isinstance(value, int | float | Decimal | np.number) and not is_boolean
    if value is not None and not (is_boolean if feature.kind == "boolean" else is_number):
        raise _changed(feature, type(value).__name__)


def _changed(feature: Feature, now: str) -> DataError:
    return DataError.of(
        "M405",
        f"{feature.name} was a {feature.kind} when the model was trained and is {now} now.",
        hint="Give it its old type back, or train the model again.",
    )


def _days_before(table: pa.Table, column: pa.ChunkedArray, as_of: date | None) -> NDArray[np.float32]:
    if as_of is not None:
        return np.float32(as_of.toordinal() - _EPOCH) - _day_numbers(column)
    return _day_numbers(table.column(SNAPSHOT)) - _day_numbers(column)


def _day_numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Days since 1970, exact in float32 for all years from 1 to 9999."""
    return _floats(column.cast(pa.date32(), safe=False).cast(pa.int32()))


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Nulls become NaN; decimals and wide integers lose digits a tree does not need."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: NDArray[np.float32] = column.cast(pa.float32(), safe=False).to_numpy()
    return values
