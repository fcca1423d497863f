"""The exact resolver's own answers beyond what cases state, and how its rules are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tilltal.core.errors import DataError, WorkspaceError
from tilltal.customers.identity.corrections import Correction, declared, in_force
from tilltal.customers.identity.graph import resolve
from tilltal.customers.identity.resolution import Claim, Login
from tilltal.customers.identity.rules import compile_rules
from tilltal.customers.identity.values import Identifier, Observation, parse_identifier
from tilltal.workspace.definitions.identity import Correction as Declared
from tilltal.workspace.definitions.identity import Identity, Limit, Namespace

NAMESPACES = (
    Namespace(name="crm", unique=True),
    Namespace(name="email", normalise="email"),
    Namespace(name="device", kind="device"),
)
RULES = compile_rules(Identity(namespaces=NAMESPACES))
START = datetime(2026, 3, 1, tzinfo=UTC)


def seen(name: str, day: int, *ids: str, last: int | None = None) -> Observation:
    return Observation(
        id=name,
        at=START + timedelta(days=day),
        last_at=None if last is None else START + timedelta(days=last),
        ids=tuple(parse_identifier(one) for one in ids),
    )


def test_claims_tell_whose_a_device_was_when() -> None:
    got = resolve([seen("o1", 1, "crm:A", "device:d"), seen("o2", 3, "crm:B", "device:d")], RULES)
    border = START + timedelta(days=3)
    assert got.claims == (
        Claim(device="device:d", owner="crm:A", valid_from=None, valid_to=border),
        Claim(device="device:d", owner="crm:B", valid_from=border, valid_to=None),
    )


def test_logins_name_the_person_and_the_device() -> None:
    got = resolve([seen("o1", 1, "email:x", "crm:A", "device:d")], RULES)
    assert got.logins == (
        Login(observation="o1", at=START + timedelta(days=1), device="device:d", person="crm:A"),
    )


def test_an_observation_that_stands_for_several_is_seen_first_and_last() -> None:
    observations = [
        seen("o1", 1, "crm:A", "device:d", last=5),
        seen("o2", 3, "crm:B", "device:d"),
        seen("o3", 4, "device:d"),
        seen("o4", 6, "device:d"),
    ]
    got = resolve(observations, RULES)
    assert got.people == (("crm:A", "device:d"), ("crm:B",))
    assert got.owners == {"o3": "crm:B", "o4": "crm:A"}


def test_a_claim_beyond_the_calendar_is_without_bound() -> None:
    rules = compile_rules(
        Identity(namespaces=NAMESPACES, anonymous_vouch="P4000000D", anonymous_lookback="P4000000D")
    )
    (claim,) = resolve([seen("o1", 1, "crm:A", "device:d")], rules).claims
    assert (claim.valid_from, claim.valid_to) == (None, None)


def test_nothing_observed_is_nobody() -> None:
    assert resolve([], RULES).people == ()


def test_an_undeclared_namespace_is_named_with_what_is_near() -> None:
    with pytest.raises(DataError, match=r"P350 no namespace is called 'emial'.*Valid: email"):
        resolve([seen("o1", 1, "emial:x")], RULES)


@pytest.mark.parametrize("text", ["crm", ":A", "crm:", ""])
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="P351"):
        parse_identifier(text)


def test_a_value_may_hold_colons() -> None:
    assert parse_identifier("device:a:b") == Identifier("device", "a:b")


def test_same_as_across_namespaces_is_refused() -> None:
    with pytest.raises(DataError, match=r"P352 .*crm:A and email:x"):
        declared([Declared(same_as=("crm:A", "email:x"))], RULES)


def test_declared_corrections_are_normalised() -> None:
    corrections = declared([Declared(forbid=("email: X ", "crm:A")), Declared(revoke="web:17")], RULES)
    assert corrections.forbid == {(Identifier("crm", "A"), Identifier("email", "x"))}
    assert corrections.revoked == {"web:17"}


def test_revocations_that_revoke_each_other_both_stand() -> None:
    ring = [
        Correction(id="r1", revoke="r2"),
        Correction(id="r2", revoke="r1"),
        Correction(id="r3", revoke="o1"),
    ]
    assert in_force(ring, RULES).revoked == {"r1", "r2", "o1"}


def test_a_withdrawn_revocation_has_no_effect() -> None:
    chain = [Correction(id="r1", revoke="o1"), Correction(id="r2", revoke="r1")]
    assert in_force(chain, RULES).revoked == {"r1"}


@pytest.mark.parametrize(
    "identity",
    [
        Identity(namespaces=NAMESPACES, blocked_values=("[",)),
        Identity(namespaces=NAMESPACES, anonymous_vouch="1 month"),
        Identity(namespaces=(Namespace(name="email", limit=Limit(count=1, within="soon")),)),
    ],
)
def test_rules_that_cannot_be_read_say_why(identity: Identity) -> None:
    with pytest.raises(WorkspaceError, match="P353 identity: "):
        compile_rules(identity)
