"""Score many customers with ten models of thirty features, against one pass of numpy over the same numbers.

    nice -n 5 python -m benchmarks.scoring [--customers 1000000] [--models 10]

CPU seconds, single-threaded and measured in one run. Also what reasons cost, per customer and in bulk.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa

from tilltal.models.dataset.features import learn_encoding
from tilltal.models.fitting import Task
from tilltal.models.model import TrainedModel
from tilltal.models.training import train
from tilltal.workspace.definitions.models import Model, Outcome

DAYS = [date(2026, month, 1) for month in range(1, 7)]
TODAY = date(2026, 7, 1)
NUMBERS = 24  # beside 2 dates, 2 booleans and 2 texts


def customers(rows: int, seed: int) -> pa.Table:
    """Skewed amounts with gaps, counts, dates, flags and texts, as profiles have them."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {"profile": np.arange(rows)}
    for i in range(NUMBERS):
        values = rng.lognormal(3, 1.5, rows) if i % 2 else rng.poisson(3 + i, rows).astype(float)
        columns[f"n{i}"] = pa.array(values, mask=rng.random(rows) < 0.1 * (i % 4))
    for i in range(2):
        columns[f"d{i}"] = pa.array(rng.integers(15_000, 20_000, rows).astype(np.int32), pa.date32())
        columns[f"b{i}"] = rng.random(rows) < 0.3
        columns[f"t{i}"] = pa.array(rng.choice([f"v{j}" for j in range(12)], rows))
    return pa.table(columns)


def training_table(people: int, seed: int) -> pa.Table:
    """Six snapshots with an outcome that depends on eight of the features."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(NUMBERS, 8, replace=False)
    return pa.concat_tables([_snapshot(people, seed, day, chosen.tolist(), rng) for day in DAYS])


def _snapshot(people: int, seed: int, day: date, chosen: list[int], rng: np.random.Generator) -> pa.Table:
    table = customers(people, 100 * seed + day.month)
    logit = np.full(people, -3.0)
    for i in chosen:
        values = np.nan_to_num(np.log1p(table.column(f"n{i}").to_numpy()), nan=0.0)
        logit += 0.5 * (values - values.mean()) / values.std()
    label = rng.random(people) < 1 / (1 + np.exp(-logit))
    columns = {"snapshot": pa.array([day] * people), "label": pa.array(label)}
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def trained(count: int, people: int) -> tuple[list[TrainedModel], float]:
    """The models, and the CPU seconds that training one took."""
    definition = Model(outcome=Outcome(events=("buy",)), horizon="1 month", features=("*",))
    found: list[TrainedModel] = []
    seconds = 0.0
    for number in range(count):
        table = training_table(people, number + 1)
        task = Task(name=f"m{number}", definition=definition, threads=1)
        start = time.process_time()
        model = train(table, task)
        seconds += time.process_time() - start
        assert isinstance(model, TrainedModel), model.report.verdict
        found.append(model)
    return found, seconds / count


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--train-on", type=int, default=10_000, help="customers per training snapshot")
    options = parser.parse_args()
    models, training = trained(options.models, options.train_on)
    table = customers(options.customers, 999)
    encoding = learn_encoding(table, [name for name in table.column_names if name != "profile"])
    matrix = encoding.matrix(table, TODAY)
    one_pass = min(cpu(lambda: np.nansum(matrix, axis=0)) for _ in range(3))
    scoring = cpu(lambda: [model.score(table, TODAY) for model in models])
    few = table.slice(0, 5000)
    bulk = cpu(lambda: models[0].strongest(few, TODAY)) / len(few)
    single = cpu(lambda: [models[0].explain(table.slice(i, 1), TODAY) for i in range(200)]) / 200
    trees = [model.content.report.trees for model in models]
    print(f"| {options.customers:,} customers, {options.models} models, 30 features | CPU s | × one pass |")
    print("| --- | --- | --- |")
    print(f"| one pass of numpy over the matrix | {one_pass:.3f} | 1 |")
    print(f"| encode and score with all models | {scoring:.1f} | {scoring / one_pass:,.0f} |")
    print(f"| train one model on {6 * options.train_on:,} rows (trial and final) | {training:.1f} | |")
    print(f"| reasons, in bulk, per customer and model | {bulk:.6f} | |")
    print(f"| reasons, one customer | {single:.6f} | |")
    print(f"\nTrees: {min(trees)} to {max(trees)} per model, {sum(trees)} in all.")


if __name__ == "__main__":
    main()
