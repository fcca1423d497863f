"""The bulk resolver, asked in texts: identifiers become tokens that sort alike, and become texts again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tilltal.customers.identity.bulk import OBSERVATIONS, ResolvedTables, resolve_table
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.resolution import REJECTED, UNCLAIMED
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.values import Identifier, Observation, accepted


class BulkAnswer:
    """What the bulk resolver says, written as cases write it."""

    def __init__(
        self, observations: Sequence[Observation], rules: Rules, corrections: Corrections[Identifier]
    ) -> None:
        self._seen = {one.id: (one.at, accepted(one.ids, rules)) for one in observations}
        self._rules = rules
        ids = {one for _, held in self._seen.values() for one in held}
        ids |= {one for pair in corrections.forbid | corrections.same_as for one in pair}
        self._names = sorted(ids, key=lambda one: (rules.number(one.namespace), one.value))
        self._token = {one: at for at, one in enumerate(self._names)}
        table = self._table()
        self._tables = resolve_table(table, rules, corrections.translated(self._token.__getitem__))

    def is_representable(self) -> bool:
        """False where one value begins another: `K|` and `K-1|` sort otherwise than tokens of one width."""
        return not any(
            first.namespace == second.namespace and second.value.startswith(first.value)
            for first, second in zip(self._names, self._names[1:], strict=False)
        )

    def stated(self) -> dict[str, Any]:
        """Return the parts of the outcome that cases state; dropped ids are none of the bulk's business."""
        return {
            "people": list(self._people().values()),
            "dropped_links": [
                {"link": [self._text(row["a"]), self._text(row["b"])], "reason": row["reason"]}
                for row in self._tables.dropped_links.to_pylist()
            ],
            "refused_observations": self._tables.refused.to_pylist(),
            "shared_values": [self._text(one) for one in self._shared()],
            "anonymous_owner": {
                name: owner for name, (at, held) in self._seen.items() if (owner := self._owner(at, held))
            },
        }

    def _table(self) -> pa.Table:
        rows = [
            {
                "observation": name,
                "at": at.astimezone(UTC).replace(tzinfo=None),
                "last_at": at.astimezone(UTC).replace(tzinfo=None),
                "ids": [{"namespace": one.namespace, "token": self._token[one]} for one in held],
            }
            for name, (at, held) in self._seen.items()
        ]
        return pa.Table.from_pylist(rows, OBSERVATIONS)

    def _text(self, token: int) -> str:
        return str(self._names[token])

    def _people(self) -> Mapping[int, list[str]]:
        people = defaultdict(list)
        for row in sorted(self._tables.people.to_pylist(), key=lambda row: int(row["identity"])):
            people[int(row["profile"])].append(self._text(row["identity"]))
        return people

    def _shared(self) -> list[int]:
        return [int(row["identity"]) for row in self._tables.shared_values.to_pylist()]

    def _owner(self, at: datetime, held: Sequence[Identifier]) -> str | None:
        usable = [self._token[one] for one in held if self._token[one] not in self._shared()]
        if any(
            self._rules.namespaces[self._rules.number(self._names[one].namespace)].is_person for one in usable
        ):
            return None
        if not held:
            return REJECTED
        profile = (
            profile_at(self._tables, usable[0], at.astimezone(UTC).replace(tzinfo=None)) if usable else None
        )
        known = {row["profile"] for row in self._tables.spine.to_pylist() if row["is_known"]}
        return self._people()[profile][0] if profile is not None and profile in known else UNCLAIMED


def profile_at(tables: ResolvedTables, identity: int, at: datetime) -> int:
    """Return the profile of an identity at an instant, as a join with the identity map finds it."""
    for row in tables.identity_map.to_pylist():
        is_open = row["valid_to"] is None or at < row["valid_to"]
        if row["identity"] == identity and row["valid_from"] <= at and is_open:
            return int(row["profile"])
    return identity
