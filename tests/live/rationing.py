"""Many clients who ask for actions of which there are so many only, and a recount that shares no code.

`python -m tests.live.rationing PLACE KEY BEGUN SEED COUNT` is one server process of several on one store.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from tests.cases.serving import CaseServer
from tests.live.clients import Clients

from tilltal.runtime.live.contract import Response

START = datetime(2026, 5, 4, 21, 59, tzinfo=UTC)  # a minute before midnight in Stockholm
LIMITS = {"gift": 25, "call": 30}
CUSTOMERS = 400
_ROUND = 50  # times that clients ask while the clock stands still
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


class Crowd(Clients):
    """Clients who ask for what is limited, and commit what they get, give it back or let it lapse.

    A clock of its own stands still while a round of them asks: otherwise a place that was given back just
    now, and given to somebody who had asked before, would look as if both had it.
    """

    start = START

    def __init__(self, server: CaseServer, seed: int, begun: float | None = None) -> None:
        super().__init__(server, seed, begun)
        self._ahead = timedelta()
        self._late: list[str] = []  # contacts that are committed in the next round

    def run(self, count: int) -> None:
        """Let clients ask, in rounds if the clock is theirs."""
        if self._begun is not None:
            super().run(count)
            return
        for _ in range(0, count, _ROUND):
            super().run(_ROUND)
            self._server.now += self._ahead
            self._ahead = timedelta()

    def _go_on_by(self, time_span: timedelta) -> None:
        if self._begun is None:
            self._ahead += time_span
        else:
            super()._go_on_by(time_span)

    async def _ask(self, number: int) -> None:
        while self._late and not self._ahead:
            await self._step(self._late.pop(), "commit")
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
        step = self._random.choices(("commit", "fail", "seen", "late", "lapse"), (25, 15, 10, 5, 45))[0]
        if step == "seen" and decision:
            await self._show(contact, decision, action)
        elif step in ("commit", "fail"):
            await self._step(contact, step)
        elif step == "late":  # about when it lapses, or long after
            self._go_on_by(timedelta(seconds=self._random.choice((60, 89, 90, 91, 149, 151))))
            if self._begun is None:
                self._late.append(contact)
            else:
                await self._step(contact, "commit")

    async def _show(self, contact: str, decision: str, action: str) -> None:
        """Tell that it was seen: now, or as of the clock of the machine, which the face knows."""
        told = Response(id=f"s{contact}", decision_id=decision, action=action, kind="impression")
        if self._begun is None:
            await self._server.server.respond([told], self._server.now)
        else:
            await self._post("/v1/responses", msgspec.to_builtins(told))

    async def _step(self, contact: str, step: str) -> None:
        found = await self._post(f"/v1/contacts/{contact}/{step}", {})
        self.seen[found.get("state", "error")] += 1


def contacts_of(server: CaseServer) -> list[Mapping[str, Any]]:
    """Return all contacts that were allowed."""
    found = (server.server.force.token("crm", f"c{number}") for number in range(CUSTOMERS))
    tokens = [token for token in found if token is not None]
    rows = server.wait(server.store.contacts_under(tokens, -(2**62)))
    bodies = [msgspec.msgpack.decode(row.body)["contacted"] for held in rows.values() for row in held]
    return [body for body in bodies if body is not None]


def overshoots(
    contacts: Sequence[Mapping[str, Any]],
    limits: Mapping[str, int] = LIMITS,
    under_way: timedelta = timedelta(),
) -> Counter[str]:
    """Count contacts by action and period, and instants at which more were out than there are.

    Whoever was asked for, or committed, is held against all that were out at that instant: asked for by then,
    and neither released nor lapsed. Where requests are `under_way` for so long while the clock goes on, what
    was released by then may have been given to somebody who had asked before.
    """
    periods = defaultdict[tuple[str, int], list[Mapping[str, Any]]](list)
    for one in contacts:
        action = one["contact"]["action"]
        if action in limits:
            day = (one["at"] + 2 * 3_600_000_000) // 86_400_000_000  # Stockholm in May
            periods[action, day if action == "gift" else (day + 3) // 7].append(one)
    found: Counter[str] = Counter()
    for (action, _), held in periods.items():
        found[action] += len(held)
        instants = {one["at"] for one in held} | {one["committed"] for one in held if one["committed"]}
        for now in instants:
            out = sum(_is_out(one, now, under_way // timedelta(microseconds=1)) for one in held)
            found["overshoots"] += out > limits[action]
            found[f"most {action}"] = max(found[f"most {action}"], out)
    found["periods"] = len(periods)
    return found


def _is_out(one: Mapping[str, Any], now: int, under_way: int) -> bool:
    if one["at"] > now or (one["released"] is not None and one["released"] <= now + under_way):
        return False
    if one["committed"] is not None and one["committed"] <= now:
        return True
    return one["expires"] is None or now < one["expires"]


def main(place: str, key: str, begun: str, seed: str, count: str) -> None:
    """Ask a store that other processes ask too; print what was seen."""
    server = CaseServer(bank(), START, place, int(key))
    try:
        crowd = Crowd(server, int(seed), float(begun))
        crowd.run(int(count))
        print(msgspec.json.encode(crowd.seen).decode())
    finally:
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
