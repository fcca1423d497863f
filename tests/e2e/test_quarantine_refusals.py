"""The quarantine's commands, asked for what is not there; direct identifiers, kept out of messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.commands import Commands


@pytest.mark.parametrize(
    "command",
    [("list", "BANK", "--source", "login"), ("export", "BANK", "login", "x.csv"), ("retry", "BANK", "login")],
)
def test_a_source_that_does_not_exist_is_refused_by_name(
    command: tuple[str, ...], refreshed: Path, tilltal: Commands
) -> None:
    words = [refreshed if word == "BANK" else word for word in command]
    answer = tilltal("quarantine", *words)
    assert (answer.code, answer.err) == (3, "S310 There is no source 'login'. Valid: logins.\n")


def test_a_rejected_value_that_says_who_somebody_is_stays_out_of_the_message(
    bank: Path, tilltal: Commands
) -> None:
    source = bank / "sources/customers.yaml"
    source.write_text(
        source.read_text(encoding="utf-8").replace(
            "town: text", "town: text\n  address: {type: integer, column: town, labels: [identity]}"
        ),
        encoding="utf-8",
    )
    (bank / "data/customers.csv").write_text(
        "customer_id,email,birth_year,town,updated\n1001,a@bank.example,1959,Secretville,2023-07-28T09:00:00\n",
        encoding="utf-8",
    )
    answer = tilltal("ingest", bank, "customers")
    assert answer.code == 3
    assert "address is '(hidden)', which is no integer" in answer.err
    assert "Secretville" not in answer.err + answer.out
