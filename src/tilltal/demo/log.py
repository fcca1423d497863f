"""Growing columns: what happens in a month is appended as arrays, and joined at the end."""

from __future__ import annotations

import numpy as np

from tilltal.demo.shapes import Ints


class Log:
    """Rows of whole numbers under named columns."""

    def __init__(self, *columns: str) -> None:
        self._parts: dict[str, list[Ints]] = {column: [] for column in columns}

    def add(self, **values: Ints | int) -> None:
        """Append rows; a single number holds for all of them.

        Raises:
            ValueError: if the columns are not the log's own.
        """
        if values.keys() != self._parts.keys():
            raise ValueError(f"columns are {', '.join(self._parts)}, not {', '.join(values)}")
        length = max(np.size(value) for value in values.values() if not isinstance(value, int))
        for column, value in values.items():
            self._parts[column].append(np.broadcast_to(np.asarray(value, dtype=np.int64), (length,)))

    def __getitem__(self, column: str) -> Ints:
        parts = self._parts[column]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
