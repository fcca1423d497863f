"""Columns as a bank's systems write them: numbers with commas, ids with prefixes, and what is broken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.demo.shapes import Bools, Ints


def plain(values: Ints) -> pa.Array:
    """Whole numbers as text."""
    return pa.array(values, pa.int64()).cast(pa.string())


def numbered(prefix: str, values: Ints) -> pa.Array:
    """Ids: a prefix and a number."""
    return pc.binary_join_element_wise(prefix, plain(values), "")


def decimals(hundredths: Ints, separator: str = ",") -> pa.Array:
    """Numbers with two decimals, given in hundredths: `-12,50` for -1250."""
    whole, rest = np.divmod(np.abs(hundredths), 100)
    sign = pa.array(["", "-"]).take(pa.array((hundredths < 0).astype(np.int64)))
    cents = pc.utf8_lpad(plain(rest), 2, "0")
    whole_text = pc.binary_join_element_wise(sign, plain(whole), "")
    return pc.binary_join_element_wise(whole_text, cents, separator)


def chosen(names: Sequence[str], numbers: Ints) -> pa.Array:
    """Names by number."""
    return pa.array(list(names), pa.string()).take(pa.array(numbers))


def written(moments: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]], form: str) -> pa.Array:
    """Dates and times in a strftime form."""
    return pc.strftime(pa.array(moments.astype("datetime64[s]")), format=form)


def only(values: pa.Array, where: Bools) -> pa.Array:
    """Values where a condition holds, else nothing."""
    return pc.if_else(pa.array(where), values, pa.scalar(None, values.type))


def spoil(rng: np.random.Generator, values: pa.Array, share: float, junk: Sequence[str | None]) -> pa.Array:
    """Replace a random share of a text column by junk."""
    hit = rng.random(len(values)) < share
    instead = pa.array(list(junk), pa.string()).take(pa.array(rng.integers(0, len(junk), len(values))))
    return pc.if_else(pa.array(hit), instead, values)


def repeated(rng: np.random.Generator, count: int, share: float) -> Ints:
    """Row numbers of `count` rows, a random share of them twice: messages that were sent again."""
    rows = np.arange(count, dtype=np.int64)
    return np.sort(np.concatenate([rows, rows[rng.random(count) < share]]))
