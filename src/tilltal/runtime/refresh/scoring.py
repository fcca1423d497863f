"""Scoring in a refresh: one model, all known customers.

Whoever a model was not trained for has a score too; the conditions of actions and audiences decide whose
scores count.
"""

from __future__ import annotations

import pyarrow as pa

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.models.model import Scorer
from tilltal.rules.clock import Clock


def score_table(engine: BatchEngine, scorer: Scorer, name: str, relation: str, clock: Clock) -> str:
    """Make the table of `profile` and `score.<name>`; return its quoted name."""
    names = scorer.content.encoding.names
    columns = "".join(f", {quote(each)}" for each in names)
    table = engine.arrow(f"SELECT profile{columns} FROM {relation} WHERE is_known")
    scores = pa.array(scorer.score(table, clock.today, 0), from_pandas=True)  # NaN: nothing is known, NULL
    engine.register("scored", pa.table({"profile": table.column("profile"), f"score.{name}": scores}))
    target = quote(f"made score.{name}")
    engine.run(f"CREATE OR REPLACE TABLE {target} AS SELECT * FROM scored")
    return target
