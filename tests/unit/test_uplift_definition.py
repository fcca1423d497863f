"""The definition of an uplift model: what `tilltal check` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilltal.workspace.check import check_folder
from tilltal.workspace.init import init

GIVEN = """
outcome: {{holding: savings}}
horizon: 30 days
features: [logins_30d]
uplift:
  treated: {treated}
  control: {{events: [login]}}
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    init(tmp_path / "bank", "bank")
    return tmp_path / "bank"


def faults(bank: Path, treated: str) -> list[str]:
    (bank / "models" / "mail.yaml").write_text(GIVEN.format(treated=treated), encoding="utf-8")
    return [str(fault) for fault in check_folder(bank) if fault.place.file == "models/mail.yaml"]


def test_groups_of_known_events_are_fine(bank: Path) -> None:
    assert faults(bank, "{events: [login]}") == []


def test_an_action_may_ask_an_experiment_before_a_propensity_only(bank: Path) -> None:
    action = "title: Card\ngroup: card\npropensity: {propensity}\nuplift: {uplift}\n"
    action_file, told = "actions/card/action.yaml", list[str]()
    for propensity, uplift in (("0.1", "mail"), ("0.1", "mial"), ("{adaptive: {base_rate: 0.1}}", "mail")):
        file = bank / "actions" / "card" / "action.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(action.format(propensity=propensity, uplift=uplift), encoding="utf-8")
        (file.parent / "push.en.yaml").write_text("body: Hello\n", encoding="utf-8")
        assert faults(bank, "{events: [login]}") == []
        told.append(" ".join(str(one) for one in check_folder(bank) if one.place.file == action_file))
    assert told[0] == ""
    assert "There is no model 'mial'" in told[1]
    assert "mail" in told[1].split("Valid:")[1]
    assert "cannot both be P" in told[2]


def test_a_model_of_who_says_yes_is_no_uplift(bank: Path) -> None:
    (bank / "models" / "other.yaml").write_text(
        "outcome: {holding: savings}\nhorizon: 30 days\nfeatures: [logins_30d]\n", encoding="utf-8"
    )
    file = bank / "actions" / "card" / "action.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("title: Card\ngroup: card\nuplift: other\n", encoding="utf-8")
    found = [str(one) for one in check_folder(bank) if one.place.file == "actions/card/action.yaml"]
    assert any("W121 The model 'other' learns who says yes" in one for one in found)


def test_an_unknown_event_type_is_told_with_its_place(bank: Path) -> None:
    found = faults(bank, "{events: [logins]}")
    assert len(found) == 1
    assert found[0].startswith("models/mail.yaml:6:")
    assert "W130" in found[0]
    assert "login" in found[0].split("Valid:")[1]


def test_a_condition_is_checked_against_the_fields_of_its_events(bank: Path) -> None:
    found = faults(bank, "{events: [login], where: no_such_field = 'x'}")
    assert len(found) == 1
    assert "no_such_field" in found[0]


def test_a_group_without_events_is_refused(bank: Path) -> None:
    assert "W121 A group needs at least one event type" in faults(bank, "{events: []}")[0]
