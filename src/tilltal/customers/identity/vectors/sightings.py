"""Observations as arrays: who was seen in which observation, which observations count, who is shared."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilltal.core.errors import DataError, nearest
from tilltal.customers.identity.corrections import Corrections, same_values
from tilltal.customers.identity.rules import Rules

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Sightings(msgspec.Struct, frozen=True, kw_only=True):
    """All observations of a table. Nodes are identifiers in order of priority number, then token.

    Per row (observation): `at`, `last_at` in microseconds, `conflict` (priority number of the namespace with
    two values, or -1), `is_evidence`. Per entry (a node in a row; by row, then node): `row`, `node`. Per
    node: `number`, `token`, `same` (first node of its value), `first_us`, `is_person`, `is_shared`. `foes`:
    pairs of nodes, shape (n, 2).
    """

    at: Ints
    last_at: Ints
    conflict: Ints
    is_evidence: Bools
    row: Ints
    node: Ints
    number: Ints
    token: Ints
    same: Ints
    first_us: Ints
    is_person: Bools
    is_shared: Bools
    foes: Ints

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self.token)


def read_sightings(table: pa.Table, rules: Rules, corrections: Corrections[int]) -> Sightings:
    """Number the identifiers of an observations table and judge each observation.

    Raises:
        DataError: P350 for an identifier of an undeclared namespace.
    """
    number, token, node, row = _numbered(table, rules)
    same, foes = _corrected(token, corrections)
    at, last_at = _times(table, "at"), _times(table, "last_at")
    conflict = _conflicts(number, same, row, node, table.num_rows, rules)
    revoked = pc.is_in(table["observation"], pa.array(sorted(corrections.revoked), pa.string()))
    is_evidence = (conflict < 0) & ~revoked.to_numpy()
    first_us = np.full(len(token), np.iinfo(np.int64).max)
    np.minimum.at(first_us, node, at[row])
    used = is_evidence[row]
    return Sightings(
        at=at,
        last_at=last_at,
        conflict=conflict,
        is_evidence=is_evidence,
        row=row,
        node=node,
        number=number,
        token=token,
        same=same,
        first_us=first_us,
        is_person=np.array([one.is_person for one in rules.namespaces])[number],
        is_shared=_shared(number, same, row[used], node[used], table.num_rows, rules),
        foes=foes,
    )


def starts(ordered: npt.NDArray[np.generic]) -> Ints:
    """Return where each run of equal values begins in an ordered array."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _times(table: pa.Table, column: str) -> Ints:
    stamps = table[column].cast(pa.timestamp("us")).cast(pa.int64())
    return np.asarray(stamps.to_numpy(), dtype=np.int64)


def _numbered(table: pa.Table, rules: Rules) -> tuple[Ints, Ints, Ints, Ints]:
    """Return `number` and `token` per node, `node` and `row` per entry."""
    ids = table["ids"].combine_chunks()
    row = np.asarray(pc.list_parent_indices(ids).to_numpy(zero_copy_only=False), dtype=np.int64)
    pairs = pc.list_flatten(ids)
    numbers = _numbers(pairs.field("namespace"), rules)
    tokens = np.asarray(pairs.field("token").to_numpy(zero_copy_only=False), dtype=np.int64)
    node, number, token, total = np.empty(len(row), np.int64), [], [], 0
    for at in range(len(rules.namespaces)):
        own = numbers == at
        values, places = np.unique(tokens[own], return_inverse=True)
        node[own] = places + total
        number.append(np.full(len(values), at))
        token.append(values)
        total += len(values)
    entry = np.unique(row * max(total, 1) + node)
    row, node = np.divmod(entry, max(total, 1))
    return np.concatenate(number), np.concatenate(token), node, row


def _numbers(namespaces: pa.Array, rules: Rules) -> Ints:
    encoded = namespaces.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    declared = [one.name for one in rules.namespaces]
    for name in names:
        if name not in declared:
            raise DataError.of(
                "P350",
                f"observations hold an undeclared namespace {name!r}.",
                valid=nearest(str(name), declared),
            )
    numbers = np.array([declared.index(name) for name in names], dtype=np.int64)
    return np.asarray(numbers[encoded.indices.to_numpy(zero_copy_only=False)], dtype=np.int64)


def _corrected(token: Ints, corrections: Corrections[int]) -> tuple[Ints, Ints]:
    """Return the first node of each node's value, and the pairs of values kept apart."""
    same = np.arange(len(token))
    value = same_values(corrections)
    named = sorted({*value, *(one for pair in corrections.forbid for one in pair)})
    nodes = _nodes_of(token, named)
    first: dict[int, int] = {}
    for one in named:
        node, key = nodes.get(one, -1), value.get(one, one)
        if node >= 0:
            first[key] = min(node, first.get(key, node))
    for one in value:
        if one in nodes:
            same[nodes[one]] = first[value[one]]
    pairs = [(value.get(a, a), value.get(b, b)) for a, b in sorted(corrections.forbid)]
    foes = [(first[a], first[b]) for a, b in pairs if a in first and b in first and a != b]
    return same, np.array(foes, dtype=np.int64).reshape(-1, 2)


def _nodes_of(token: Ints, wanted: Sequence[int]) -> dict[int, int]:
    """Return token → node for those that were observed."""
    nodes = np.flatnonzero(np.isin(token, np.array(wanted, dtype=np.int64)))
    return dict(zip(token[nodes].tolist(), nodes.tolist(), strict=True))


def _conflicts(number: Ints, same: Ints, row: Ints, node: Ints, rows: int, rules: Rules) -> Ints:
    """Return the first unique namespace of which a row holds two values, or -1."""
    conflict = np.full(rows, -1)
    for unique in reversed(rules.unique):
        own = number[node] == unique
        holders, values = row[own], same[node[own]]
        twice = (holders[1:] == holders[:-1]) & (values[1:] != values[:-1])
        conflict[holders[1:][twice]] = unique
    return conflict


def _shared(number: Ints, same: Ints, row: Ints, node: Ints, rows: int, rules: Rules) -> Bools:
    """Return which nodes' values were seen with too many values of the first unique namespace.

    `row` and `node` are the entries of evidence, so each row holds at most one such value.
    """
    after = np.array([one.shared_after if one.shared_after is not None else 0 for one in rules.namespaces])
    if not rules.unique or not after.any():
        return np.zeros(len(number), dtype=np.bool_)
    first = rules.unique[0]
    customer = np.full(rows, -1)
    is_customer = number[node] == first
    customer[row[is_customer]] = same[node[is_customer]]
    counted = (after[number[node]] > 0) & ~is_customer & (customer[row] >= 0)
    pairs = np.unique(same[node[counted]] * max(len(number), 1) + customer[row[counted]])
    seen_with = np.bincount(pairs // max(len(number), 1), minlength=len(number))
    bound = np.where(number == first, 0, after[number])
    return np.asarray((bound > 0) & (seen_with[same] >= bound))
