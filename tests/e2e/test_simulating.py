"""`tilltal plan` and `tilltal simulate` on the example bank: a plan promises what a refresh then does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
from tests.commands import Commands


def test_a_plan_promises_what_the_next_refresh_does(bank: Path, tilltal: Commands) -> None:
    same = tilltal("plan", bank, "--json")
    assert (same.code, same.err) == (0, "")
    assert same.json["is_same"] is True
    assert same.json["before"] == same.json["after"]
    audience = bank / "audiences/active.yaml"
    audience.write_text("condition: purchases_90d >= 12 OR logins_90d >= 12\n", encoding="utf-8")
    action = bank / "actions/travel_card/action.yaml"
    text = action.read_text(encoding="utf-8")
    action.write_text(text.replace("travel_spend > 0", "travel_spend > 1000"), encoding="utf-8")
    planned = tilltal("plan", bank, "--json").json
    assert planned["is_rebuilt"] is True
    active = next(each for each in planned["audiences"] if each["audience"] == "active")
    assert active["after"] < active["before"]
    shown = tilltal("plan", bank)
    assert shown.code == 0
    assert "active" in shown.out
    assert tilltal("refresh", bank).code == 0
    after = tilltal("plan", bank, "--json").json
    assert after["before"] == planned["after"]
    sizes = {each["audience"]: each["after"] for each in planned["audiences"]}
    assert {each["audience"]: each["before"] for each in after["audiences"]} == sizes


def test_scenarios_side_by_side(refreshed: Path, tmp_path: Path, tilltal: Commands) -> None:
    other = tmp_path / "other"
    shutil.copytree(refreshed, other, ignore=shutil.ignore_patterns(".tilltal"))
    (other / "policies/arbitration.yaml").write_text("slots: 1\n", encoding="utf-8")
    out = tmp_path / "out"
    options = ("--scenario", f"one={other}", "--experiments", "--by", "town", "--fair", "birth_year")
    answer = tilltal("simulate", refreshed, *options, "--out", out, "--json")
    assert (answer.code, answer.err) == (0, "")
    names = [each["name"] for each in answer.json["scenarios"]]
    assert names[:2] == ["now", "one"]
    assert len(names) == 7
    now, one = answer.json["scenarios"][:2]
    assert one["totals"]["contacts"] <= now["totals"]["contacts"]
    assert one["totals"]["reached"] == now["totals"]["reached"]
    customers = answer.json["customers"]
    assert pq.read_metadata(out / "customers.parquet").num_rows == customers * len(names)
    shown = tilltal("simulate", refreshed, *options)
    assert shown.code == 0
    for text in ("propensity_only", "Sensitivity", "Fairness", "First actions"):
        assert text in shown.out


def test_what_cannot_be_simulated_is_said(refreshed: Path, tilltal: Commands) -> None:
    answer = tilltal("simulate", refreshed, "--scenario", "odd=HEAD~900")
    assert answer.code == 1
    assert "C119" in answer.err
    answer = tilltal("simulate", refreshed, "--by", "twon", "--json")
    assert answer.json["faults"][0]["code"] == "C120"
    assert answer.json["faults"][0]["valid"][0] == "town"
