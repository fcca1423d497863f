"""All that learns for one action in one channel: the champion, its challenger, their contest and a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from tilltal.models.adaptive.bins import AnyBins
from tilltal.models.adaptive.contest import Change, Contest, Judged
from tilltal.models.adaptive.delays import Delays, new_delays, patience
from tilltal.models.adaptive.exploration import Keys, key_of, uniforms
from tilltal.models.adaptive.layout import Layout, layout_of, microseconds
from tilltal.models.adaptive.ledger import Ledger, Noted, noted
from tilltal.models.adaptive.levelling import AS_IT_IS, levelled
from tilltal.models.adaptive.methods import method_of, model_from, new_model
from tilltal.models.adaptive.model import AdaptiveModel, Case, revise
from tilltal.models.adaptive.settling import Settling
from tilltal.models.calibration import Platt
from tilltal.workspace.definitions.actions import Adaptive

_REFRESH_US = 60_000_000  # how long what is known of delays is used


class TeamCase(msgspec.Struct, frozen=True, array_like=True):
    """What a team saw of a profile: kept with the decision until the answer is known.

    `cases` are by contestant; `noted` is what the one who served said.
    """

    cases: tuple[Case, ...]
    noted: Noted
    judged: Judged | None = None


class Lessons(msgspec.Struct, frozen=True):
    """What came of an answer beside learning: a promotion or stop, and whether the alarm went off."""

    change: Change | None = None
    is_alarm: bool = False


class _Stored(msgspec.Struct, array_like=True, tag="team"):
    """A team's state; models by contestant."""

    models: list[bytes]
    contest: bytes
    ledger: Ledger
    delays: Delays | None = None


class Team:
    """Contestants in their order: the declared method first, then its challenger, if there is one.

    `contest` is absent where nobody challenges.
    """

    __slots__ = ("_settling", "_shares", "_shares_at", "contest", "delays", "ledger", "models", "name")

    def __init__(self, name: str, models: Sequence[AdaptiveModel], at: int) -> None:
        """Begin anew; `name` is that of the pair, `at` the instant in microseconds."""
        self.name = name
        self.models = tuple(models)
        adaptive = models[0].layout.adaptive
        self._settling = Settling(microseconds(adaptive.wait))
        self.contest = (
            None
            if adaptive.challenger is None
            else Contest(len(models), adaptive.challenger.most_share, at, self._settling)
        )
        self.ledger = Ledger(models[0].layout.id)
        self.delays = new_delays(self._settling.wait)
        self._shares: list[float] = []
        self._shares_at = 0

    def serves(self, decision: bytes, at: int) -> int:
        """Return which contestant serves a decision, by its id."""
        if self.contest is None:
            return 0
        return self.contest.serves(float(uniforms(decision, place_keys([self.name]))[0]), at)

    def case(self, values: Sequence[object], served: int, at: int) -> TeamCase:
        """Return the case of a profile.

        Args:
            values: those of the features, in order, None for NULL.
            served: which contestant serves the decision.
            at: the instant, in microseconds.
        """
        return self.case_of(self.models[0].layout.cells(values), served, at)

    def case_of(self, cells: tuple[int, ...], served: int, at: int) -> TeamCase:
        """Return the case of a profile by its cells, which are the same for all contestants."""
        said, cases = [], []
        for model in self.models:
            chance, case = model.answer(cells, at)
            said.append(chance)
            cases.append(case)
        return TeamCase(
            tuple(cases),
            noted(self.ledger.entered, said[served]),
            None if self.contest is None else self.contest.judged(said),
        )

    def revise(self, case: TeamCase, before: bool | None, after: bool | None, at: int) -> Lessons:
        """Take the earlier label of a case back and teach the later one to everybody; None: no label."""
        for model, own in zip(self.models, case.cases, strict=False):
            revise(model, own, before, after)
        layout, first = self.models[0].layout, case.cases[0]
        is_alarm = False
        if first.layout == self.ledger.layout == layout.id:
            cells = first.cells[1 : 1 + len(layout.starts)]
            self.ledger.revise(case.noted, cells, before, after, self._settling.period(first.at))
            is_alarm = self.ledger.listen(self._settling, at)
        if self.contest is None or case.judged is None:
            return Lessons(None, is_alarm)
        self.contest.revise(case.judged, before, after, first.at)
        return Lessons(self.contest.conclude(at), is_alarm)

    def answered(self, seen: int, delay: int) -> None:
        """Take in how long a yes took: when its impression was known, and the delay, in microseconds."""
        self.delays.add(seen, delay)
        self._shares = []

    def patience(self, case: TeamCase, decision: bytes, at: int) -> int:
        """Return how long a silence that begins at an instant waits before it is a no (microseconds)."""
        wait = self._settling.wait
        if not self._shares or at - self._shares_at > _REFRESH_US:
            self._shares, self._shares_at = self.delays.shares(at, wait), at
        place = uniforms(decision, np.array([key_of(f"silence {self.name}")], dtype=np.uint64))
        return patience(self._shares, case.noted.chance, float(place[0]), wait)

    def lines(self) -> tuple[Platt, ...]:
        """Return what corrects each contestant: the ledger is of what the champion says, mostly.

        A method of calibrated bins needs no correction.
        """
        champion = 0 if self.contest is None else self.contest.champion
        if self.models[champion].layout.adaptive.method != "bayesian_logistic":
            return (AS_IT_IS,) * len(self.models)
        line = levelled(self.ledger.bands())
        return tuple([line if place == champion else AS_IT_IS for place in range(len(self.models))])

    def known(self, at: int) -> tuple[float, float]:
        """Return how many yes and no the champion knows, as they weigh at an instant."""
        return self.models[0 if self.contest is None else self.contest.champion].answers(at)

    def to_bytes(self, at: int) -> bytes:
        """Return the state at an instant, in microseconds."""
        contest = b"" if self.contest is None else self.contest.to_bytes()
        return msgspec.msgpack.encode(
            _Stored([model.to_bytes(at) for model in self.models], contest, self.ledger, self.delays)
        )


def place_keys(names: Sequence[str]) -> Keys:
    """Return the keys by which decisions get their places in the contests of some teams."""
    return np.array([key_of(f"contest {name}") for name in names], dtype=np.uint64)


def layouts(adaptive: Adaptive, bins: Mapping[str, AnyBins]) -> tuple[Layout, ...]:
    """Return the layout of each contestant of a definition; `bins` has those of every feature it names."""
    first = layout_of(adaptive, bins)
    if adaptive.challenger is None:
        return (first,)
    other = msgspec.structs.replace(adaptive, method=adaptive.challenger.method, challenger=None)
    return first, layout_of(other, bins)


def new_team(name: str, of: Sequence[Layout], at: int) -> Team:
    """Return a team that has learned nothing."""
    return Team(name, [new_model(layout) for layout in of], at)


def team_from(data: bytes, name: str, of: Sequence[Layout], at: int) -> Team:
    """Read a state: each contestant goes on from its own method's state, a new one from the totals.

    The state of a single model, too, is taken for one of a team.

    Raises:
        msgspec.DecodeError: if the bytes are no state.
    """
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except msgspec.ValidationError:  # another kind of state
        stored = _Stored([data], b"", Ledger(""))
    by_method = {method_of(each): each for each in stored.models}
    models = [model_from(by_method.get(each.adaptive.method, stored.models[0]), each) for each in of]
    team = Team(name, models, at)
    is_same = [method_of(each) for each in stored.models] == [each.adaptive.method for each in of]
    if team.contest is not None and stored.contest and is_same:
        team.contest.load(stored.contest)
    if stored.ledger.layout == team.ledger.layout:
        team.ledger = stored.ledger
    if stored.delays is not None and stored.delays.length == team.delays.length:
        team.delays = stored.delays
    return team
