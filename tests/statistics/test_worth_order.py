"""Each step is worth something: on the demo bank, with intervals, where the truth is known."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tilltal.demo.demo import prepare
from tilltal.demo.worth.run import OWN, Trial, measure
from tilltal.insight.report.worth import StepWorth, WorthView, conclusion
from tilltal.runtime.intake.ingest import ingest
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable

CUSTOMERS, MONTHS, SEED, SAMPLE = 5000, 24, 1, 600

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> WorthView:
    folder = tmp_path_factory.mktemp("worth") / "bank"
    prepare(folder, CUSTOMERS, MONTHS, SEED, Silent())
    workspace = usable(folder)
    ingest(workspace, None, Silent(), now=datetime.now(UTC))
    refresh(workspace, now=datetime.now(UTC), progress=Silent())
    return measure(Trial(str(folder), CUSTOMERS, MONTHS, SEED, SAMPLE))


def step(view: WorthView, name: str) -> StepWorth:
    return next(one for one in view.steps if one.name == name)


def test_real_time_earns_more_per_contact_than_every_earlier_step(view: WorthView) -> None:
    assert [one.name for one in view.earlier] == [
        "Mass mailing", "Rule segments", "Propensity targeting", "NBA in batch",
    ]  # fmt: skip
    for one in view.earlier:
        assert one.less_income.is_above, one.name


def test_real_time_draws_fewer_complaints_than_every_earlier_step(view: WorthView) -> None:
    for one in view.earlier:
        assert one.less_complaints.is_below, one.name
    assert "every step before it" in conclusion(view)


def test_nobody_beats_the_oracle(view: WorthView) -> None:
    oracle = step(view, "Oracle")
    assert oracle.less_income.is_below
    assert oracle.less_complaints.is_above
    for one in view.steps[:-1]:
        assert one.income_per_contact.high < oracle.income_per_contact.low
        assert one.income.high < oracle.income.low
        assert one.complaints.value > oracle.complaints.value


def test_a_mailing_to_all_earns_nothing_and_drives_customers_away(view: WorthView) -> None:
    mailing, own = step(view, "Mass mailing"), step(view, OWN)
    assert mailing.income_per_contact.high < own.income_per_contact.low
    assert mailing.complaints.low > own.complaints.high
    assert mailing.leavers.value > own.leavers.value
    assert mailing.response.high < step(view, "Rule segments").response.low
