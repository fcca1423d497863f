"""Key figures of the customer base: duration, churn rate, retention rate, and gross churn beside them.

`counts_of` says what is counted in a period, the functions after it what is made of the counts. The same for
all customers, periods and segments in SQL: `kpi_tables`. In words: docs/explanation/kpis.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import msgspec

from tilltal.customers.lifecycle.stage import Relation


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Customers at the end of the day before a period, those who joined and left in it, and at its end."""

    start: int
    new: int
    left: int
    end: int


class Ratio(msgspec.Struct, frozen=True):
    """A key figure with what it is made of; undefined where the denominator is 0."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """The figure; `None` where it is undefined."""
        return self.numerator / self.denominator if self.denominator else None


def counts_of(relations: Iterable[Relation], first_day: date, last_day: date) -> Counts:
    """Count the relations of all customers in a period; a customer's relations do not overlap.

    A return counts as new, and a closing as a leaver, each time. `closed` is the first day without.
    """
    start = new = left = end = 0
    for relation in relations:
        opened, closed = relation.opened, relation.closed
        start += opened < first_day and (closed is None or closed >= first_day)
        new += first_day <= opened <= last_day
        left += closed is not None and first_day <= closed <= last_day
        end += opened <= last_day and (closed is None or closed > last_day)
    return Counts(start=start, new=new, left=left, end=end)


def duration(counts: Counts) -> Ratio:
    """How many periods a customer stays: customers at the start / leavers."""
    return Ratio(counts.start, counts.left)


def churn_rate(counts: Counts) -> Ratio:
    """The net loss: (start - end) / start. New customers hide leavers, so it can be negative."""
    return Ratio(counts.start - counts.end, counts.start)


def retention_rate(counts: Counts) -> Ratio:
    """The share kept: (end - new) / start."""
    return Ratio(counts.end - counts.new, counts.start)


def gross_churn_rate(counts: Counts) -> Ratio:
    """The share lost, whoever joined: leavers / start."""
    return Ratio(counts.left, counts.start)


RATIOS: dict[str, Callable[[Counts], Ratio]] = {
    "duration": duration,
    "churn_rate": churn_rate,
    "retention_rate": retention_rate,
    "gross_churn_rate": gross_churn_rate,
}
