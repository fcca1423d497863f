"""Labelled data serves no purpose it must not serve, whatever it is called on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilltal.workspace.check import check_folder
from tilltal.workspace.init import init
from tilltal.workspace.labels import LabelBook
from tilltal.workspace.load import load
from tilltal.workspace.names import profile_schema


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    init(tmp_path / "bank", "bank")
    return tmp_path / "bank"


def forbid(bank: Path, text: str) -> list[str]:
    (bank / "policies" / "data_use.yaml").write_text(f"forbid: {text}\n", encoding="utf-8")
    return [f"{fault.place.file} {fault.message}" for fault in check_folder(bank) if fault.code == "W167"]


def test_an_attribute_is_found_in_conditions_and_model_features(bank: Path) -> None:
    found = forbid(bank, "{demographic: [marketing]}")
    assert found == [
        (
            "actions/open_savings/action.yaml birth_year carries the label 'demographic', "
            "which must never serve 'marketing'."
        ),
        (
            "actions/open_savings/action.yaml score.savings carries the label 'demographic', "
            "which must never serve 'marketing'."
        ),
        "models/savings.yaml birth_year carries the label 'demographic', which must never serve 'marketing'.",
    ]


def test_a_label_is_not_lost_by_another_name(bank: Path) -> None:
    """amount → trait card_spend_90d → condition; and through the model that reads the trait."""
    found = forbid(bank, "{financial: [marketing]}")
    assert any("open_savings" in line and "card_spend_90d" in line for line in found)
    assert any("open_savings" in line and "score.savings" in line for line in found)
    assert any("travel_card" in line and "travel_spend" in line for line in found)


def test_another_purpose_may_use_it(bank: Path) -> None:
    assert forbid(bank, "{financial: [service], demographic: [service]}") == []


def test_labels_flow_through_audiences(bank: Path) -> None:
    source = bank / "sources" / "logins.yaml"
    source.write_text(source.read_text(encoding="utf-8") + "labels: [behaviour]\n", encoding="utf-8")
    workspace = load(bank)
    book = LabelBook(workspace, profile_schema(workspace))
    assert "behaviour" in book.of("logins_90d")
    assert "behaviour" in book.of("audience.active")
    assert "behaviour" in book.of("audience.savings_prospects")
    assert "behaviour" not in book.of("audience.savers")
    found = forbid(bank, "{behaviour: [marketing]}")
    assert any("open_savings" in line and "audience.active" in line for line in found)


def test_the_party_of_a_source_is_a_label(bank: Path) -> None:
    source = bank / "sources" / "customers.yaml"
    source.write_text(source.read_text(encoding="utf-8") + "party: third\n", encoding="utf-8")
    found = forbid(bank, "{third_party: [marketing]}")
    assert (
        "models/savings.yaml birth_year carries the label 'third_party', which must never serve 'marketing'."
        in found
    )
    assert not any("travel_spend" in line for line in found)


def test_products_held_carry_the_labels_of_their_source(bank: Path) -> None:
    source = bank / "sources" / "products.yaml"
    source.write_text(source.read_text(encoding="utf-8") + "labels: [contracts]\n", encoding="utf-8")
    found = forbid(bank, "{contracts: [marketing]}")
    assert any(
        "travel_card" in line and "holding.card carries the label 'contracts'" in line for line in found
    )
