"""What each step from mass mailing to next best actions is worth: values for page and terminal."""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec


class Measured(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_above(self) -> bool:
        """True if all of the interval lies above 0."""
        return self.low > 0

    @property
    def is_below(self) -> bool:
        """True if all of the interval lies below 0."""
        return self.high < 0


class StepWorth(msgspec.Struct, frozen=True, kw_only=True):
    """A way to choose contacts, and what came of it.

    Attributes:
        name: of the way.
        meaning: what it does, in a few words.
        contacts: per customer.
        response: share of contacts answered yes.
        income: per customer, what contacts brought beyond saying nothing, less their cost.
        income_per_contact: the same per contact.
        complaints: per 1,000 contacts.
        opt_outs: per 1,000 contacts.
        leavers: per 1,000 customers, who began to leave.
        less_income: income per contact of NBA in real time less this one's.
        less_complaints: complaints per 1,000 contacts of NBA in real time less this one's.
    """

    name: str
    meaning: str
    contacts: Measured
    response: Measured
    income: Measured
    income_per_contact: Measured
    complaints: Measured
    opt_outs: Measured
    leavers: Measured
    less_income: Measured
    less_complaints: Measured


class WorthView(msgspec.Struct, frozen=True, kw_only=True):
    """All steps, in their order; the last one knows the truth."""

    customers: int
    months: int
    steps: tuple[StepWorth, ...]
    own: str

    @property
    def mine(self) -> StepWorth:
        """The step that all others are compared with."""
        return next(step for step in self.steps if step.name == self.own)

    @property
    def earlier(self) -> tuple[StepWorth, ...]:
        """The steps before it."""
        return self.steps[: self.steps.index(self.mine)]


class StudyView(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and the day of the snapshot that it was found on.

    `is_earlier`: the page is about another day, or about definitions that changed since.
    """

    worth: WorthView
    as_of: date
    is_earlier: bool


COLUMNS: Final = (
    ("contacts", "Contacts per customer", 2), ("response", "Yes, % of contacts", 2),
    ("income", "Income per customer", 1), ("income_per_contact", "Income per contact", 1),
    ("complaints", "Complaints per 1,000 contacts", 2), ("opt_outs", "Opt-outs per 1,000 contacts", 2),
    ("leavers", "Beginning to leave, per 1,000 customers", 1),
)  # fmt: skip
"""Field, heading, decimals."""


def shown(step: StepWorth, field: str, decimals: int) -> tuple[str, str]:
    """Return a figure and its interval as text; shares in per cent."""
    figure: Measured = getattr(step, field)
    scale = 100.0 if field == "response" else 1.0
    value, low, high = (f"{scale * each:,.{decimals}f}" for each in (figure.value, figure.low, figure.high))
    return value, f"{low} to {high}"


def conclusion(view: WorthView) -> str:
    """Say what the comparison shows, and what it leaves open."""
    richer = [step.name for step in view.earlier if step.less_income.is_above]
    calmer = [step.name for step in view.earlier if step.less_complaints.is_below]
    names = [step.name for step in view.earlier]
    if richer == names and calmer == names:
        return f"{view.own} earns more per contact and draws fewer complaints than every step before it."
    parts = []
    for kind, better in (("earns more per contact", richer), ("draws fewer complaints", calmer)):
        rest = [name for name in names if name not in better]
        than = "every step before it" if not rest else ", ".join(better) or "no step before it"
        unsure = f" (not shown against {', '.join(rest)})" if rest else ""
        parts.append(f"{kind} than {than}{unsure}")
    return f"{view.own} {' and '.join(parts)}."
