"""Holdings: what a customer has now, how many, and which product leads."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from tilltal.customers.holdings import holdings_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock

NOW = Clock(now=datetime(2026, 3, 10, 12, tzinfo=UTC), zone=ZoneInfo("Europe/Stockholm"))
Holding = tuple[int, str, date, date | None, datetime]
PRODUCTS = ("loan", "card", "fund")


def opened(
    profile: int, product: str, day: int, closed: int | None = None, received: int | None = None
) -> Holding:
    end = None if closed is None else date(2026, 3, closed)
    return profile, product, date(2026, 3, day), end, datetime(2026, 3, received or day)


def held(holdings: list[Holding], profiles: int = 1, order: tuple[str, ...] = ()) -> list[dict[str, object]]:
    engine = DuckDBEngine(threads=1)
    engine.register("spine", pa.table({"profile": range(profiles), "is_known": [True] * profiles}))
    table = {
        "profile": pa.array([one[0] for one in holdings], pa.int64()),
        "source": pa.array(["core"] * len(holdings), pa.string()),
        "product": pa.array([one[1] for one in holdings], pa.string()),
        "opened": pa.array([one[2] for one in holdings], pa.date32()),
        "closed": pa.array([one[3] for one in holdings], pa.date32()),
        "received": pa.array([one[4] for one in holdings], pa.timestamp("us")),
    }
    engine.register("holdings", pa.table(table))
    relation = engine.connection.sql(f"FROM ({holdings_sql(PRODUCTS, NOW, order=order)}) ORDER BY profile")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_a_profile_without_holdings_has_none() -> None:
    assert held([]) == [
        {
            "profile": 0,
            "holding.loan": False,
            "holding.card": False,
            "holding.fund": False,
            "holdings": 0,
            "leading_product": None,
        }
    ]


def test_open_and_closed_products() -> None:
    (row,) = held([opened(0, "loan", 1), opened(0, "card", 1, closed=5), opened(0, "fund", 10)])
    assert (row["holding.loan"], row["holding.card"], row["holding.fund"]) == (True, False, True)
    assert row["holdings"] == 2


def test_the_closing_day_itself_is_no_longer_held_and_the_opening_day_is() -> None:
    (row,) = held([opened(0, "loan", 1, closed=10), opened(0, "card", 1, closed=11), opened(0, "fund", 11)])
    assert (row["holding.loan"], row["holding.card"], row["holding.fund"]) == (False, True, False)


def test_the_day_is_that_of_the_time_zone() -> None:
    late = Clock(now=datetime(2026, 3, 10, 23, 30, tzinfo=UTC), zone=ZoneInfo("Europe/Stockholm"))
    assert "DATE '2026-03-11'" in holdings_sql(PRODUCTS, late)


def test_a_product_held_twice_counts_once() -> None:
    (row,) = held([opened(0, "loan", 1), opened(0, "loan", 2)])
    assert row["holdings"] == 1


def test_a_later_delivery_that_closes_a_product_replaces_the_open_one() -> None:
    (row,) = held([opened(0, "loan", 1, received=2), opened(0, "loan", 1, closed=6, received=7)])
    assert row["holding.loan"] is False


def test_a_later_delivery_that_reopens_a_product_replaces_the_closed_one() -> None:
    (row,) = held([opened(0, "loan", 1, closed=6, received=7), opened(0, "loan", 1, received=8)])
    assert row["holding.loan"] is True


def test_what_arrives_later_than_now_is_unknown() -> None:
    (row,) = held([opened(0, "loan", 1, received=11)])
    assert row["holding.loan"] is False


def test_the_rarest_product_leads() -> None:
    everybody = [opened(profile, "card", 1) for profile in range(4)]
    some = [opened(profile, "fund", 1) for profile in range(3)]
    rows = held([*everybody, *some, opened(0, "loan", 1)], profiles=5)
    assert [row["leading_product"] for row in rows] == ["loan", "fund", "fund", "card", None]


def test_equally_rare_products_lead_by_name() -> None:
    (row,) = held([opened(0, "loan", 1), opened(0, "fund", 1)])
    assert row["leading_product"] == "fund"


def test_a_configured_order_leads_before_rarity() -> None:
    rows = held(
        [opened(0, "loan", 1), opened(0, "card", 1), opened(1, "card", 1), opened(1, "fund", 1)],
        profiles=2,
        order=("card",),
    )
    assert [row["leading_product"] for row in rows] == ["card", "card"]
