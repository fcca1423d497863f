"""All teams asked at once, each by the contestant that serves the decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.exploration import uniforms
from tilltal.models.adaptive.table import AdaptiveTable, Floats
from tilltal.models.adaptive.team import Team, TeamCase, place_keys


class Answers(msgspec.Struct, frozen=True):
    """By team: the probability of a yes, the answers behind it, and which contestant said so."""

    rates: Floats
    evidence: Floats
    served: npt.NDArray[np.intp]


class TeamTable:
    """Teams in their order, with the models of all contestants in one table.

    `slots` says where each predictor lies among a profile's values.
    """

    __slots__ = ("_alike", "_contested", "_first", "_keys", "_reach", "_slots", "_table", "_teams")

    def __init__(self, teams: Sequence[Team], slots: Mapping[str, int], at: int) -> None:
        self._teams = tuple(teams)
        self._slots = tuple(
            tuple(slots[name] for name in team.models[0].layout.adaptive.features) for team in teams
        )
        looks = [(slots, team.models[0].layout.bins) for slots, team in zip(self._slots, teams, strict=True)]
        self._alike = tuple(map({look: number for number, look in enumerate(looks)}.__getitem__, looks))
        self._table = AdaptiveTable([model for team in teams for model in team.models], slots, at)
        sizes = [len(team.models) for team in teams]
        self._first = np.cumsum([0, *sizes[:-1]]).astype(np.intp)
        for number in range(len(teams)):
            self._take(number)
        self._contested = np.array([n for n, team in enumerate(teams) if team.contest], dtype=np.intp)
        self._keys = place_keys([teams[number].name for number in self._contested])
        self._reach = self._reaches()

    @property
    def at(self) -> int:
        """The instant as of which answers weigh, in microseconds."""
        return self._table.at

    def refresh(self, at: int) -> None:
        """Let every answer weigh, and every share be, as at an instant (microseconds): after a while."""
        self._table.refresh(at)
        self._reach = self._reaches()

    def update(self, number: int) -> None:
        """Take over what a team has learned."""
        self._take(number)
        self._reach = self._reaches()

    def _take(self, number: int) -> None:
        """Take over a team's models, with the line of each."""
        first = int(self._first[number])
        for place, line in enumerate(self._teams[number].lines(), start=first):
            self._table.level(place, line)
            self._table.update(place)

    def ask(self, values: Sequence[object], decision: bytes) -> Answers:
        """Return what every team answers for a profile's values by slot, in a decision of that id."""
        known = self._table.known(values)
        served = np.zeros(len(self._teams), dtype=np.intp)
        if self._contested.size:
            places = uniforms(decision, self._keys)
            served[self._contested] = (places[:, None] >= self._reach).sum(axis=1)
        columns = self._first + served
        return Answers(known.rates.take(columns), known.evidence.take(columns), served)

    def case(self, number: int, values: Sequence[object], served: int, at: int) -> TeamCase:
        """Return the case of a team for a profile's values by slot, to be kept with the decision."""
        return self._teams[number].case([values[slot] for slot in self._slots[number]], served, at)

    def cases(
        self, numbers: Iterable[int], values: Sequence[object], answers: Answers, at: int
    ) -> list[TeamCase]:
        """Return the cases of some teams; those of the same predictors look at the values once."""
        seen: dict[int, tuple[int, ...]] = {}
        found = []
        for number in numbers:
            team, alike = self._teams[number], self._alike[number]
            cells = seen.get(alike)
            if cells is None:
                layout = team.models[0].layout
                cells = seen[alike] = layout.cells([values[slot] for slot in self._slots[number]])
            found.append(team.case_of(cells, int(answers.served.item(number)), at))
        return found

    def _reaches(self) -> Floats:
        """Return up to which place each contestant but the last serves, (contested teams, rest)."""
        contests = [team.contest for team in self._teams if team.contest]
        shares = [np.cumsum(contest.shares(self._table.at))[:-1] for contest in contests]
        return np.array(shares).reshape(len(contests), -1) if shares else np.zeros((0, 0))
