"""How long it takes to evaluate 200 rules of five predicates on one profile.

    python -m benchmarks.rules

Three sets of rules over 60 traits, from friendly to hostile: `typical` draws thresholds from a few round
values, as people do; `distinct` gives every predicate its own threshold, so nothing is shared; in
`arithmetic` one predicate in five compares the ratio of two traits. `alone` is the typical set without
fusing, one function a rule. Processor time; medians of 31 rounds over 200 random profiles, with the 10th
and 90th percentile.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import fuse, to_python
from tilltal.rules.types import Type

RULES, PREDICATES, ROUNDS = 200, 5, 31
CITIES = ("Oslo", "Bergen", "Lund", "Umeå", "Turku", "Aarhus")
SCHEMA = {
    **{f"count_{i}": Type.INTEGER for i in range(25)},
    **{f"amount_{i}": Type.NUMBER for i in range(25)},
    **{f"flag_{i}": Type.BOOLEAN for i in range(5)},
    **{f"city_{i}": Type.TEXT for i in range(5)},
}
CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))


def predicate(rng: random.Random, kind: str) -> str:
    """Write one condition, mostly true."""
    name = rng.choice(list(SCHEMA))
    if kind == "arithmetic" and rng.random() < 0.2:
        a, b = rng.sample(range(25), 2)
        return f"amount_{a} / amount_{b} > {rng.choice((0.001, 0.01, 0.1))}"
    match SCHEMA[name]:
        case Type.BOOLEAN:
            return rng.choice((name, f"{name} IS NOT TRUE"))
        case Type.TEXT:
            return f"{name} NOT IN ('{rng.choice(CITIES)}', '{rng.choice(CITIES)}')"
    threshold = rng.randrange(100_000) / 1000 if kind == "distinct" else rng.choice((5, 10, 20, 50, 100))
    if rng.random() < 0.2:
        return f"{name} BETWEEN {threshold / 10} AND {threshold + 300}"
    return f"{name} {rng.choice(('>', '>='))} {threshold}"


def rules(kind: str) -> dict[str, Expression]:
    """Make the rules of a set."""
    rng = random.Random(7)
    texts = (" AND ".join(predicate(rng, kind) for _ in range(PREDICATES)) for _ in range(RULES))
    return {f"rule_{i}": parse(text, SCHEMA, want=Type.BOOLEAN) for i, text in enumerate(texts)}


def profiles() -> list[tuple[object, ...]]:
    """Make 200 profiles, one value in ten missing."""
    rng = random.Random(8)
    make: dict[Type, Callable[[], object]] = {
        Type.INTEGER: lambda: rng.randrange(400),
        Type.NUMBER: lambda: rng.uniform(0, 400),
        Type.BOOLEAN: lambda: rng.random() < 0.5,
        Type.TEXT: lambda: rng.choice(CITIES),
    }
    return [
        tuple(None if rng.random() < 0.1 else make[kind]() for kind in SCHEMA.values()) for _ in range(200)
    ]


def report(title: str, evaluate: Callable[[tuple[object, ...]], object]) -> None:
    """Time an evaluation per profile and print it."""
    people, rounds = profiles(), []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for values in people:
            evaluate(values)
        rounds.append((time.process_time() - begin) / len(people) * 1e6)
    low, *_, high = statistics.quantiles(rounds, n=10)
    print(f"{title:<12}{statistics.median(rounds):7.1f} µs   {low:.1f} to {high:.1f}")


def _alone(functions: list[Callable[..., object]], values: dict[str, object]) -> list[object]:
    return [function(values, CLOCK) for function in functions]


def main() -> None:
    """Run all sets."""
    print(f"{RULES} rules of {PREDICATES} predicates on one profile: median, 10th to 90th percentile")
    slots = {name: slot for slot, name in enumerate(SCHEMA)}
    for kind in ("typical", "distinct", "arithmetic"):
        begin = time.process_time()
        fused = fuse(rules(kind), slots)
        seconds = time.process_time() - begin
        report(kind, lambda values, fused=fused: fused(values, CLOCK))  # type: ignore[misc]
        print(f"            compiled in {seconds:.2f} s")
    functions = [to_python(expression) for expression in rules("typical").values()]
    report("alone", lambda values: _alone(functions, dict(zip(SCHEMA, values, strict=True))))


if __name__ == "__main__":
    main()
