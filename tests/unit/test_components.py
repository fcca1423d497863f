"""How much of a component is read: a kiosk that thousands used tells nothing of any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.operational import Observed, OperationalStore, Owned, Writes
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.online.resolver import OnlineIdentity, is_shared
from tilltal.customers.identity.rules import NamespaceRule, Rules, compile_rules
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.intake.components import Component
from tilltal.workspace.definitions.identity import Identity, Namespace

__all__ = ["postgres"]
PEOPLE, KIOSK, NEW = 300, 10_000, 20_000
SEEN = [Observed(f"a:{n}", n * 10, (("crm", n), ("device", KIOSK))) for n in range(1, PEOPLE + 1)]
SEEN += [Observed(f"b:{n}", n * 10 + 1, (("crm", n), ("device", KIOSK + n))) for n in range(1, PEOPLE + 1)]
LATER = 1_000_000


def namespace(name: str, *, is_person: bool, shared_after: int | None = None) -> NamespaceRule:
    return NamespaceRule(
        name=name, is_person=is_person, is_unique=name == "crm", is_lower_case=False,
        shared_after=shared_after, limit=None,
    )  # fmt: skip


def rules(shared_after: int | None = None, max_ids: int | None = None) -> Rules:
    people = [namespace("crm", is_person=True), namespace("email", is_person=True)]
    device = namespace("device", is_person=False, shared_after=shared_after)
    return Rules(namespaces=(*people, device), max_ids=max_ids)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "live.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_dsn()


def owned(spans: Sequence[Owned]) -> list[tuple[int | None, int | None, int | None]]:
    """Return whose it is when; what is plain is told with more caution where more is known to be near."""
    return [(one.valid_from, one.valid_to, one.profile) for one in spans]


async def read(store: OperationalStore, identity: OnlineIdentity, *ids: tuple[str, int]) -> int:
    """Settle one more message as the server does; compare with all, and return how much was read."""
    message = Observed(f"c:{ids}", LATER, tuple(ids))
    async with store.transaction() as tx:
        await tx.write(Writes(observations=[message]))
        owners = await tx.owners({token for _, token in ids})
        component = Component(tx, identity, owners, dict(owners), [message])
        settled = await component.settle(ids)
        await tx.write(Writes(owners=settled.owners))
        known = await tx.owners({token for one in (*SEEN, message) for _, token in one.ids} | {NEW})
        whole = identity.settle(await tx.component([KIOSK]), known)
        assert {token: owned(known[token]) for token in whole.owners} == {
            token: owned(spans) for token, spans in whole.owners.items()
        }
    return component.size


def sizes(
    place: str, of: Rules, messages: Sequence[Sequence[tuple[str, int]]], **given: Corrections[int]
) -> list[int]:
    async def story() -> list[int]:
        store = await open_store(place)
        identity = OnlineIdentity(of, given.get("corrections"))
        owners: dict[int, tuple[Owned, ...]] = identity.settle(SEEN, {}).owners
        assert is_shared(owners[KIOSK]) == (of.namespaces[2].shared_after is not None)
        await store.write(Writes(observations=SEEN, owners=owners))
        found = [await read(store, identity, *ids) for ids in messages]
        await store.close()
        return found

    return asyncio.run(story())


MESSAGES = (
    (("crm", 5), ("email", NEW)),
    (("email", NEW), ("device", KIOSK + 5)),
    (("crm", 7), ("device", KIOSK + 8)),
    (("crm", 9), ("device", KIOSK)),
)


def test_a_message_of_somebody_who_used_a_kiosk_reads_nothing_of_the_others(place: str) -> None:
    *others, kiosk = sizes(place, rules(), MESSAGES)
    assert max(others) < 10
    assert kiosk > PEOPLE  # whose it was when takes all its logins


def test_a_shared_kiosk_is_never_read_whole_whatever_the_rules(place: str) -> None:
    assert max(sizes(place, rules(shared_after=20), MESSAGES)) < 10


def test_a_kiosk_that_nobody_declared_is_not_read_whole_either(tmp_path: Path) -> None:
    names = (
        Namespace(name="crm", unique=True),
        Namespace(name="email"),
        Namespace(name="device", kind="device"),
    )
    assert max(sizes(str(tmp_path / "a.db"), compile_rules(Identity(namespaces=names)), MESSAGES)) < 10


def test_rules_that_count_devices_need_the_whole(tmp_path: Path) -> None:
    assert min(sizes(str(tmp_path / "a.db"), rules(max_ids=3), MESSAGES[:1])) > PEOPLE
    corrections = Corrections(forbid=frozenset({(5, KIOSK)}))
    assert sizes(str(tmp_path / "b.db"), rules(), MESSAGES[:1], corrections=corrections)[0] >= 3
