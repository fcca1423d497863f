"""The comparison of steps as a picture and a sentence, honest about what the intervals leave open."""

from __future__ import annotations

import msgspec

from tilltal.insight.report.charts.steps import steps
from tilltal.insight.report.worth import Measured, StepWorth, WorthView, conclusion, shown


def around(value: float, half: float = 1.0) -> Measured:
    return Measured(value, value - half, value + half)


def one(name: str, income: float, less_income: Measured, less_complaints: Measured) -> StepWorth:
    return StepWorth(
        name=name, meaning="<does something>", contacts=around(3), response=around(0.02, 0.01),
        income=around(5), income_per_contact=around(income), complaints=around(2), opt_outs=around(2),
        leavers=around(9), less_income=less_income, less_complaints=less_complaints,
    )  # fmt: skip


SURE, OPEN, FEWER = Measured(3, 1, 5), Measured(3, -1, 7), Measured(-1, -2, -0.5)
VIEW = WorthView(
    customers=600, months=3, own="Ours",
    steps=(
        one("Mailing <b>", 1, SURE, FEWER), one("Segments", 4, SURE, FEWER),
        one("Ours", 9, around(0), around(0)), one("Oracle", 500, FEWER, SURE),
    ),
)  # fmt: skip


def test_the_conclusion_says_what_is_shown_and_what_is_not() -> None:
    assert conclusion(VIEW) == (
        "Ours earns more per contact and draws fewer complaints than every step before it."
    )
    unsure = msgspec.structs.replace(VIEW.steps[1], less_income=OPEN)
    view = msgspec.structs.replace(VIEW, steps=(VIEW.steps[0], unsure, *VIEW.steps[2:]))
    assert conclusion(view) == (
        "Ours earns more per contact than Mailing <b> (not shown against Segments) "
        "and draws fewer complaints than every step before it."
    )


def test_only_steps_before_it_are_earlier() -> None:
    assert [step.name for step in VIEW.earlier] == ["Mailing <b>", "Segments"]


def test_figures_are_written_with_their_intervals() -> None:
    assert shown(VIEW.steps[0], "response", 2) == ("2.00", "1.00 to 3.00")
    assert shown(VIEW.steps[3], "income_per_contact", 1) == ("500.0", "499.0 to 501.0")


def test_the_picture_has_a_dot_per_step_and_writes_what_is_far_off() -> None:
    drawn = str(steps(VIEW, "SEK"))
    assert drawn.count("<circle") == 7  # two panels of four steps, less the income of the oracle
    assert "500 →" in drawn
    assert "Mailing &lt;b&gt;" in drawn
    assert "<b>" not in drawn
