"""Corrections: what a person decided about the graph, whichever came first, the decision or the observation.

`revoke` withdraws an observation as evidence, or an earlier correction by its id. `forbid` keeps two
identifiers apart, `same_as` makes two values one. Where both speak of the same two, forbid prevails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.values import Identifier, normalised, parse_identifier
from tilltal.workspace.definitions.identity import Correction as Declared


class _Ordered(Hashable, Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


Id = TypeVar("Id", bound=_Ordered)
Other = TypeVar("Other", bound=_Ordered)


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `id` is needed only where it may be revoked itself."""

    id: str = ""
    revoke: str | None = None
    forbid: tuple[Identifier, Identifier] | None = None
    same_as: tuple[Identifier, Identifier] | None = None


class Corrections(msgspec.Struct, Generic[Id], frozen=True, kw_only=True):
    """The decisions in force, over identifiers or their tokens."""

    revoked: frozenset[str] = frozenset()
    forbid: frozenset[tuple[Id, Id]] = frozenset()
    same_as: frozenset[tuple[Id, Id]] = frozenset()

    def translated(self, name: Callable[[Id], Other]) -> Corrections[Other]:
        """Return the same decisions over other names, such as tokens."""
        return Corrections(
            revoked=self.revoked,
            forbid=frozenset((name(a), name(b)) for a, b in self.forbid),
            same_as=frozenset((name(a), name(b)) for a, b in self.same_as),
        )


def declared(corrections: Iterable[Declared], rules: Rules) -> Corrections[Identifier]:
    """Return the decisions of a workspace's identity.yaml.

    Raises:
        DataError: P350 to P352 for identifiers that cannot be meant.
    """
    return in_force(
        (
            Correction(revoke=one.revoke, forbid=_pair(one.forbid), same_as=_pair(one.same_as))
            for one in corrections
        ),
        rules,
    )


def _pair(texts: tuple[str, str] | None) -> tuple[Identifier, Identifier] | None:
    return None if texts is None else (parse_identifier(texts[0]), parse_identifier(texts[1]))


def in_force(corrections: Iterable[Correction], rules: Rules) -> Corrections[Identifier]:
    """Return the decisions that no other decision withdraws.

    Raises:
        DataError: P350 for an unknown namespace; P352 for `same_as` across namespaces.
    """
    every = tuple(corrections)
    revoked = _revoked(every)
    standing = [one for one in every if not (one.id and one.id in revoked)]
    return Corrections(
        revoked=revoked,
        forbid=frozenset(_ordered(one.forbid, rules) for one in standing if one.forbid),
        same_as=frozenset(_one_namespace(one.same_as, rules) for one in standing if one.same_as),
    )


def _revoked(corrections: Collection[Correction]) -> frozenset[str]:
    """Follow revocations of revocations; those that revoke each other in a ring all stand."""
    pending = {(one.id, one.revoke) for one in corrections if one.revoke}
    revoked: set[str] = set()
    while pending:
        contested = {target for _, target in pending}
        ready = {one for one in pending if not one[0] or one[0] not in contested} or pending
        revoked |= {target for _, target in ready if target}
        pending = {one for one in pending - ready if one[0] not in revoked}
    return frozenset(revoked)


def _ordered(pair: tuple[Identifier, Identifier], rules: Rules) -> tuple[Identifier, Identifier]:
    first, second = sorted(normalised(one, rules) for one in pair)
    return first, second


def _one_namespace(pair: tuple[Identifier, Identifier], rules: Rules) -> tuple[Identifier, Identifier]:
    first, second = _ordered(pair, rules)
    if first.namespace != second.namespace:
        raise DataError.of(
            "P352",
            f"same_as joins two values of one namespace; {first} and {second} are of two.",
            hint="An observation that holds both links them.",
        )
    return first, second


def same_values(corrections: Corrections[Id]) -> dict[Id, Id]:
    """Return value → the smallest value it is the same as, for values with such a decision.

    A decision that would make two forbidden values one has no effect; decisions are taken in the order of
    their values, so that the outcome does not depend on their arrival.
    """
    members: dict[Id, list[Id]] = {}
    for a, b in sorted(corrections.same_as):
        left, right = members.setdefault(a, [a]), members.setdefault(b, [b])
        if left is not right and not _are_foes(left, right, corrections.forbid):
            left += right
            members.update(dict.fromkeys(right, left))
    return {one: min(group) for one, group in members.items()}


def _are_foes(left: list[Id], right: list[Id], forbid: frozenset[tuple[Id, Id]]) -> bool:
    return any((a, b) in forbid or (b, a) in forbid for a in left for b in right)
