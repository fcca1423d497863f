"""How fast identities resolve: `python -m benchmarks.identity --customers 1000000`.

Each customer has a CRM row (number and e-mail), a login on a device, and an anonymous visit. One e-mail in 50
is a household's, one device in 20 is shared by two customers. Prints CPU-seconds beside a plain sort of the
same tokens in the same run, and the peak of memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.customers.identity.bulk import OBSERVATIONS, ResolvedTables, resolve_table
from tilltal.customers.identity.rules import compile_rules
from tilltal.workspace.definitions.identity import Identity, Namespace

NAMES = ("crm", "email", "device")
RULES = compile_rules(
    Identity(
        namespaces=(
            Namespace(name="crm", unique=True),
            Namespace(name="email"),
            Namespace(name="device", kind="device"),
        )
    )
)
Ints = npt.NDArray[np.int64]
DAY = 86_400_000_000


def observations(customers: int, seed: int) -> pa.Table:
    """Three observations per customer, in random order of tokens."""
    random = np.random.default_rng(seed)
    token = {name: random.integers(1, 2**63 - 1, customers) for name in NAMES}
    mate = random.integers(0, customers, customers)
    token["email"] = np.where(random.random(customers) < 0.02, token["email"][mate], token["email"])
    token["device"] = np.where(random.random(customers) < 0.05, token["device"][mate], token["device"])
    parts = [
        _part(number, names, token, random)
        for number, names in enumerate((("crm", "email"), ("crm", "device"), ("device",)))
    ]
    return pa.concat_tables(parts)


def _part(
    number: int, names: tuple[str, ...], token: dict[str, Ints], random: np.random.Generator
) -> pa.Table:
    count = len(token["crm"])
    tokens = np.stack([token[name] for name in names], axis=1).ravel()
    codes = np.tile(np.array([NAMES.index(name) for name in names]), count)
    namespace = pa.array(NAMES).take(pa.array(codes))
    pairs = pa.StructArray.from_arrays([namespace, pa.array(tokens)], names=["namespace", "token"])
    offsets = pa.array(np.arange(count + 1) * len(names), pa.int32())
    at = pa.array(random.integers(0, 700, count) * DAY + random.integers(0, DAY, count)).cast(
        pa.timestamp("us")
    )
    name = pa.array(np.arange(count) * 3 + number).cast(pa.string())
    return pa.Table.from_arrays([name, at, at, pa.ListArray.from_arrays(offsets, pairs)], schema=OBSERVATIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    table = observations(arguments.customers, arguments.seed)
    before = _peak_gb()
    sort = _cpu(lambda: np.sort(table["ids"].combine_chunks().flatten().field("token").to_numpy()))
    tables: list[ResolvedTables] = []
    spent = _cpu(lambda: tables.append(resolve_table(table, RULES)))
    (got,) = tables
    print(f"{arguments.customers:,} customers, {table.num_rows:,} observations")
    print(f"resolved in {spent:.1f} CPU-s = {spent / sort:.0f} x a sort of the tokens ({sort:.2f} CPU-s)")
    print(f"{got.spine.num_rows:,} people, {got.dropped_links.num_rows:,} dropped links")
    print(f"{got.identity_map.num_rows:,} identities mapped")
    print(f"peak memory {_peak_gb():.2f} GB ({before:.2f} GB before resolving)")


def _cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
