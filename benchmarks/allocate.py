"""Allocate an outbound run: a million customers, twenty actions, five capacities.

    python -m benchmarks.allocate [--customers 1000000] [--repeat 3] [--channels 1] [--households] [--hours]
        [--minimums]

Seconds by the clock and of the processor (all threads), and the gap to the bound of the linear program,
which no allocation exceeds. The values are propensity times worth, 40 % of the cells are not eligible; the
hours of advisers, the budget, the e-mails and the text messages bind, the call centre's hours do not.
Options add households of two on average, hours that differ by customer, and three minimum volumes; with
`--channels 3` each action may go by call, letter or e-mail, less what that costs and unless the customer may
not be contacted so (one in five).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from tilltal.decisions.allocation.allocate import Allocation, allocate
from tilltal.decisions.allocation.problem import Households, Minimum, Problem, Resource

ACTIONS = 20
LIMITS = {"adviser_hours": 0.02, "budget": 0.2, "call_hours": 0.03, "emails": 0.3, "messages": 0.12}


def problem(customers: int, channels: int, *, households: bool, hours: bool, minimums: bool) -> Problem:
    """Make a problem; limits are shares of the number of customers."""
    rng = np.random.default_rng(1)
    values = np.empty((ACTIONS * channels, customers), dtype=np.float32)
    for action in range(ACTIONS):
        values[action] = rng.beta(1.2, 20, customers) * rng.uniform(50, 900)
        values[action, rng.random(customers) < 0.4] = np.nan
    number = np.arange(ACTIONS * channels) % ACTIONS
    channel = (number + np.arange(ACTIONS * channels) // ACTIONS) % 3
    talk = np.where(channel == 0, rng.choice([0.2, 0.25, 0.4, 0.5], ACTIONS)[number], 0.0)
    cost = np.choose(channel, [4.0, 0.5, 0.1]) * rng.uniform(0.8, 1.2, ACTIONS)[number]
    if channels > 1:
        for option in reversed(range(ACTIONS * channels)):  # the first of each action is all the others' base
            values[option] = values[number[option]] - cost[option]
            values[option, rng.random(customers) < 0.2] = np.nan
    uses = {
        "adviser_hours": np.where((number < 4) & (channel == channel[number]), 0.5, 0.0),
        "budget": cost,
        "call_hours": (talk * rng.uniform(0.5, 1.5, (customers, 1))).astype(np.float32) if hours else talk,
        "emails": np.where(channel == 2, 1.0, 0.0),
        "messages": np.where(channel == 1, 1.0, 0.0),
    }
    return Problem(
        options=tuple(f"action_{one:02d} by channel {by}" for one, by in zip(number, channel, strict=True)),
        values=values.T,
        resources=tuple(
            Resource(name=name, limit=share * customers, use=uses[name]) for name, share in LIMITS.items()
        ),
        minimums=tuple(
            Minimum(name=f"action_{each:02d}", at_least=customers // 50, options=number == each)
            for each in ((2, 5, 11) if minimums else ())
        ),
        households=Households(ids=rng.integers(0, customers // 2, customers)) if households else None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--channels", type=int, choices=(1, 2, 3), default=1)
    for extra in ("households", "hours", "minimums"):
        parser.add_argument(f"--{extra}", action="store_true")
    options = parser.parse_args()
    given = problem(
        options.customers,
        options.channels,
        households=options.households,
        hours=options.hours,
        minimums=options.minimums,
    )
    before = peak()
    runs = [run(given) for _ in range(options.repeat)]
    table = Table(
        "measure",
        "median",
        "from",
        "to",
        title=f"{options.customers:,} customers × {len(given.options)} options",
    )
    for name, figures in {
        "seconds": [wall for wall, _, _ in runs],
        "CPU seconds": [cpu for _, cpu, _ in runs],
    }.items():
        middle = statistics.median(figures)
        table.add_row(name, f"{middle:.2f}", f"{min(figures):.2f}", f"{max(figures):.2f}")
    made = runs[0][2]
    table.add_row("gap to the bound, %", f"{100 * made.gap:.5f}", "", "")
    table.add_row("memory of the problem, MB", f"{before:,.0f}", "", "")
    table.add_row("peak memory, MB", f"{peak():,.0f}", "", "")
    for each, used, price in zip(given.resources, made.usage, made.prices, strict=True):
        assert used <= each.limit * (1 + 1e-9)
        table.add_row(f"{each.name} used, %", f"{100 * used / each.limit:.3f}", f"price {price:.2f}", "")
    Console().print(table)


def run(given: Problem) -> tuple[float, float, Allocation]:
    """Return seconds by the clock, of the processor, and what came out."""
    started, cpu = time.perf_counter(), time.process_time()
    made = allocate(given)
    return time.perf_counter() - started, time.process_time() - cpu, made


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
