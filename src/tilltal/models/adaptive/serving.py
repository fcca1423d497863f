"""All teams asked at once, each by the contestant that serves the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.exploration import uniforms
from tilltal.models.adaptive.table import AdaptiveTable, Floats, Known
from tilltal.models.adaptive.team import Team, TeamCase, place_keys


class Answers(msgspec.Struct, frozen=True):
    """By team: the probability of a yes, the answers behind it, and which contestant said so.

    `columns` are those of the contestants among all models, of which `known` tells.
    """

    rates: Floats
    served: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    known: Known

    @property
    def evidence(self) -> Floats:
        """How many answers stand behind each probability: to be asked before a team learns more."""
        return self.known.evidence.take(self.columns)


class TeamTable:
    """Teams in their order, with the models of all contestants in one table.

    `slots` says where each predictor lies among a profile's values.
    """

    __slots__ = (
        "_alike",
        "_cells",
        "_contested",
        "_first",
        "_is_single",
        "_keys",
        "_reach",
        "_slots",
        "_table",
        "_teams",
        "_unchallenged",
    )

    def __init__(self, teams: Sequence[Team], slots: Mapping[str, int], at: int) -> None:
        self._teams = tuple(teams)
        self._slots = tuple(
            tuple(slots[name] for name in team.models[0].layout.adaptive.features) for team in teams
        )
        self._table = AdaptiveTable([model for team in teams for model in team.models], slots, at)
        self._cells = tuple(self._table.cells_of(team.models[0].layout) for team in teams)
        self._alike = tuple(map({each: n for n, each in enumerate(self._cells)}.__getitem__, self._cells))
        sizes = [len(team.models) for team in teams]
        self._first = np.cumsum([0, *sizes[:-1]]).astype(np.intp)
        self._is_single = sum(sizes) == len(teams)
        self._unchallenged = np.zeros(len(teams), dtype=np.intp)
        self._unchallenged.setflags(write=False)
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
        if self._is_single:
            return Answers(known.rates, self._unchallenged, self._first, known)
        served = self._unchallenged
        if self._contested.size:
            served = self._unchallenged.copy()
            places = uniforms(decision, self._keys)
            served[self._contested] = (places[:, None] >= self._reach).sum(axis=1)
        columns = self._first + served
        return Answers(known.rates.take(columns), served, columns, known)

    def case(self, number: int, values: Sequence[object], served: int, at: int) -> TeamCase:
        """Return the case of a team for a profile's values by slot, to be kept with the decision."""
        return self._teams[number].case([values[slot] for slot in self._slots[number]], served, at)

    def cases(self, numbers: Mapping[str, int], answers: Answers, at: int) -> dict[str, TeamCase]:
        """Return the cases of some teams for whom the answers are; the same predictors are found once.

        Args:
            numbers: those of the teams, by any name.
            answers: what was answered for the profile in this decision.
            at: the instant, in microseconds.

        Returns:
            The cases by the same names.
        """
        rows = answers.known.rows
        seen: dict[int, tuple[int, ...]] = {}
        found = {}
        for name, number in numbers.items():
            alike = self._alike[number]
            cells = seen.get(alike)
            if cells is None:
                cells = seen[alike] = tuple([rows[place] + shift for place, shift in self._cells[number]])
            found[name] = self._teams[number].case_of(cells, answers.served.item(number), at)
        return found

    def _reaches(self) -> Floats:
        """Return up to which place each contestant but the last serves, (contested teams, rest)."""
        contests = [team.contest for team in self._teams if team.contest]
        shares = [np.cumsum(contest.shares(self._table.at))[:-1] for contest in contests]
        return np.array(shares).reshape(len(contests), -1) if shares else np.zeros((0, 0))
