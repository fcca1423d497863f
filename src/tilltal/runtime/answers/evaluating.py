"""Evaluating a policy on a file of logged decisions (CSV or Parquet).

One row per decision: `action` that was shown, `reward` that came of it, `probability` with which it was
chosen, and `new.<action>` for the probability that the new policy gives each action. Optional are
`customer`, whose rows belong together, `logged.<action>` for the logging policy's probability of each action,
and `feature.<name>` for what was known. Other columns are not read.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from tilltal.core.errors import DataError, WorkspaceError, nearest
from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Encoding, learn_encoding
from tilltal.models.offpolicy.evaluation import Evaluation, evaluate
from tilltal.models.offpolicy.log import Log, Numbers

ACTION, REWARD, PROBABILITY, CUSTOMER = "action", "reward", "probability", "customer"
NEW, LOGGED, FEATURE = "new.", "logged.", "feature."
_MANY = 100_000  # decisions from which on trees gain by several threads
_ANY_DAY = date(2000, 1, 1)  # dates are days before some day; trees do not mind which


def evaluate_file(path: Path, *, seed: int = 1) -> Evaluation:
    """Estimate what the new policy of a file would have earned.

    Raises:
        DataError: M413 where the file is none of logged decisions, M411 where its numbers are impossible,
            M412 where it cannot tell.
    """
    log = read_log(path)
    return evaluate(log, seed=seed, threads=0 if len(log) >= _MANY else 1)


def read_log(path: Path) -> Log:
    """Read logged decisions.

    Raises:
        DataError: M413 where a column is missing, has gaps or is of another type.
    """
    table = _table(path)
    names = _actions(table)
    place = {name: number for number, name in enumerate(names)}
    shown = np.array([place[name] for name in _whole(table, ACTION, pa.string()).to_pylist()], dtype=np.int64)
    encoding = _encoding(table)
    return Log(
        shown=shown,
        reward=_numbers(table, REWARD),
        probability=_numbers(table, PROBABILITY),
        policy=_of_actions(table, NEW, names),
        names=names,
        logging=_of_actions(table, LOGGED, names) if _having(table, LOGGED) else None,
        features=encoding.matrix(table, _ANY_DAY) if encoding else None,
        categorical=encoding.categorical if encoding else (),
        customers=_customers(table),
    )


def _table(path: Path) -> pa.Table:
    readers = {".csv": csv.read_csv, ".parquet": parquet.read_table}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(path, "its ending says neither CSV nor Parquet")
    try:
        table = reader(path)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise _unreadable(path, str(error).splitlines()[0].rstrip(".")) from error
    for name in (ACTION, REWARD, PROBABILITY):
        if name not in table.column_names:
            raise _wrong(f"there is no column {name!r}", nearest(name, table.column_names))
    if not _having(table, NEW):
        raise _wrong("no column `new.<action>` says what the new policy would do", ())
    return table


def _having(table: pa.Table, prefix: str) -> list[str]:
    return [name for name in table.column_names if name.startswith(prefix)]


def _actions(table: pa.Table) -> tuple[str, ...]:
    """Every action that was shown or that the new policy knows."""
    shown = pc.unique(_whole(table, ACTION, pa.string())).to_pylist()
    return tuple(sorted({*shown, *(name.removeprefix(NEW) for name in _having(table, NEW))}))


def _of_actions(table: pa.Table, prefix: str, names: tuple[str, ...]) -> Vector:
    """Probabilities by action, (rows, k); an action without a column, or without a number, has none."""
    found = np.zeros((table.num_rows, len(names)))
    for place, name in enumerate(names):
        if prefix + name in table.column_names:
            found[:, place] = np.nan_to_num(_cast(table, prefix + name, pa.float64()).to_numpy(), nan=0.0)
    return found


def _numbers(table: pa.Table, name: str) -> Vector:
    numbers: Vector = _whole(table, name, pa.float64()).to_numpy()
    return numbers


def _customers(table: pa.Table) -> Numbers | None:
    if CUSTOMER not in table.column_names:
        return None
    codes: Numbers = (
        _whole(table, CUSTOMER, pa.string()).combine_chunks().dictionary_encode().indices.to_numpy()
    )
    return codes.astype(np.int64)


def _encoding(table: pa.Table) -> Encoding | None:
    names = _having(table, FEATURE)
    try:
        return learn_encoding(table, names) if names else None
    except WorkspaceError:  # M402: all are constant, and tell nothing
        return None


def _whole(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    column = _cast(table, name, kind)
    if column.null_count:
        raise _wrong(f"{column.null_count:,} rows have no {name!r}", ())
    return column


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return table.column(name).cast(kind)
    except pa.ArrowInvalid as error:
        raise _wrong(f"{name!r} is not of the type {kind}: {error}", ()) from error


def _unreadable(path: Path, why: str) -> DataError:
    return DataError.of("M413", f"{path} cannot be read as logged decisions: {why}.", hint="See --help.")


def _wrong(what: str, valid: tuple[str, ...]) -> DataError:
    return DataError.of(
        "M413",
        f"The file is none of logged decisions: {what}.",
        valid=valid,
        hint="It needs action, reward, probability and a column `new.<action>` for each action.",
    )
