"""Holdings: the products a customer has, as columns of the profile."""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.rules.clock import Clock


def holding_name(product: str) -> str:
    """Return the name an expression uses: `holding.<product>`."""
    return f"holding.{product}"


def holdings_sql(products: Sequence[str], clock: Clock, *, order: Sequence[str] = ()) -> str:
    """Return a SELECT of `profile`, `holding.<product>`, `holdings`, `leading_product`, a row per profile.

    A product is held from its opening day until the day before its closing day. What arrived last about a
    product opened on a day decides; of equal arrivals, the one that says it is held. `holdings` counts
    different products. The leading product is the first held of `order`, else the one with the fewest
    holders, else the first by name. Reads the view `holdings` as known at the clock's instant.
    """
    columns = ["spine.profile"]
    sums = ["COUNT(*) AS holdings", "ARG_MIN(product, place) AS leading_product"]
    for product in products:
        name = quote(holding_name(product))
        columns.append(f"COALESCE(held.{name}, FALSE) AS {name}")
        sums.append(f"BOOL_OR(product = {literal(product)}) AS {name}")
    columns += ["COALESCE(held.holdings, 0) AS holdings", "held.leading_product"]
    return f"""
WITH products_held AS ({_held(clock)}),
products_ranked AS (
  SELECT product, ROW_NUMBER() OVER (ORDER BY {_place(order)}, COUNT(*), product) AS place
  FROM products_held GROUP BY product)
SELECT {", ".join(columns)}
FROM spine
LEFT JOIN (
  SELECT profile, {", ".join(sums)}
  FROM products_held JOIN products_ranked USING (product) GROUP BY profile) AS held
ON held.profile = spine.profile""".strip()


def _held(clock: Clock) -> str:
    """Return each profile's products held today, each once.

    The state that arrived last is the greatest number: microseconds doubled, plus one for held.
    """
    today = f"DATE {literal(clock.today.isoformat())}"
    number = f"2 * epoch_us(received) + CASE WHEN COALESCE(closed > {today}, TRUE) THEN 1 ELSE 0 END"
    return f"""
  SELECT DISTINCT profile, product FROM (
    SELECT profile, product FROM holdings
    WHERE opened <= {today} AND received <= {sql_timestamp(clock.now)}
    GROUP BY profile, product, opened
    HAVING MAX({number}) % 2 <> 0) AS latest"""


def _place(order: Sequence[str]) -> str:
    if not order:
        return "0"
    cases = " ".join(f"WHEN {literal(product)} THEN {place}" for place, product in enumerate(order))
    return f"CASE product {cases} ELSE {len(order)} END"
