"""Many clients who ask for actions of which there are so many only, and a recount that shares no code.

`python -m tests.live.rationing PLACE KEY BEGUN SEED COUNT` is one server process of several on one store.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from tests.cases.serving import CaseServer
from tests.live.clients import Clients

from tilltal.core.instants import micros
from tilltal.runtime.live.contract import Response

START = datetime(2026, 5, 4, 21, 59, tzinfo=UTC)  # a minute before midnight in Stockholm
LIMITS = {"gift": 25, "call": 30}
CUSTOMERS = 400
_NEVER = 1e18  # seconds
_ACTIONS = {"gift": (9, "day", "banner"), "call": (5, "week", "call"), "fund": (1, "", "banner")}


def bank(limits: Mapping[str, int] = LIMITS, **contact: object) -> dict[str, object]:
    """A bank that gives so many gifts a day and makes so many calls a week; reservations soon lapse."""
    files: dict[str, object] = {
        "tilltal.yaml": {
            "name": "bank",
            "time_zone": "Europe/Stockholm",
            "channels": ["banner", "call"],
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
        "policies/contact.yaml": {"reservation_ttl": "PT90S", **contact},
    }
    for name, (value, per, channel) in _ACTIONS.items():
        files[f"actions/{name}/action.yaml"] = {
            "title": name.title(),
            "group": name,
            "purpose": "service",
            "propensity": 0.5,
            "value": value,
            **({"capacity": {"limit": limits[name], "per": per}} if per else {}),
        }
        files[f"actions/{name}/{channel}.en.yaml"] = {"body": "Hello"}
    return files


class Place(msgspec.Struct):
    """What a client knows of a contact that it got, by the machine's clock.

    `got`: it was told so; `given_back`: it began to say that it will not be; `stepped`: it was told what
    became of that it was made.
    """

    got: float
    given_back: float = _NEVER
    stepped: float = _NEVER


class Told(msgspec.Struct):
    """What a process of clients tells at its end."""

    seen: dict[str, int]
    places: dict[str, Place]


class Crowd(Clients):
    """Clients who ask for what is limited, and commit what they get, give it back or let it lapse."""

    start = START

    def __init__(self, server: CaseServer, seed: int, begun: float | None = None) -> None:
        super().__init__(server, seed, begun)
        self.places: dict[str, Place] = {}
        self._jumps: list[tuple[int, float]] = []  # of a clock of its own: what it showed from when on

    def reached(self, at: int) -> float:
        """Return when a clock of its own reached an instant, by the machine's clock."""
        place = bisect_left(self._jumps, (at, 0.0))
        return self._jumps[place][1] if place < len(self._jumps) else _NEVER

    def _go_on_by(self, time_span: timedelta) -> None:
        super()._go_on_by(time_span)
        self._jumps.append((micros(self._server.now), time.monotonic()))

    async def _ask(self, number: int) -> None:
        self._go_on_by(timedelta(milliseconds=self._random.choice((1, 100, 800))))
        customer = {"crm": f"c{self._random.randrange(CUSTOMERS)}"}
        self.seen["asked"] += 1
        if self._random.random() < 0.2:
            name = f"r{self._seed}.{self.seen['asked']}"
            body = {"id": name, "identity": customer, "channel": "call", "action": "call"}
            found = await self._post("/v1/contacts", body)
            if found.get("allowed"):
                await self._go_on(name, "", "call")
            return
        found = await self._post("/v1/decide", {"identity": customer})
        self.seen["fallback"] += bool(found.get("is_fallback"))
        for one in found.get("actions", ()):
            if one["action"] in LIMITS:
                await self._go_on(one["contact"], found["decision_id"], one["action"])

    async def _go_on(self, contact: str, decision: str, action: str) -> None:
        self.seen["given"] += 1
        self.places[contact] = Place(time.monotonic())
        step = self._random.choices(("commit", "fail", "seen", "late", "lapse"), (25, 15, 10, 5, 45))[0]
        if step == "seen" and decision:
            await self._show(contact, decision, action)
        elif step in ("commit", "fail"):
            await self._step(contact, step)
        elif step == "late":  # about when it lapses, or long after
            self._go_on_by(timedelta(seconds=self._random.choice((60, 89, 90, 91, 149, 151))))
            await self._step(contact, "commit")

    async def _show(self, contact: str, decision: str, action: str) -> None:
        """Tell that it was seen: now, or as of the clock of the machine, which the face knows."""
        told = Response(id=f"s{contact}", decision_id=decision, action=action, kind="impression")
        if self._begun is None:
            await self._server.server.respond([told], self._server.now)
        else:
            await self._post("/v1/responses", msgspec.to_builtins(told))
        self.places[contact].stepped = time.monotonic()

    async def _step(self, contact: str, step: str) -> None:
        place = self.places[contact]
        if step == "fail":
            place.given_back = time.monotonic()
        found = await self._post(f"/v1/contacts/{contact}/{step}", {})
        place.stepped = time.monotonic()
        self.seen[found.get("state", "error")] += 1


def contacts_of(server: CaseServer) -> list[Mapping[str, Any]]:
    """Return all contacts that were allowed."""
    found = (server.server.force.token("crm", f"c{number}") for number in range(CUSTOMERS))
    tokens = [token for token in found if token is not None]
    rows = server.wait(server.store.contacts_under(tokens, -(2**62)))
    bodies = [msgspec.msgpack.decode(row.body)["contacted"] for held in rows.values() for row in held]
    return [body for body in bodies if body is not None]


def recount(
    contacts: Sequence[Mapping[str, Any]],
    places: Mapping[str, Place],
    reached: Callable[[int], float],
    limits: Mapping[str, int] = LIMITS,
) -> Counter[str]:
    """Count contacts by action and period, and instants at which more were out than there are.

    All by the machine's clock, which all processes share: a contact is out from when its client was told so
    until it lapsed or was about to be given back, and from when its client was told that it is made on. In
    truth it was out sooner and longer, so what is counted was out, whatever was under way.

    Args:
        contacts: as stored.
        places: what their clients know of each.
        reached: tells when the first server's clock reached an instant.
        limits: how many there are.
    """
    periods = defaultdict[tuple[str, int], list[tuple[float, int]]](list)
    found: Counter[str] = Counter()
    for one in contacts:
        action = one["contact"]["action"]
        if action in limits:
            day = (one["at"] + 2 * 3_600_000_000) // 86_400_000_000  # Stockholm in May
            changes = periods[action, day if action == "gift" else (day + 3) // 7]
            changes += _changes(one, places[one["id"]], reached)
            found[action] += 1
    for (action, _), changes in periods.items():
        out = 0
        for _, change in sorted(changes):  # at the same instant what ends comes first
            out += change
            found["overshoots"] += change > 0 and out > limits[action]
            found[f"most {action}"] = max(found[f"most {action}"], out)
    found["periods"] = len(periods)
    return found


def _changes(
    one: Mapping[str, Any], place: Place, reached: Callable[[int], float]
) -> list[tuple[float, int]]:
    lapsed = _NEVER if one["expires"] is None else reached(one["expires"])
    end = min(lapsed, place.given_back)
    made = place.stepped if one["committed"] is not None and one["released"] is None else _NEVER
    if made <= end:
        return [(place.got, 1)]
    return [(place.got, 1), (max(place.got, end), -1)] + ([(made, 1)] if made < _NEVER else [])


def main(place: str, key: str, begun: str, seed: str, count: str) -> None:
    """Ask a store that other processes ask too; print what was seen."""
    server = CaseServer(bank(), START, place, int(key))
    try:
        crowd = Crowd(server, int(seed), float(begun))
        crowd.run(int(count))
        print(msgspec.json.encode(Told(crowd.seen, crowd.places)).decode())
    finally:
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
