"""Rows: whose, when and what came of it, taken from a training table once and checked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tilltal.models.dataset.labels import LABEL, PROFILE, SNAPSHOT


class Rows(msgspec.Struct, frozen=True):
    """Three arrays of one length: profile ids, snapshot days and labels."""

    profiles: NDArray[np.int64]
    days: NDArray[np.datetime64]
    labels: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table) -> Rows:
        """Take `profile` BIGINT, `snapshot` DATE and `label` BOOLEAN from a table.

        Raises:
            ValueError: where one is absent or has gaps: the table was not made by `labels.training_rows_sql`.
        """
        for name in (PROFILE, SNAPSHOT, LABEL):
            if name not in table.column_names or table.column(name).null_count:
                raise ValueError(f"a training table needs a column {name!r} without gaps")
        return cls(
            table.column(PROFILE).cast(pa.int64()).to_numpy(),
            table.column(SNAPSHOT).cast(pa.date32()).to_numpy().astype("datetime64[D]"),
            table.column(LABEL).cast(pa.bool_()).to_numpy().astype(np.bool_),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def distinct_days(self) -> tuple[date, ...]:
        """The snapshot days, oldest first."""
        return tuple(np.unique(self.days).tolist())

    def of_days(self, days: Sequence[date]) -> NDArray[np.bool_]:
        """Return which rows belong to the snapshots of these days."""
        return np.isin(self.days, np.array(days, dtype="datetime64[D]"))
