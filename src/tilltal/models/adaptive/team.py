"""All that learns for one action in one channel: the champion, its challenger, their contest and a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from tilltal.models.adaptive.bins import AnyBins
from tilltal.models.adaptive.contest import Change, Contest, Judged
from tilltal.models.adaptive.exploration import Keys, key_of, uniforms
from tilltal.models.adaptive.layout import Layout, layout_of
from tilltal.models.adaptive.ledger import Ledger, Noted, noted
from tilltal.models.adaptive.methods import method_of, model_from, new_model
from tilltal.models.adaptive.model import AdaptiveModel, Case, chance, revise, score_of
from tilltal.workspace.definitions.actions import Adaptive


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


class Team:
    """Contestants in their order: the declared method first, then its challenger, if there is one.

    `contest` is absent where nobody challenges.
    """

    __slots__ = ("contest", "ledger", "models", "name")

    def __init__(self, name: str, models: Sequence[AdaptiveModel], at: int) -> None:
        """Begin anew; `name` is that of the pair, `at` the instant in microseconds."""
        self.name = name
        self.models = tuple(models)
        challenger = models[0].layout.adaptive.challenger
        self.contest = None if challenger is None else Contest(len(models), challenger.most_share, at)
        self.ledger = Ledger(models[0].layout.id)

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
        cells = self.models[0].layout.cells(values)
        said = []
        for model in self.models:
            scoring = model.scoring(at)
            said.append(chance(scoring, model.layout, score_of(scoring, cells)))
        return TeamCase(
            tuple([model.case(values, at) for model in self.models]),
            noted(self.ledger.entered, said[served]),
            None if self.contest is None else self.contest.judged(said),
        )

    def revise(self, case: TeamCase, before: bool | None, after: bool | None, at: int) -> Lessons:
        """Take the earlier label of a case back and teach the later one to everybody; None: no label."""
        for model, own in zip(self.models, case.cases, strict=False):
            revise(model, own, before, after)
        layout = self.models[0].layout
        is_alarm = False
        if case.cases[0].layout == self.ledger.layout == layout.id:
            cells = case.cases[0].cells[1 : 1 + len(layout.starts)]
            is_alarm = self.ledger.revise(case.noted, cells, before, after, at)
        if self.contest is None or case.judged is None:
            return Lessons(None, is_alarm)
        self.contest.revise(case.judged, before, after)
        return Lessons(self.contest.conclude(at), is_alarm)

    def to_bytes(self, at: int) -> bytes:
        """Return the state at an instant, in microseconds."""
        contest = b"" if self.contest is None else self.contest.to_bytes()
        return msgspec.msgpack.encode(
            _Stored([model.to_bytes(at) for model in self.models], contest, self.ledger)
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
    return team
