"""The bulk resolver's tables: the identity map through time, stable profile ids, empty and wrong input."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from tilltal.core.errors import DataError
from tilltal.customers.identity.bulk import OBSERVATIONS, ResolvedTables, resolve_table
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.rules import Rules, compile_rules
from tilltal.workspace.definitions.identity import Identity, Namespace

CRM, EMAIL, DEVICE = "crm", "email", "device"
NAMESPACES = (
    Namespace(name=CRM, unique=True),
    Namespace(name=EMAIL),
    Namespace(name=DEVICE, kind="device"),
)
RULES = compile_rules(Identity(namespaces=NAMESPACES))
BRIDGING = compile_rules(Identity(namespaces=NAMESPACES, device_bridges_people=True))
START = datetime(2026, 3, 1)
BEGINNING = datetime(1, 1, 1)


def on(day: int) -> datetime:
    return START + timedelta(days=day)


def table(*rows: tuple[int, dict[str, int]]) -> pa.Table:
    """Rows of (day, namespace → token)."""
    return pa.Table.from_pylist(
        [
            {
                "observation": f"o{place}",
                "at": on(day),
                "last_at": on(day),
                "ids": [{"namespace": name, "token": token} for name, token in ids.items()],
            }
            for place, (day, ids) in enumerate(rows)
        ],
        OBSERVATIONS,
    )


def resolved(*rows: tuple[int, dict[str, int]], rules: Rules = RULES) -> ResolvedTables:
    return resolve_table(table(*rows), rules)


def mapped(tables: ResolvedTables) -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in tables.identity_map.to_pylist())


def test_an_identity_that_is_its_own_profile_is_not_listed() -> None:
    tables = resolved((1, {CRM: 100, EMAIL: 200, DEVICE: 300}))
    assert mapped(tables) == [(200, BEGINNING, None, 100), (300, BEGINNING, None, 100)]
    assert tables.spine.to_pylist() == [{"profile": 100, "is_known": True, "first_seen": on(1)}]


def test_a_shared_device_has_a_row_per_owner_and_time() -> None:
    tables = resolved(
        (1, {CRM: 100, DEVICE: 300}),
        (3, {CRM: 101, DEVICE: 300}),
        (4, {CRM: 101, DEVICE: 300}),
        (5, {CRM: 100, DEVICE: 300}),
    )
    assert mapped(tables) == [
        (300, BEGINNING, on(3), 100),
        (300, on(3), on(5), 101),
        (300, on(5), None, 100),
    ]
    (dropped,) = tables.dropped_links.to_pylist()
    assert dropped == {
        "a": 101, "b": 300, "reason": "unique_namespace:crm", "first_seen": on(3), "last_seen": on(4),
    }  # fmt: skip


def test_vouching_and_look_back_leave_gaps() -> None:
    rules = compile_rules(Identity(namespaces=NAMESPACES, anonymous_vouch="P2D", anonymous_lookback="P1D"))
    tables = resolved((1, {CRM: 100, DEVICE: 300}), (9, {CRM: 100, DEVICE: 300}), rules=rules)
    late = timedelta(microseconds=1)
    assert mapped(tables) == [(300, on(0), on(3) + late, 100), (300, on(8), on(11) + late, 100)]


def test_one_row_for_the_current_holder() -> None:
    rules = compile_rules(Identity(namespaces=NAMESPACES, anonymous_owner="current_holder"))
    tables = resolved((1, {CRM: 100, DEVICE: 300}), (3, {CRM: 101, DEVICE: 300}), rules=rules)
    assert mapped(tables) == [(300, BEGINNING, None, 101)]


def test_an_anonymous_device_is_a_profile_that_is_not_known() -> None:
    (profile,) = resolved((1, {DEVICE: 300})).spine.to_pylist()
    assert profile == {"profile": 300, "is_known": False, "first_seen": on(1)}


def test_a_profile_is_there_from_the_first_sighting_of_any_of_its_identifiers() -> None:
    tables = resolved((7, {CRM: 100, EMAIL: 200}), (3, {EMAIL: 200}), (5, {CRM: 101}))
    first = {row["profile"]: row["first_seen"] for row in tables.spine.to_pylist()}
    assert first == {100: on(3), 101: on(5)}


def test_a_profile_keeps_its_id_when_it_gains_a_smaller_identifier_later() -> None:
    before = resolved((1, {EMAIL: 205, DEVICE: 300}))
    after = resolved((1, {EMAIL: 205, DEVICE: 300}), (2, {EMAIL: 201, DEVICE: 300}), rules=BRIDGING)
    assert before.spine["profile"].to_pylist() == after.spine["profile"].to_pylist() == [205]


def test_a_higher_identifier_takes_over_as_profile_id() -> None:
    tables = resolved((1, {EMAIL: 205}), (2, {CRM: 900, EMAIL: 205}))
    assert tables.spine["profile"].to_pylist() == [900]


def test_a_shared_value_is_nobody() -> None:
    namespaces = (NAMESPACES[0], Namespace(name=EMAIL, shared_after=2), NAMESPACES[2])
    tables = resolved(
        (1, {CRM: 100, EMAIL: 200}),
        (1, {CRM: 101, EMAIL: 200}),
        rules=compile_rules(Identity(namespaces=namespaces)),
    )
    assert tables.shared_values.to_pylist() == [{"identity": 200, "namespace": EMAIL}]
    assert 200 not in tables.people["identity"].to_pylist()
    assert 200 not in tables.spine["profile"].to_pylist()


def test_observations_without_a_name_count_and_cannot_be_revoked() -> None:
    nameless = table((1, {CRM: 100, EMAIL: 200})).set_column(0, "observation", pa.array([None], pa.string()))
    tables = resolve_table(nameless, RULES, Corrections(revoked=frozenset({"o0"})))
    assert tables.people.num_rows == 2
    assert tables.spine.num_rows == 1


def test_a_table_in_several_chunks_reads_as_one() -> None:
    rows = [(1, {CRM: 100, EMAIL: 200}), (2, {CRM: 100, DEVICE: 300}), (3, {CRM: 101, DEVICE: 301})]
    whole = table(*rows)
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2)])
    assert resolve_table(chunked, RULES) == resolve_table(whole, RULES)


def test_nothing_observed_gives_empty_tables() -> None:
    tables = resolved()
    names = ("identity_map", "people", "dropped_links", "shared_values", "refused", "spine")
    assert [getattr(tables, name).num_rows for name in names] == [0] * 6
    assert tables.identity_map.column_names == ["identity", "valid_from", "valid_to", "profile"]


def test_an_undeclared_namespace_is_named() -> None:
    with pytest.raises(DataError, match=r"P350 .*'emial'.*Valid: email"):
        resolved((1, {"emial": 1}))
