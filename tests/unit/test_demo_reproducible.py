"""A demo bank's vault: its key follows from the seed, a real one's from chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilltal.demo.demo import open_key, prepare
from tilltal.governance.vault import Vault
from tilltal.workspace.init import init


def token(root: Path, environment: dict[str, str] | None = None) -> int:
    with Vault(root / ".tilltal/vault", environment or {}) as vault:
        return vault.pseudonymiser.token("customer", "10001")


@pytest.fixture
def banks(tmp_path: Path) -> tuple[Path, Path, Path]:
    roots = tmp_path / "one", tmp_path / "again", tmp_path / "other"
    for root, seed in zip(roots, (3, 3, 4), strict=True):
        prepare(root, customers=100, months=1, seed=seed)
    return roots


def test_a_seed_makes_the_same_pseudonyms_and_another_seed_others(banks: tuple[Path, Path, Path]) -> None:
    one, again, other = map(token, banks)
    assert one == again
    assert one != other
    assert len(bytes.fromhex(open_key(3))) == 32


def test_a_key_that_is_given_goes_before_the_seed_s(banks: tuple[Path, Path, Path]) -> None:
    given = {"TILLTAL_VAULT_KEY": "ab" * 32}
    assert token(banks[1]) != token(banks[0].with_name("elsewhere"), given)


def test_a_bank_made_earlier_keeps_its_key(tmp_path: Path) -> None:
    root = tmp_path / "bank"
    prepare(root, customers=100, months=1, seed=3)
    (root / ".tilltal/vault/key").write_text("cd" * 32)
    prepare(root, customers=100, months=1, seed=3)
    assert (root / ".tilltal/vault/key").read_text() == "cd" * 32


def test_a_workspace_that_is_no_demo_has_a_key_of_chance(tmp_path: Path) -> None:
    tokens = set()
    for name in ("one", "two"):
        init(tmp_path / name, "bank")
        tokens.add(token(tmp_path / name))
    assert len(tokens) == 2
