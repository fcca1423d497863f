"""The figures of the report agree with another way of computing them from the same tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.report_bank import ACTIONS, CELLS, KNOWN, PEOPLE, STAGES, TODAY, report_bank, tables

from tilltal.insight.report.data import ReportData
from tilltal.insight.report.gather.lifecycle import last_month
from tilltal.runtime.answers.report import read_snapshot


@cache
def data() -> ReportData:
    with TemporaryDirectory() as folder:
        bank = report_bank(Path(folder))
        return read_snapshot(bank.workspace, bank.store.current_snapshot())


def rows(table: str) -> list[dict[str, Any]]:
    return list(tables()[table].to_pylist())


def firsts() -> Iterator[dict[str, Any]]:
    return (row for row in rows("decisions") if row["rank"] == 1)


def stage_on(day: date) -> dict[int, str]:
    found: dict[int, str] = {}
    for row in sorted(rows("transitions"), key=lambda row: row["date"]):
        if row["date"] <= day:
            found[row["profile"]] = row["to_stage"]
    return found


def test_the_figures_at_the_top() -> None:
    top = data().headline
    chosen = Counter(row["action"] for row in firsts())
    assert (top.known, top.with_action, top.actions) == (KNOWN, chosen.total(), len(chosen))
    assert top.customers == sum(row["closed"] is None for row in rows("relations"))
    assert top.expected == pytest.approx(math.fsum(row["P"] * row["V"] - row["cost"] for row in firsts()))
    (name, count), *_ = chosen.most_common(1)
    assert (top.most_common, top.most_common_share) == (ACTIONS[name][0], count / chosen.total())


def test_each_step_of_the_funnel_counts_those_who_passed_all_before() -> None:
    decided = {row["profile"] for row in firsts()}
    known = [row for row in rows("profiles") if row["is_known"]]
    staged = [row for row in known if row["lifecycle.stage"] is not None]
    valued = [row for row in staged if row["value.segment"] is not None]
    last = [row for row in valued if row["profile"] in decided]
    counts = [step.customers for step in data().funnel.steps]
    assert counts == [PEOPLE, len(known), len(staged), len(valued), len(last)]
    assert data().funnel.aside == len(decided) - len(last) > 0


def test_sizes_of_stages_month_by_month() -> None:
    view = data().lifecycle
    assert view is not None
    assert view.months[-1] == TODAY
    assert all((month + timedelta(days=1)).day == 1 for month in view.months[:-1])
    for place, month in enumerate(view.months):
        expected = Counter(stage_on(month).values())
        assert {stage.name: stage.history[place] for stage in view.stages} == {
            name: expected[name] for name in STAGES
        }


def test_flows_of_the_last_complete_month() -> None:
    view = data().lifecycle
    assert view is not None
    assert (view.start, view.end) == (date(2026, 4, 1), date(2026, 4, 30))
    before, after = stage_on(date(2026, 3, 31)), stage_on(date(2026, 4, 30))
    expected = Counter((before.get(profile, ""), stage) for profile, stage in after.items())
    assert {(flow.before, flow.after): flow.customers for flow in view.flows} == dict(expected)


@pytest.mark.parametrize(
    ("today", "start", "end"),
    [
        (date(2026, 5, 4), date(2026, 4, 1), date(2026, 4, 30)),
        (date(2026, 4, 30), date(2026, 4, 1), date(2026, 4, 30)),
        (date(2026, 1, 30), date(2025, 12, 1), date(2025, 12, 31)),
    ],
)
def test_a_month_is_complete_on_its_last_day(today: date, start: date, end: date) -> None:
    assert last_month(today) == (start, end)


def test_the_value_grid() -> None:
    view = data().value
    assert view is not None
    assert {(cell.income, cell.affinity): cell.name for cell in view.cells} == CELLS
    for cell in view.cells:
        members = [row for row in rows("profiles") if row["is_known"] and row["value.segment"] == cell.name]
        personas = Counter(row["persona.name"] for row in members)
        assert cell.customers == len(members)
        assert cell.average_income == pytest.approx(sum(row["net_income"] for row in members) / len(members))
        assert personas[cell.persona] == max(personas.values())
        assert cell.persona_share == max(personas.values()) / len(members)
    assert sum(cell.customers for cell in view.cells) + view.without == KNOWN
    assert sum(cell.share for cell in view.cells) == pytest.approx(1)


def test_personas_with_their_sample_and_what_is_particular() -> None:
    view = data().personas
    assert view is not None
    sizes = Counter(row["persona.name"] for row in rows("profiles") if row["persona.name"])
    assert [(each.name, each.customers) for each in view.personas] == sizes.most_common()
    assert {each.name: len(each.sample) for each in view.personas} == dict(sizes)
    for persona in view.personas:
        for each in persona.particulars:
            assert (each.deviations > 0) == (each.here > each.everywhere)
    means = {each.feature: each.everywhere for persona in view.personas for each in persona.particulars}
    ages = [row["age"] for row in rows("profiles")]
    assert means["age"] == pytest.approx(sum(ages) / len(ages))


def test_who_gets_what() -> None:
    view = data().actions
    assert view is not None
    for use in view.actions:
        mine = [row for row in firsts() if row["action"] == use.name]
        assert use.customers == len(mine)
        assert use.propensity == pytest.approx(sum(row["P"] for row in mine) / len(mine))
        assert use.expected == pytest.approx(sum(row["P"] * row["V"] - row["cost"] for row in mine))
    assert view.unused == ("Never wanted",)
    channels = Counter(row["channel"] for row in firsts())
    assert [(each.name, each.customers) for each in view.channels] == channels.most_common()


def test_shares_by_stage_sum_to_one_and_agree() -> None:
    view = data().actions
    assert view is not None
    crossing = view.by_stage
    assert crossing is not None
    assert crossing.columns[-1] == "no action"
    group_of = {row["profile"]: ACTIONS[row["action"]][1] for row in firsts()}
    for stage, size, shares in zip(crossing.rows, crossing.customers, crossing.shares, strict=True):
        members = [row["profile"] for row in rows("profiles") if row["lifecycle.stage"] == stage]
        groups = Counter(group_of.get(profile, "no action") for profile in members)
        assert size == len(members)
        assert shares == tuple(groups[column] / size for column in crossing.columns)
        assert sum(share or 0 for share in shares) == pytest.approx(1)


def test_what_became_of_every_action() -> None:
    view = data().why_not
    assert view is not None
    won = Counter(row["action"] for row in firsts())
    by_title = {each.title: dict(each.ends) for each in view.actions}
    assert by_title["Save in a fund"] == {
        "eligibility": 240, "applicability": 0, "suitability": 0, "contact_policy": 0, "worth": 0,
        "lost": 760 - won["fund"], "won": won["fund"],
    }  # fmt: skip
    assert by_title["Never wanted"]["worth"] == 1000
    assert all(sum(ends.values()) == KNOWN for ends in by_title.values())
    assert [(reason.words, reason.customers) for reason in view.reasons] == [
        ("Nothing to gain", 1000),
        ("Of age", 240),
        ("Consent for marketing by E-mail", 150),
        ("Contact limit: weekly", 50),
    ]


def test_key_figures_know_which_period_is_over() -> None:
    view = data().kpis
    assert view is not None
    assert (len(view.ends), view.is_open, view.complete) == (14, True, 12)
    by_name = {kpi.name: kpi for kpi in view.kpis}
    assert by_name["income"].values[0] is None
    assert by_name["customers_end"].values == tuple(700.0 + 20 * number for number in range(14))
    comparison = view.comparisons[0]
    assert [each.name for each in comparison.segments] == [*STAGES, "-"]
    assert dict(zip((name for name, _ in view.compared), comparison.segments[0].values, strict=True)) == {
        "customers_end": (700 + 20 * 12) / 2,
        "gross_churn_rate": pytest.approx((0.01 + 12 / 1e4) / 2),
        "income": (1e5 + 12 * 1234) / 2,
    }


def test_products_and_their_segments() -> None:
    view = data().penetration
    assert view is not None
    assert [(each.name, each.holders) for each in view.products] == [("current_account", 850), ("fund", 120)]
    assert view.products[1].history == (108 / 850, 120 / 850)
    (crossing,) = view.crossings
    assert (crossing.rows, crossing.columns) == (("Loyal",), ("current_account", "fund"))
    assert crossing.shares == ((850 / 900, 120 / 900),)


def test_micro_segments_largest_first_without_the_small_ones() -> None:
    view = data().micro_segments
    assert view is not None
    assert (view.count, len(view.shown), view.elsewhere) == (15, 12, 77)
    assert [each.customers for each in view.shown] == list(range(90, 78, -1))


def test_models_in_use_come_first() -> None:
    used, unused = data().models
    assert (used.name, used.is_accepted, unused.name, unused.is_accepted) == (
        "buys_fund",
        True,
        "buys_boat",
        False,
    )
    assert used.predicts == "opens fund"
    assert used.test is not None
    assert used.test.tenths[-1].gain == pytest.approx(1)


def test_no_sum_of_money_where_the_ranking_ignores_probability(tmp_path: Path) -> None:
    bank = report_bank(tmp_path)
    bank.write("policies/arbitration.yaml", "factors: {P: false}")
    found = read_snapshot(bank.workspace, bank.store.current_snapshot())
    assert found.headline.expected is None
    assert found.actions is not None
    assert not found.actions.knows_worth
