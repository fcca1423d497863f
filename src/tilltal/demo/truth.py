"""The true probabilities of the simulated bank: what no source shows and every model tries to learn.

All are logistic. With z for the need of the action's product (log odds, 0 for actions without a product),
l for the liking of the channel (1 = average), s for satisfaction (0 = ordinary, about ±1), f for how easily
the customer tires (1 = average), n for contacts and k for contacts of the same action in the last 90 days:

    response   logit p = base(action) + effect(channel) + 0.8 ln l + 0.55 z + 0.25 s - 0.12 f n - 0.35 k
    click      the same + 1.6
    complaint  logit p = -7.2 + 0.30 f n - 0.5 s
    opening    logit p = base(product) + z, per month, without any contact
    leaving    logit p = -4.7 - 1.1 s + 1.6 (price - 0.5) - 0.30 (products - 3)
               - 0.06 min(years, 10) + 0.05 f n

A contacted customer opens the product unless both the wish and the answer fail to appear, so the true uplift
of a contact on opening is (1 - opening) × response. All functions are vectorised and pure.
"""

from __future__ import annotations

import numpy as np

from tilltal.demo.catalogue import ACTIONS, CHANNEL_EFFECT, OPENING
from tilltal.demo.shapes import Floats, Ints, sigmoid

_BASE: Floats = np.array([action.base for action in ACTIONS])
_CLICK = 1.6

NOTICE_PROBABILITY = 0.30  # a month, once a customer has begun to leave
STAY_PROBABILITY = 0.12  # a month, that a customer who has begun to leave thinks better of it
WITHDRAWAL_PROBABILITY = 0.12  # that a notice is withdrawn before the closing
RETURN_PROBABILITY = 0.042  # a month, from the second month after the closing
KEPT_BY_RETENTION = 0.5  # that a yes to a retention action ends the leaving


def response_probability(
    action: Ints,
    channel: Ints,
    *,
    need: Floats,
    liking: Floats,
    satisfaction: Floats,
    fatigue: Floats,
    contacts_90d: Floats,
    same_90d: Floats,
) -> Floats:
    """Return the probability of a yes to one contact.

    Args:
        action: numbers into `catalogue.ACTIONS`, shape (n,).
        channel: numbers into `catalogue.CHANNELS`, shape (n,).
        need: log odds of need for the action's product, 0 where it has none, shape (n,).
        liking: how much the customer likes the channel, 1 = average, shape (n,).
        satisfaction: 0 = ordinary, shape (n,).
        fatigue: how easily the customer tires of contacts, 1 = average, shape (n,).
        contacts_90d: contacts in the last 90 days before this one, shape (n,).
        same_90d: those of the same action, shape (n,).

    Returns:
        Probabilities in [0, 1], shape (n,).
    """
    appeal = _BASE[action] + CHANNEL_EFFECT[channel] + 0.8 * np.log(np.clip(liking, 0.05, 8.0))
    mood = 0.55 * np.clip(need, -4.0, 6.0) + 0.25 * satisfaction
    return sigmoid(appeal + mood - 0.12 * fatigue * contacts_90d - 0.35 * same_90d)


def click_probability(response: Floats) -> Floats:
    """Return the probability that a contact is looked into, given that of a yes; never below it."""
    odds = response / np.clip(1.0 - response, 1e-12, None) * np.exp(_CLICK)
    return np.asarray(odds / (1.0 + odds), dtype=np.float64)


def complaint_probability(satisfaction: Floats, fatigue: Floats, contacts_90d: Floats) -> Floats:
    """Return the probability that one more contact makes the customer complain."""
    return sigmoid(-7.2 + 0.30 * fatigue * contacts_90d - 0.5 * satisfaction)


def opening_probability(product: Ints, need: Floats) -> Floats:
    """Return the probability that a customer opens a product in a month of their own accord."""
    return sigmoid(OPENING[product] + need)


def uplift(opening: Floats, response: Floats) -> Floats:
    """Return what a contact adds to the probability of opening within the month."""
    return np.asarray((1.0 - opening) * response, dtype=np.float64)


def leaving_probability(
    satisfaction: Floats,
    price_sensitivity: Floats,
    products: Floats,
    tenure_years: Floats,
    tired: Floats,
) -> Floats:
    """Return the probability that a customer begins to leave in a month.

    Args:
        satisfaction: 0 = ordinary, shape (n,).
        price_sensitivity: 0 to 1, shape (n,).
        products: products held, shape (n,).
        tenure_years: years of the relation, shape (n,).
        tired: fatigue × contacts in the last 90 days, shape (n,).
    """
    price = 1.6 * (price_sensitivity - 0.5)
    ties = 0.30 * (products - 3.0) + 0.06 * np.minimum(tenure_years, 10.0)
    return sigmoid(-4.7 - 1.1 * satisfaction + price - ties + 0.05 * tired)
