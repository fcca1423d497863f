"""How much of a component must be read: people by themselves, and devices only where they are concerned.

A kiosk was seen with a hundred thousand customers. They are one component, yet no one of them says anything
of another: where devices bridge nobody, and no rule counts or bounds a person's devices, links between people
are all taken before the first link to a device, and a device joins no two people. So

- whose the identifiers of people are follows from observations of people reached through people alone;
- whose a device is follows from its own observations, those of devices seen with it, and whose the people in
  them are, which is known already.

A device is a wall, then: people beyond it are read only if it changes hands itself. The observations that are
read tell the same as the whole component would; property tests hold it against a refresh.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tilltal.core.operational import Observed, Owned
from tilltal.customers.identity.online.evidence import Terms
from tilltal.customers.identity.online.spans import is_shared

Spans = Mapping[int, tuple[Owned, ...]]


class Walls:
    """The rules of one workspace, where devices are walls."""

    def __init__(self, terms: Terms) -> None:
        self._is_person = {namespace.name: namespace.is_person for namespace in terms.rules.namespaces}
        self._corrected = terms.corrected
        self._forbidden = terms.forbidden
        self.people: Sequence[str] = [name for name, is_one in self._is_person.items() if is_one]
        self.devices: Sequence[str] = [name for name, is_one in self._is_person.items() if not is_one]

    def hold(self, devices: Iterable[int]) -> bool:
        """True unless a correction names one of these devices: then the whole component is needed."""
        return self._corrected.isdisjoint(devices)

    def foes(self, people: Collection[int]) -> set[int]:
        """Return what a correction keeps apart from some people; devices among it must be looked at."""
        pairs = [pair for pair in self._forbidden if not set(pair).isdisjoint(people)]
        return {token for pair in pairs for token in pair}.difference(people)

    def split(self, ids: Iterable[tuple[str, int]]) -> tuple[set[int], set[int]]:
        """Return the identifiers of people and those of devices."""
        people: set[int] = set()
        devices: set[int] = set()
        for namespace, token in ids:
            (people if self._is_person.get(namespace, True) else devices).add(token)
        return people, devices

    def without(self, observations: Iterable[Observed], devices: Collection[int]) -> list[Observed]:
        """Return observations without the devices that are not among some."""
        return [self._kept(one, devices) for one in observations]

    def _kept(self, one: Observed, devices: Collection[int]) -> Observed:
        ids = tuple(
            (namespace, token)
            for namespace, token in one.ids
            if token in devices or self._is_person.get(namespace, True)
        )
        return one if len(ids) == len(one.ids) else Observed(one.id, one.at, ids)


def left(before: Spans, after: Spans) -> frozenset[int]:
    """Return the profiles that identifiers of people were of and are no more."""
    return frozenset(
        span.profile
        for token, spans in after.items()
        for span in before.get(token, ())
        if span.profile is not None and span.profile != spans[0].profile
    )


def known_elsewhere(people: Iterable[int], known: Spans) -> dict[int, int]:
    """Return token → profile of people who are settled, without shared values, which are nobody's."""
    found: dict[int, int] = {}
    for token in people:
        spans = known.get(token, ())
        if spans and not is_shared(spans) and spans[0].profile is not None:
            found[token] = spans[0].profile
    return found
