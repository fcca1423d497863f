"""Normal forms, pseudonyms, and the vault."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import stat
from datetime import date
from pathlib import Path

import pytest

from tilltal.core.errors import DataError, EngineError
from tilltal.governance import national_id
from tilltal.governance.keys import keys_of
from tilltal.governance.normalise import Normaliser
from tilltal.governance.pseudonyms import Pseudonymiser
from tilltal.governance.vault import Direct, Personal, Vault
from tilltal.workspace.definitions.identity import Identity, Namespace

TODAY = date(2026, 5, 4)
NORMALISER = Normaliser(
    Identity(
        namespaces=(
            Namespace(name="crm"),
            Namespace(name="email", normalise="email"),
            Namespace(name="phone", normalise="phone", region="SE"),
            Namespace(name="abroad", normalise="phone"),
            Namespace(name="se", normalise="national_id", region="SE"),
            Namespace(name="no", normalise="national_id", region="NO"),
            Namespace(name="fi", normalise="national_id", region="fi"),
        )
    ),
    TODAY,
)


@pytest.mark.parametrize(
    ("namespace", "text", "expected"),
    [
        ("crm", " K-1 ", "K-1"),
        ("crm", "k-1", "k-1"),
        ("crm", "Null", None),
        ("crm", "0-0-0", None),
        ("crm", "0001", "0001"),
        ("email", "\tA.B@Mail.Example\n", "a.b@mail.example"),
        ("email", "ANONYMOUS", None),
        ("phone", "070-174 06 05", "+46701740605"),
        ("phone", "0046 70 174 06 05", "+46701740605"),
        ("phone", "+46 (0)70 174 06 05", "+46701740605"),
        ("phone", "+47 21 49 88 88", "+4721498888"),
        ("phone", "ext. 12", "12"),
        ("phone", "no phone", None),
        ("phone", "000-000", None),
        ("abroad", "+1 650 253 0000", "+16502530000"),
        ("abroad", "650 253", "650253"),
        ("se", "811218-9876", "198112189876"),
        ("se", "19811218-9876", "198112189876"),
        ("se", "8112189876", "198112189876"),
        ("se", "811218+9876", "188112189876"),
        ("se", "811218-9875", "8112189875"),
        ("se", "201212121212", "201212121212"),
        ("se", "811288-9871", "198112889871"),
        ("no", "130972 48022", "13097248022"),
        ("no", "13097248023", "13097248023"),
        ("fi", "131052-308t", "131052-308T"),
        ("fi", "131052-308U", "131052308"),
    ],
)
def test_identifiers_have_one_form(namespace: str, text: str, expected: str | None) -> None:
    assert NORMALISER.one(namespace, text) == expected


def test_most_single_slips_in_a_number_are_noticed() -> None:
    right = "198112189876"
    slips = {
        right[:place] + digit + right[place + 1 :]
        for place in range(2, 12)
        for digit in "0123456789"
        if digit != right[place]
    }
    assert all(national_id.canonical(slip, "SE", TODAY) is None for slip in slips)


def test_ten_digits_mean_the_latest_century_that_is_past() -> None:
    assert national_id.canonical("121212-1212", "SE", TODAY) == "201212121212"
    assert national_id.canonical("121212-1212", "SE", date(2012, 12, 11)) == "191212121212"


@pytest.mark.parametrize("length", [1, 32, 64, 65, 200])
def test_tokens_are_the_first_63_bits_of_the_keyed_hash(length: int) -> None:
    key = bytes(range(length))
    digest = hmac.new(key, b"crm\x1fK-1", hashlib.sha256).digest()
    expected = int("".join(f"{byte:08b}" for byte in digest)[:63], 2)
    assert Pseudonymiser(key).token("crm", "K-1") == expected


def test_tokens_tell_namespaces_values_and_keys_apart() -> None:
    one, other = Pseudonymiser(b"a" * 32), Pseudonymiser(b"b" * 32)
    tokens = {one.token("a", "bc"), one.token("ab", "c"), one.token("a", "b"), other.token("a", "bc")}
    assert len(tokens) == 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def test_what_goes_in_comes_out_also_after_closing(folder: Path) -> None:
    with Vault(folder, {}) as vault:
        token = vault.pseudonymiser.token("email", "a@mail.example")
        vault.keep_direct([Direct(token=token, namespace="email", value="a@mail.example")])
    with Vault(folder, {}) as vault:
        found = vault.reveal(token)
        assert found is not None
        assert (found.namespace, found.value) == ("email", "a@mail.example")
        assert vault.reveal(token + 1) is None
    assert b"a@mail.example" not in (folder / "vault.sqlite").read_bytes()


def test_of_a_personal_field_the_latest_stays_whatever_the_order(folder: Path) -> None:
    def told(at: str, value: str) -> Personal:
        return Personal(token=7, source="crm", field="name", at=at, value=value)

    with Vault(folder, {}) as vault:
        vault.keep_personal([told("2026-02-01", "New"), told("2026-01-01", "Old")])
        vault.keep_personal([told("2026-01-15", "Between")])
        assert [one.value for one in vault.personal(7)] == ["New"]


def test_the_key_is_made_once_and_for_its_owner_only(folder: Path) -> None:
    first = keys_of(folder, {})
    assert keys_of(folder, {}) == first
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert first.pseudonyms.hex() not in repr(first)


def test_a_key_in_the_environment_comes_before_the_file(folder: Path) -> None:
    given = keys_of(folder, {"TILLTAL_VAULT_KEY": "ab" * 32})
    assert not folder.exists()
    assert given != keys_of(folder, {})


@pytest.mark.parametrize("key", ["", "short", "zz" * 32, "ab" * 31])
def test_a_malformed_key_is_refused_without_being_shown(folder: Path, key: str) -> None:
    folder.mkdir()
    (folder / "key").write_text(key)
    with pytest.raises(DataError, match="S341") as caught:
        Vault(folder, {})
    assert not key or key not in str(caught.value)


def test_another_key_is_refused_before_anything_is_written(folder: Path) -> None:
    Vault(folder, {}).close()
    with pytest.raises(DataError, match="S342"):
        Vault(folder, {"TILLTAL_VAULT_KEY": os.urandom(32).hex()})


def test_a_sealed_value_does_not_open_in_another_place(folder: Path) -> None:
    with Vault(folder, {}) as vault:
        vault.keep_direct(
            [Direct(token=1, namespace="email", value="a"), Direct(token=2, namespace="email", value="b")]
        )
    with sqlite3.connect(folder / "vault.sqlite") as database:
        database.execute(
            "UPDATE direct SET sealed = (SELECT sealed FROM direct WHERE token = 1) WHERE token = 2"
        )
    database.close()
    with Vault(folder, {}) as vault, pytest.raises(DataError, match="S342"):
        vault.reveal(2)


def test_a_failing_batch_leaves_nothing(folder: Path) -> None:
    def broken() -> list[Direct]:
        raise RuntimeError("source of rows failed")

    with Vault(folder, {}) as vault:
        with pytest.raises(RuntimeError):
            vault.keep_direct(
                row
                for part in ([Direct(token=1, namespace="email", value="a")], broken)
                for row in (part() if callable(part) else part)
            )
        assert vault.reveal(1) is None


def test_a_damaged_file_is_named(folder: Path) -> None:
    Vault(folder, {}).close()
    (folder / "vault.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(EngineError, match="E503"):
        Vault(folder, {})
