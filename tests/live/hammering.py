"""Many clients who ask for contacts of a few customers at once, and a recount that shares no code with it.

`python -m tests.live.hammering PLACE KEY BEGUN SEED COUNT` is one server process of several on one store.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from tests.cases.serving import CaseServer
from tests.live.clients import Clients

from tilltal.core.operational import Contacted, OperationalStore

START = datetime(2026, 5, 4, 10, tzinfo=UTC)
CUSTOMERS = tuple(f"c{number}" for number in range(6))
_TTL = timedelta(seconds=90)
_CAPS: Sequence[Mapping[str, Any]] = (
    {"name": "minutes", "limit": 4, "rolling": "PT5M"},
    {"name": "mails", "limit": 2, "rolling": "PT3M", "applies_to": {"channel": "email"}},
    {"name": "same", "limit": 1, "rolling": "PT2M", "each": ["action"]},
    {"name": "group", "limit": 6, "rolling": "PT9M", "each": ["group"]},
)
_ACTIONS = {"card": (9, ("email", "sms")), "loan": (5, ("email", "sms")), "fund": (2, ("sms",))}


def bank() -> dict[str, object]:
    """A bank with tight caps and reservations that soon lapse."""
    files: dict[str, object] = {
        "tilltal.yaml": {
            "name": "bank",
            "channels": ["email", "sms"],
            "server": {"budget_ms": 60_000},
        },
        "identity.yaml": {"namespaces": [{"name": "crm", "unique": True}]},
        "sources/people.yaml": {
            "kind": "record",
            "read": {"collector": ["identify"]},
            "identities": {"crm": "userId"},
            "fields": {"town": {"type": "text", "column": "traits.town"}},
        },
        "policies/consent.yaml": {"purposes": {"service": {"consent": "not_required"}}},
        "policies/contact.yaml": {"caps": list(_CAPS), "reservation_ttl": "PT90S"},
        "policies/arbitration.yaml": {"slots": 2},
    }
    for name, (value, channels) in _ACTIONS.items():
        files[f"actions/{name}/action.yaml"] = {
            "title": name,
            "group": "offers",
            "purpose": "service",
            "propensity": 0.5,
            "value": value,
        }
        for channel in channels:
            files[f"actions/{name}/{channel}.en.yaml"] = {"body": "Hello"}
    return files


class Hammer(Clients):
    """Clients who decide, or send on their own account, and go on with what they may."""

    start = START

    async def _ask(self, number: int) -> None:
        self._go_on_by(timedelta(milliseconds=self._random.choice((0, 1, 100, 800))))
        customer = {"crm": self._random.choice(CUSTOMERS)}
        if self._random.random() < 0.3:
            channel, action = self._random.choice(("email", "sms")), self._random.choice(tuple(_ACTIONS))
            name = f"r{self._seed}.{number}"
            found = await self._post(
                "/v1/contacts", {"id": name, "identity": customer, "channel": channel, "action": action}
            )
            given = [name] if found.get("allowed") else []
        else:
            found = await self._post("/v1/decide", {"identity": customer})
            self.seen["fallback"] += bool(found.get("is_fallback"))
            given = [one["contact"] for one in found.get("actions", ()) if one["contact"]]
        self.seen["asked"] += 1
        self.seen["allowed"] += len(given)
        for contact in given:
            await self._go_on(contact)

    async def _go_on(self, contact: str) -> None:
        step = self._random.choices(("commit", "fail", "late", "lapse"), (50, 20, 2, 20))[0]
        if step == "late":  # about when it lapses
            self._go_on_by(_TTL - timedelta(milliseconds=self._random.choice((-1, 0, 1, 300))))
        if step != "lapse":
            verb = "fail" if step == "fail" else "commit"
            found = await self._post(f"/v1/contacts/{contact}/{verb}", {})
            self.seen[found.get("state", "error")] += 1


async def rows_of(store: OperationalStore, tokens: Iterable[int]) -> dict[int, list[Contacted]]:
    """Return all contacts that were allowed, by token."""
    return await store.contacts_under(list(tokens), -(2**62))


def overshoots(rows: Mapping[int, Sequence[Contacted]]) -> tuple[int, int]:
    """Count contacts that were allowed, and those at whose instant more counted than a cap allows."""
    contacts = over = 0
    for held in rows.values():
        read = [msgspec.msgpack.decode(one.body)["contacted"] for one in held]
        read.sort(key=lambda one: one["at"])
        contacts += len(read)
        over += sum(_is_over(read, place, cap) for place in range(len(read)) for cap in _CAPS)
    return contacts, over


def _is_over(read: Sequence[Mapping[str, Any]], place: int, cap: Mapping[str, Any]) -> bool:
    """True if a cap is broken at the instant of a contact, counted by hand: all that were active then."""
    own = read[place]
    now, counts = own["at"], defaultdict[object, int](int)
    first = now - _length(cap)
    for other in _near(read, place, first):
        contact = other["contact"]
        channel = cap.get("applies_to", {}).get("channel")
        is_gone = other["released"] is not None and other["released"] <= now
        is_lapsed = other["committed"] is None and other["expires"] <= now
        if not is_gone and not is_lapsed and channel in (None, contact["channel"]):
            counts[tuple(contact[part] for part in cap.get("each", ()))] += 1
    return any(count > cap["limit"] for count in counts.values())


def _near(read: Sequence[Mapping[str, Any]], place: int, first: int) -> Iterable[Mapping[str, Any]]:
    """Return the contacts of after an instant, up to that of the one at a place."""
    now = read[place]["at"]
    at = place
    while at + 1 < len(read) and read[at + 1]["at"] == now:
        at += 1
    while at >= 0 and read[at]["at"] > first:
        yield read[at]
        at -= 1


def _length(cap: Mapping[str, Any]) -> int:
    return int(cap["rolling"].removeprefix("PT").removesuffix("M")) * 60_000_000


def meet(server: CaseServer) -> None:
    """Let all customers be known."""
    for name in CUSTOMERS:
        server.collect({"type": "identify", "userId": name, "traits": {}})


def tokens_of(server: CaseServer) -> list[int]:
    """Return the customers' tokens."""
    found = (server.server.force.token("crm", name) for name in CUSTOMERS)
    return [token for token in found if token is not None]


def main(place: str, key: str, begun: str, seed: str, count: str) -> None:
    """Hammer a store that other processes hammer too; print what was seen."""
    server = CaseServer(bank(), START, place, int(key))
    try:
        hammer = Hammer(server, int(seed), float(begun))
        began = time.perf_counter()
        hammer.run(int(count))
        hammer.seen["seconds"] = round(time.perf_counter() - began)
        print(msgspec.json.encode(hammer.seen).decode())
    finally:
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
