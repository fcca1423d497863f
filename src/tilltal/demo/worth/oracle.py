"""The oracle: knows every true probability, and contacts at the best moment or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilltal.demo.catalogue import ACTIONS, CHANNELS
from tilltal.demo.shapes import Ints
from tilltal.demo.worth.lives import Lives
from tilltal.demo.worth.timeline import Happening
from tilltal.demo.worth.walk import Walk
from tilltal.demo.worth.world import World

_OPTIONS: Ints = np.array(
    [(index, CHANNELS.index(name)) for index, action in enumerate(ACTIONS) for name in action.channels],
    dtype=np.int64,
)
LEAST_GAIN = 40.0
"""Kronor that a contact must truly bring; what it takes of the customer's patience is worth less."""
HARM = 50_000.0
"""Kronor that a complaint or a withdrawn consent is taken to cost: it would rather be silent than annoy."""


def oracle(world: World, happenings: Sequence[Happening]) -> Lives:
    """At each of the customers' own moments, make the contact of most gain, if it is worth it."""
    walk = Walk(world, happenings)
    action, channel = _OPTIONS[:, 0], _OPTIONS[:, 1]
    for one in walk.happen(world.span.days * 86_400):
        if one.place is None:
            continue
        who = np.full(len(_OPTIONS), one.row, dtype=np.int64)
        found = walk.lives.chances(who, action, channel, one.moment)
        net = found.gain - HARM * (found.complaint + found.opt_out)
        net[~walk.lives.may_contact(who, action, channel)] = -np.inf
        best = int(net.argmax())
        if net[best] >= LEAST_GAIN:
            walk.contact(who[:1], action[best : best + 1], channel[best : best + 1], one.moment)
    return walk.finish()
