"""The teams of adaptive models that a set of definitions asks for, gone on with from what is stored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.decisions.live.decider import LiveDecider
from tilltal.models.adaptive.bins import plain_bins
from tilltal.models.adaptive.layout import Layout
from tilltal.models.adaptive.team import Team, layouts, new_team, team_from
from tilltal.workspace.definitions.actions import Learned

Pair = tuple[str, str]  # action, channel


def teams_of(
    decider: LiveDecider, stored: Mapping[str, bytes], at: int, damaged: set[str]
) -> dict[Pair, Team]:
    """Return a team for each action and channel that learns; `at` is the instant in microseconds.

    The names of states that are damaged are put into `damaged`.
    """
    return {pair: team_of(decider, pair, stored, at, damaged) for pair in decider.adaptive}


def team_of(
    decider: LiveDecider, pair: Pair, stored: Mapping[str, bytes], at: int, damaged: set[str]
) -> Team:
    """Return the team of one pair; a damaged state begins anew, and its name is put into `damaged`."""
    name, asked = state_name(pair), layouts_of(decider, pair)
    known = stored.get(name)
    if known is None:
        return new_team(name, asked, at)
    try:
        return team_from(known, name, asked, at)
    except msgspec.DecodeError:  # what it had learned is lost, what it learns from now on is not
        damaged.add(name)
        return new_team(name, asked, at)


def layouts_of(decider: LiveDecider, pair: Pair) -> tuple[Layout, ...]:
    """Return the layouts of a pair's contestants."""
    plan = next(action for action in decider.plan.actions if action.name == pair[0])
    definition = plan.definition.propensity
    assert isinstance(definition, Learned), "the decider names only pairs that learn"
    bins = {name: plain_bins(decider.plan.schema[name]) for name in definition.adaptive.features}
    return layouts(definition.adaptive, bins)


def state_name(pair: Pair) -> str:
    """Return by which name a pair's state is stored."""
    return f"{pair[0]}/{pair[1]}"
