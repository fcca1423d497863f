"""Splink on DuckDB: weights learned without labels, and all pairs above a weight.

u comes from pairs at random, m by expectation maximisation within each blocking list (Winkler 2006; Linacre
et al. 2022). The prior is then the one at which the pairs found are as many as their probabilities say.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.errors import DataError, EngineError
from tilltal.core.names import quote
from tilltal.customers.identity.linking.levels import level_names, levels_of
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.weights import FieldWeights, Weights
from tilltal.engines.duckdb import DuckDBEngine

LEAST_RECORDS = 200  # fewer teach nothing about what people share by chance
_SEED = 20_260_101
_RANDOM_PAIRS = 1e7
_TRAINING_PAIRS = 2e6
_RARE = 1e-3  # of records of one person: what they hardly ever show speaks for nothing
_LEAST = 1e-6
_DIGITS = 6  # sums of floating numbers depend on the order in which threads finish
_ROUNDS = 50


def record_table(records: Mapping[int, Values], plan: LinkPlan) -> pa.Table:
    """Return records as Splink takes them: `record`, a column a field, a column a blocking key.

    Keys with more than `max_block` records are NULL, so they find nobody.
    """
    tokens = sorted(records)
    columns: dict[str, pa.Array] = {"record": pa.array(tokens, pa.int64())}
    for place in range(len(plan.fields)):
        columns[f"f{place}"] = pa.array([records[one][place] for one in tokens], pa.string())
    for number in range(len(plan.blocking)):
        keys = [plan.block(number, records[one]) for one in tokens]
        sizes = Counter(keys)
        kept = [None if key is None or sizes[key] > plan.max_block else key for key in keys]
        columns[f"block{number}"] = pa.array(kept, pa.string())
    return pa.table(columns)


def train(engine: DuckDBEngine, table: pa.Table, plan: LinkPlan, now: datetime) -> Weights:
    """Learn the weights of a plan from records of the shape `record_table`.

    Raises:
        EngineError: P370 if Splink is not installed.
        DataError: P371 if there are too few records; P373 for a field of which nothing could be learned.
    """
    if table.num_rows < LEAST_RECORDS:
        raise DataError.of(
            "P371",
            f"{table.num_rows:,} records are too few to learn from; at least {LEAST_RECORDS} are needed.",
            hint="Ingest record sources that hold the fields of `linking.compare`.",
        )
    linker = _linker(engine, table, plan, None)
    linker.training.estimate_u_using_random_sampling(max_pairs=_RANDOM_PAIRS, seed=_SEED)
    splink = _splink()
    for rule in plan.blocking:
        parts = [_expression(part.field, part.letters) for part in rule]
        linker.training.estimate_parameters_using_expectation_maximisation(
            splink.block_on(*parts), max_pairs=_TRAINING_PAIRS
        )
    model = linker.misc.save_model_to_json()
    learned = tuple(
        _learned(one.name, len(level_names(one.kind)), comparison["comparison_levels"])
        for one, comparison in zip(plan.fields, model["comparisons"], strict=True)
    )
    start = Weights(
        content=plan.content,
        trained=now.isoformat(),
        records=table.num_rows,
        prior=1 / table.num_rows,
        fields=learned,
    )
    return msgspec.structs.replace(start, prior=_prior(engine, table, plan, start))


def scored(engine: DuckDBEngine, table: pa.Table, plan: LinkPlan, weights: Weights, least: float) -> pa.Table:
    """Return all pairs that share a blocking key and reach a least weight: `a` < `b`, `weight`.

    Raises:
        EngineError: P370 if Splink is not installed.
    """
    linker = _linker(engine, table, plan, weights)
    found = linker.inference.predict(threshold_match_weight=least)
    pairs = engine.arrow(
        "SELECT least(record_l, record_r) AS a, greatest(record_l, record_r) AS b, "
        f"match_weight AS weight FROM {quote(found.physical_name)} ORDER BY weight DESC, a, b"
    )
    engine.run(f"DROP TABLE {quote(found.physical_name)}")
    return pairs


def _prior(engine: DuckDBEngine, table: pa.Table, plan: LinkPlan, start: Weights) -> float:
    """Return the share of matches among all pairs at which it agrees with the sum of their probabilities."""
    pairs = scored(engine, table, plan, start, start.prior_weight)
    evidence = pairs["weight"].to_numpy() - start.prior_weight
    every = table.num_rows * (table.num_rows - 1) / 2
    prior = start.prior
    for _ in range(_ROUNDS):
        weights = np.clip(evidence + np.log2(prior / (1 - prior)), -500, 500)
        prior = max(float((1 / (1 + np.exp2(-weights))).sum()), 1.0) / every
    return _rounded(prior)


def _learned(field: str, count: int, levels: Sequence[Mapping[str, Any]]) -> FieldWeights:
    """Return m and u of a field from Splink's model; a level never seen gets a small share of its own."""
    real = levels[1:]  # the first is that a value is missing
    m = [_number(one.get("m_probability")) for one in real]
    u = [_number(one.get("u_probability")) for one in real]
    if len(real) != count or not any(m) or not any(u):
        raise DataError.of(
            "P373",
            f"Nothing could be learned about the field {field!r}.",
            hint="Let a blocking list leave it out, so that records which agree otherwise tell about it.",
        )
    different = m[-1] / u[-1] if m[-1] and u[-1] else 1.0
    pairs = [_smoothed(one, other, different) for one, other in zip(m, u, strict=True)]
    return FieldWeights(
        field=field,
        m=tuple(_rounded(one) for one, _ in pairs),
        u=tuple(_rounded(other) for _, other in pairs),
    )


def _smoothed(m: float, u: float, different: float) -> tuple[float, float]:
    """Return m and u of a level; one that was hardly seen among matches is worth no more than `different`."""
    m, u = max(m, _LEAST), max(u, _LEAST)
    if m < _RARE and m / u > different:
        return m, min(m / different, 1.0)
    return m, u


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _number(value: object) -> float:
    """Return a probability; a level that was never seen has none, or words in its place."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _linker(engine: DuckDBEngine, table: pa.Table, plan: LinkPlan, weights: Weights | None) -> Any:
    splink = _splink()
    logging.getLogger("splink").setLevel(logging.ERROR)
    engine.run("SET preserve_insertion_order = true")  # else the same seed draws other pairs
    engine.register("link_records", table)
    engine.run("CREATE OR REPLACE TABLE linked_records AS SELECT * FROM link_records ORDER BY record")
    database = splink.DuckDBAPI(engine.connection)
    return splink.Linker(
        database.register("linked_records"),
        _settings(plan, weights),
        log_level=None,
        validate_settings=False,
    )


def _settings(plan: LinkPlan, weights: Weights | None) -> dict[str, Any]:
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "record",
        "probability_two_random_records_match": weights.prior if weights else 1e-4,
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
        "comparisons": [
            _comparison(plan, place, weights.fields[place] if weights else None)
            for place in range(len(plan.fields))
        ],
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": f"l.block{number} = r.block{number}", "sql_dialect": "duckdb"}
            for number in range(len(plan.blocking))
        ],
    }


def _comparison(plan: LinkPlan, place: int, known: FieldWeights | None) -> dict[str, Any]:
    left, right = f"f{place}_l", f"f{place}_r"
    kind = plan.fields[place].kind
    sides = {"a": left, "b": right}
    between = [re.sub(r"\b[ab]\b", lambda one: sides[one[0]], level.sql) for level in levels_of(kind)]
    conditions = [f"{left} = {right}", *between, "ELSE"]
    levels: list[dict[str, Any]] = [
        {"sql_condition": f"{left} IS NULL OR {right} IS NULL", "label_for_charts": "missing"}
        | {"is_null_level": True}
    ]
    for number, (name, condition) in enumerate(zip(level_names(kind), conditions, strict=True)):
        level: dict[str, Any] = {"sql_condition": condition, "label_for_charts": name}
        if known is not None:
            level |= {"m_probability": known.m[number], "u_probability": known.u[number]}
        levels.append(level)
    return {"output_column_name": f"f{place}", "comparison_levels": levels}


def _expression(field: int, letters: int | None) -> str:
    return f"f{field}" if letters is None else f"substr(f{field}, 1, {letters})"


def _splink() -> Any:
    try:
        return importlib.import_module("splink")
    except ImportError as error:
        raise EngineError.of(
            "P370", "Linking needs Splink, an extra.", hint="Install it: pip install 'tilltal[link]'."
        ) from error
