"""Product penetration: holders per product over time, and by segment today."""

from __future__ import annotations

from datetime import date

from tilltal.insight.kpi_tables import ALL
from tilltal.insight.report.data import Crossing, PenetrationView, Product
from tilltal.insight.report.gather.kpis import Order, in_order
from tilltal.insight.report.gather.tables import Tables

_PERIODS = 24


def penetration(tables: Tables, order: Order) -> PenetrationView | None:
    """Return products, most held first; None where the snapshot has none."""
    if not tables.has("penetration"):
        return None
    rows = tables.rows(
        f"SELECT product, period_end, value, holders, customers FROM penetration WHERE dimension = '{ALL}'"
    )
    if not rows:
        return None
    ends = tuple(sorted({row[1] for row in rows})[-_PERIODS:])
    values = {(product, end): value for product, end, value, _, _ in rows}
    today = {product: holders for product, end, _, holders, _ in rows if end == ends[-1]}
    customers = next(row[4] for row in rows if row[1] == ends[-1])
    products = [
        Product(
            name=product,
            holders=holders,
            share=holders / max(customers, 1),
            history=tuple(values.get((product, end)) for end in ends),
        )
        for product, holders in today.items()
    ]
    products.sort(key=lambda product: (-product.holders, product.name))
    return PenetrationView(
        ends=ends,
        customers=customers,
        products=tuple(products),
        crossings=_crossings(tables, tuple(product.name for product in products), order, ends[-1]),
    )


def _crossings(tables: Tables, products: tuple[str, ...], order: Order, end: date) -> tuple[Crossing, ...]:
    rows = tables.rows(
        "SELECT dimension, segment, product, value, customers FROM penetration"
        f" WHERE dimension <> '{ALL}' AND period_end = DATE '{end}'"
    )
    values = {(dimension, segment, product): value for dimension, segment, product, value, _ in rows}
    sizes = {(dimension, segment): customers for dimension, segment, _, _, customers in rows}
    dimensions = {dimension for dimension, _ in sizes}
    found = []
    for dimension in in_order(sorted(dimensions), tuple(order)):
        segments = in_order(
            sorted(segment for other, segment in sizes if other == dimension), order.get(dimension, ())
        )
        found.append(
            Crossing(
                dimension=dimension,
                rows=segments,
                customers=tuple(sizes[dimension, segment] for segment in segments),
                columns=products,
                shares=tuple(
                    tuple(values.get((dimension, segment, product), 0.0) for product in products)
                    for segment in segments
                ),
            )
        )
    return tuple(found)
