"""Adaptive models while they serve: kept in memory, taught by responses, stored with them.

A response counts in the transaction that stores it, and in the next decision. What a model saw is kept with
the decision, so a late or repeated answer revises exactly what the first one counted. An action that waits
(`Waiting`) is one of which its model was told nothing yet; so what it was told is always known exactly. How
long a silence waits is drawn once, from how long a yes takes (`models.adaptive.delays`), and stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tilltal.core.operational import Answered
from tilltal.decisions.live.decider import LiveDecider, Shown
from tilltal.models.adaptive.layout import microseconds
from tilltal.models.adaptive.model import AdaptiveModel
from tilltal.models.adaptive.outcomes import answer, delay_of_yes, outcome, seen
from tilltal.models.adaptive.serving import Answers, TeamTable
from tilltal.models.adaptive.team import Lessons, Team, TeamCase
from tilltal.runtime.live.answers.teams import state_name, team_of, teams_of

_REFRESH_US = 60_000_000  # how long evidence may keep the weight of an earlier minute
_AWAY_US = 86_400_000_000  # after what time it is looked whether a model that was taken away is back
_EVER = 2**63 - 1
_log = logging.getLogger("tilltal.server")


class Lesson(msgspec.Struct, frozen=True):
    """What a model makes of responses: states to be stored, and until when to wait for more (None: not).

    Where the case `stays`, it waits as long as was stored before.
    """

    states: dict[str, bytes] = {}
    ends: int | None = None
    stays: bool = False


def told(responses: Sequence[Answered], *, is_waiting: bool) -> bool | None:
    """Return what a model was last told of an action whose responses are known up to then."""
    return None if is_waiting else outcome(responses, _EVER, 0)


class Learning:
    """The adaptive models of one set of definitions: a team for each action and channel that asks for one.

    `damaged` names stored states that could not be read, until they are written anew. `promotions` and
    `alarms` count what came of answers beside learning, since the definitions are in force.
    """

    def __init__(self, decider: LiveDecider, stored: Mapping[str, bytes], at: int) -> None:
        """Take up the stored states; `at` is the instant, in microseconds."""
        self._decider = decider
        self.damaged: set[str] = set()
        self._teams = teams_of(decider, stored, at, self.damaged)
        self._stored = dict(stored)
        self._waits = {
            pair: microseconds(team.models[0].layout.adaptive.wait) for pair, team in self._teams.items()
        }
        self._places = {pair: place for place, pair in enumerate(decider.adaptive)}
        self._table = TeamTable(list(self._teams.values()), decider.slots, at) if self._teams else None
        self._positives: dict[str, float] = {}
        self.promotions = 0
        self.alarms = 0

    def ask(self, values: Sequence[object], decision: bytes, at: int) -> Answers | None:
        """Return what each team says of a profile's values by slot; None where nothing learns.

        Args:
            values: by slot, None for NULL.
            decision: the id of the decision, which says who of a team serves it.
            at: the instant, in microseconds.
        """
        if self._table is None:
            return None
        if at - self._table.at > _REFRESH_US:
            self._table.refresh(at)
            self._positives.clear()
        return self._table.ask(values, decision)

    def positives(self, action: str) -> float:
        """Return how many yes are known of an action, by all channels, as they weigh of late."""
        found = self._positives.get(action)
        if found is None:
            teams = [team for pair, team in self._teams.items() if pair[0] == action]
            at = 0 if self._table is None else self._table.at
            found = self._positives[action] = sum(_champion(team).answers(at)[0] for team in teams)
        return found

    def cases(self, shown: Iterable[Shown], answers: Answers | None, at: int) -> dict[str, TeamCase]:
        """Return what the teams of shown pairs see of a profile now, by `action/channel`."""
        if self._table is None or answers is None:
            return {}
        learned = {f"{one.action}/{one.channel}": one.pair for one in shown if one.pair >= 0}
        return self._table.cases(learned, answers, at)

    def catch_up(self, stored: Mapping[str, bytes]) -> None:
        """Take up what others taught the stored models meanwhile: another process, or earlier definitions."""
        if self._table is None:
            return
        names = {pair: state_name(pair) for pair in self._teams}
        others = [pair for pair, name in names.items() if stored.get(name) != self._stored.get(name)]
        at = self._table.at
        self.damaged -= {names[pair] for pair in others}
        self._teams.update((pair, team_of(self._decider, pair, stored, at, self.damaged)) for pair in others)
        self._stored = dict(stored)
        self._positives.clear()
        if others:
            self._table = TeamTable(list(self._teams.values()), self._decider.slots, at)

    def wait(self, action: str, channel: str) -> int | None:
        """Return how long an impression may wait for its answer (microseconds); None where nothing learns."""
        return self._waits.get((action, channel))

    def learn(
        self,
        case: TeamCase,
        before: bool | None,
        responses: Sequence[Answered],
        now: int,
        *,
        is_waiting: bool = False,
        is_over: bool = False,
    ) -> Lesson:
        """Let a team take in what is known now of a shown action.

        Args:
            case: what the team saw.
            before: what it was told of this case.
            responses: all of them to this action of the decision, at least one.
            now: the instant, in microseconds.
            is_waiting: it waits already, as was stored.
            is_over: it has waited long enough.
        """
        pair = (responses[-1].action, responses[-1].channel)
        team = self._teams.get(pair)
        if team is None:  # its definition may come back
            return Lesson(ends=now + _AWAY_US) if before is None else Lesson()
        known, begin = answer(responses), seen(responses)
        if known is None and begin is not None and before is None and not is_over:
            ends = begin + self._waits[pair]
            if is_waiting and ends > now:
                return Lesson(stays=True)
            ends = min(ends, now + team.patience(case, responses[0].decision, now))
            if ends > now:
                return Lesson(ends=ends)
        if known is None and begin is not None:
            known = False
        if known is before:
            return Lesson()
        if known:
            team.answered(*delay_of_yes(responses))
        self._positives.pop(pair[0], None)
        self._tell(team.name, team.revise(case, before, known, now))
        if self._table is not None:
            self._table.update(self._places[pair])
        state = self._stored[team.name] = team.to_bytes(now)
        self.damaged.discard(team.name)
        return Lesson({team.name: state})

    def _tell(self, name: str, lessons: Lessons) -> None:
        """Let people know of a promotion, and of a model whose answers are no longer what they were."""
        if lessons.change is not None:
            self.promotions += 1
            figures = msgspec.json.encode(lessons.change).decode()
            _log.info("adaptive model %s: %s", name, figures)
        if lessons.is_alarm:
            self.alarms += 1
            _log.warning("adaptive model %s: answers differ from what it says; see tilltal models", name)


def _champion(team: Team) -> AdaptiveModel:
    return team.models[0 if team.contest is None else team.contest.champion]
