"""A device that nobody declared shared, and that too many used: nobody's, in a refresh and online alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tilltal.core.instants import micros
from tilltal.core.operational import Observed
from tilltal.customers.identity.bulk import OBSERVATIONS, resolve_table
from tilltal.customers.identity.graph import resolve
from tilltal.customers.identity.online.resolver import OnlineIdentity, is_shared
from tilltal.customers.identity.rules import DEVICE_SHARED_AFTER, Rules, compile_rules
from tilltal.customers.identity.values import Identifier, Observation
from tilltal.workspace.definitions.identity import Identity, Namespace

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
Shared = Callable[[int, Rules], set[int]]
KIOSK, TABLET = 10_000, 10_001


def rules(shared_after: int | None = None) -> Rules:
    names = (
        Namespace(name="crm", unique=True),
        Namespace(name="email"),
        Namespace(name="device", kind="device", shared_after=shared_after),
    )
    return compile_rules(Identity(namespaces=names))


def logins(customers: int) -> list[tuple[datetime, tuple[tuple[str, int], ...]]]:
    """Customers 1, 2, ... on the kiosk, an hour apart; the first has a tablet of their own."""
    found: list[tuple[datetime, tuple[tuple[str, int], ...]]] = [
        (START + timedelta(hours=number), (("crm", number), ("device", KIOSK)))
        for number in range(1, customers + 1)
    ]
    return [*found, (START, (("crm", 1), ("device", TABLET)))]


def shared_in_a_refresh(customers: int, of: Rules) -> set[int]:
    rows = [
        {
            "observation": f"o{place}",
            "at": at.replace(tzinfo=None),
            "last_at": at.replace(tzinfo=None),
            "ids": [{"namespace": name, "token": token} for name, token in ids],
        }
        for place, (at, ids) in enumerate(logins(customers))
    ]
    tables = resolve_table(pa.Table.from_pylist(rows, OBSERVATIONS), of)
    return set(tables.shared_values["identity"].to_pylist())


def shared_by_definition(customers: int, of: Rules) -> set[int]:
    seen = [
        Observation(id=f"o{place}", at=at, ids=tuple(Identifier(name, str(token)) for name, token in ids))
        for place, (at, ids) in enumerate(logins(customers))
    ]
    return {int(one.partition(":")[2]) for one in resolve(seen, of).shared_values}


def shared_online(customers: int, of: Rules) -> set[int]:
    """One login after the other, as a server takes them, each with all that is reachable."""
    identity = OnlineIdentity(of)
    seen = [Observed(f"o{place}", micros(at), ids) for place, (at, ids) in enumerate(logins(customers))]
    owners = identity.settle(seen[:-2]).owners
    owners |= identity.settle(seen, owners, [one for one in owners if is_shared(owners[one])]).owners
    return {token for token, spans in owners.items() if is_shared(spans)}


@pytest.mark.parametrize("shared", [shared_in_a_refresh, shared_by_definition, shared_online])
def test_a_device_of_a_hundred_customers_is_nobodys(shared: Shared) -> None:
    assert shared(DEVICE_SHARED_AFTER - 1, rules()) == set()
    assert shared(DEVICE_SHARED_AFTER, rules()) == {KIOSK}


@pytest.mark.parametrize("shared", [shared_in_a_refresh, shared_by_definition, shared_online])
def test_what_is_stated_counts(shared: Shared) -> None:
    assert shared(3, rules(shared_after=3)) == {KIOSK}
    assert shared(DEVICE_SHARED_AFTER, rules(shared_after=1_000)) == set()


def test_only_devices_are_so_without_a_word() -> None:
    assert [one.shared_after for one in rules().namespaces] == [None, None, DEVICE_SHARED_AFTER]
