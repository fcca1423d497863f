"""The truth day by day: how a customer truly answers a contact at a moment, given all contacts before.

`demo.truth` counts contacts by month; here their weight fades day by day. With tiredness

    t = f × Σ 2 exp(-age / 45 days)          over the customer's contacts, f: how easily the customer tires
    k =     Σ 2 exp(-age / 45 days)          over those about the same action

which at a steady pace is the number of contacts in 90 days, a contact's answer follows

    response   logit p = base(action) + effect(channel) + 0.8 ln l + 0.55 z + 0.25 s - 0.12 t - 0.35 k
                         + 0.5 [the customer is there] + 1.0 exp(-h / 72)
    complaint  logit p = -7.2 + 0.30 t - 0.5 s + intrusion(channel) + 0.3 k - 0.7 [the customer is there]
    opting out logit p = -7.6 + 0.30 t - 0.5 s + intrusion(channel)

where z is the need of the action's product, l the liking of the channel, s satisfaction, h the hours since
the customer looked into the product, and a customer is there within an hour of an own visit, tap or call.
All functions are pure and vectorised.
"""

from __future__ import annotations

import numpy as np

from tilltal.demo.catalogue import ACTIONS, CHANNEL_EFFECT, PRODUCT
from tilltal.demo.shapes import Bools, Floats, Ints, sigmoid

FADING_DAYS = 45.0
WEIGHT = 2.0
ATTENTION_HOURS = 72.0
THERE_SECONDS = 3600

PRODUCT_OF: Ints = np.array([PRODUCT.get(action.product, -1) for action in ACTIONS], dtype=np.int64)
SOLD: Ints = np.where([action.name == "collect_loans" for action in ACTIONS], -1, PRODUCT_OF)
"""The product that a yes opens, -1 for none: whoever collects loans has one already."""
_BASE: Floats = np.array([action.base for action in ACTIONS])
_INTRUSION: Floats = np.array([0.0, 0.4, 0.1, -0.9, 0.7, -0.2, -0.3])  # by channel, see CHANNELS


def faded(weight: Floats, days: Floats) -> Floats:
    """Return what is left of the weight of contacts after some days without any."""
    return np.asarray(weight * np.exp(-days / FADING_DAYS), dtype=np.float64)


def attention(hours: Floats) -> Floats:
    """Return how much a product is on a customer's mind, 1 to 0, hours after the customer looked into it."""
    return np.asarray(np.exp(-np.maximum(hours, 0.0) / ATTENTION_HOURS), dtype=np.float64)


def response_probability(
    action: Ints,
    channel: Ints,
    *,
    need: Floats,
    liking: Floats,
    satisfaction: Floats,
    tired: Floats,
    same: Floats,
    is_there: Bools,
    mind: Floats,
) -> Floats:
    """Return the probability of a yes; arrays of one shape, or such that broadcast.

    Args:
        action: numbers into `catalogue.ACTIONS`.
        channel: numbers into `catalogue.CHANNELS`.
        need: log odds of need for the action's product, 0 where it has none.
        liking: how much the customer likes the channel, 1 = average.
        satisfaction: 0 = ordinary.
        tired: t above.
        same: k above.
        is_there: whether the customer is there.
        mind: `attention` to the action's product, 0 where it has none.
    """
    appeal = _BASE[action] + CHANNEL_EFFECT[channel] + 0.8 * np.log(np.clip(liking, 0.05, 8.0))
    mood = 0.55 * np.clip(need, -4.0, 6.0) + 0.25 * satisfaction - 0.12 * tired - 0.35 * same
    return sigmoid(appeal + mood + 0.5 * is_there + 1.0 * mind)


def complaint_probability(
    channel: Ints, *, satisfaction: Floats, tired: Floats, same: Floats, is_there: Bools
) -> Floats:
    """Return the probability that whoever does not say yes complains of the contact."""
    mood = 0.30 * tired - 0.5 * satisfaction + 0.3 * same - 0.7 * is_there
    return sigmoid(-7.2 + mood + _INTRUSION[channel])


def opt_out_probability(channel: Ints, *, satisfaction: Floats, tired: Floats) -> Floats:
    """Return the probability that a contact makes the customer withdraw all consents without complaining."""
    return sigmoid(-7.6 + 0.30 * tired - 0.5 * satisfaction + _INTRUSION[channel])
