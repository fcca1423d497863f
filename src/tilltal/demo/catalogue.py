"""What the simulated bank sells, to whom, and what it may say: the fixed tables behind the truth.

All numbers are chosen, not estimated from any bank's data. Effects are log odds unless said otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilltal.demo.shapes import Floats

PRODUCTS = (
    "current_account", "savings_account", "card", "premium_card", "mortgage", "consumer_loan",
    "fund", "pension", "car_insurance", "home_insurance", "travel_insurance",
)  # fmt: skip
PRODUCT_CODES = (
    "LONEKONTO", "SPARKONTO", "KORT", "KORT_PREMIUM", "BOLAN", "PRIVATLAN",
    "FOND", "PENSION", "BILFORS", "HEMFORS", "RESEFORS",
)  # fmt: skip
PRODUCT = {name: index for index, name in enumerate(PRODUCTS)}


class Persona(NamedTuple):
    """A latent kind of customer. Incomes in thousand kronor a year, the rest between 0 and 1."""

    name: str
    share: float
    age: float
    age_spread: float
    income: float
    digital: float
    price: float
    loyalty: float
    spend: float


PERSONAS = (
    Persona("student", 0.12, 23, 3, 150, 0.85, 0.70, 0.45, 0.7),
    Persona("young_professional", 0.15, 30, 4, 420, 0.85, 0.45, 0.50, 1.2),
    Persona("young_family", 0.16, 36, 5, 480, 0.70, 0.60, 0.55, 1.3),
    Persona("settled_family", 0.15, 47, 6, 560, 0.60, 0.50, 0.65, 1.3),
    Persona("affluent", 0.08, 53, 9, 1150, 0.60, 0.25, 0.60, 1.6),
    Persona("bargain_hunter", 0.13, 41, 12, 340, 0.75, 0.90, 0.30, 0.9),
    Persona("traditional_senior", 0.13, 70, 8, 270, 0.25, 0.40, 0.75, 0.6),
    Persona("traveller", 0.08, 45, 13, 620, 0.75, 0.35, 0.55, 1.5),
)

# Ownership when the relation is known first, per persona and product.
OWNED: Floats = np.array(
    [
        [0.97, 0.50, 0.85, 0.01, 0.01, 0.04, 0.06, 0.00, 0.03, 0.15, 0.08],
        [0.97, 0.65, 0.90, 0.10, 0.18, 0.10, 0.25, 0.08, 0.10, 0.30, 0.20],
        [0.97, 0.70, 0.90, 0.06, 0.40, 0.16, 0.22, 0.14, 0.32, 0.45, 0.18],
        [0.97, 0.70, 0.88, 0.08, 0.45, 0.15, 0.30, 0.30, 0.38, 0.50, 0.20],
        [0.97, 0.80, 0.90, 0.40, 0.40, 0.06, 0.60, 0.45, 0.35, 0.50, 0.35],
        [0.92, 0.45, 0.80, 0.02, 0.15, 0.18, 0.08, 0.05, 0.16, 0.25, 0.10],
        [0.98, 0.80, 0.75, 0.03, 0.12, 0.04, 0.20, 0.15, 0.25, 0.45, 0.10],
        [0.96, 0.60, 0.92, 0.30, 0.22, 0.10, 0.30, 0.15, 0.20, 0.35, 0.45],
    ]
)
# A newcomer begins with a share of that: most relations grow.
NEWCOMER_SHARE: Floats = np.array([1.0, 0.5, 0.9, 0.3, 0.5, 0.5, 0.25, 0.25, 0.4, 0.4, 0.4])

# Log odds of opening a product in an ordinary month without any need.
OPENING: Floats = np.array([-4.0, -5.2, -4.8, -6.9, -7.8, -6.9, -6.9, -7.6, -7.6, -6.9, -6.6])
# Chance a month that a product is given up although the relation goes on.
GIVEN_UP: Floats = np.array([0.0, 0.002, 0.001, 0.004, 0.003, 0.012, 0.004, 0.0015, 0.004, 0.003, 0.006])

# Lasting taste for a product, per persona and product.
TASTE: Floats = np.array(
    [
        [0.0, 0.3, 0.5, -1.5, -3.0, 0.2, -0.3, -2.5, -1.5, -0.2, 0.2],
        [0.0, 0.3, 0.3, 0.5, 0.5, 0.0, 0.6, -0.2, -0.4, 0.3, 0.5],
        [0.0, 0.5, 0.0, -0.3, 0.7, 0.4, 0.2, 0.1, 0.5, 0.6, 0.0],
        [0.0, 0.2, 0.0, 0.0, 0.0, 0.2, 0.3, 0.7, 0.3, 0.3, 0.2],
        [0.0, 0.3, 0.0, 1.3, 0.3, -1.0, 1.3, 1.0, 0.2, 0.3, 0.6],
        [0.0, -0.3, 0.2, -1.5, -0.3, 0.9, -1.0, -0.8, 0.1, 0.0, -0.2],
        [0.0, 0.3, -0.5, -1.2, -2.5, -1.5, 0.1, -1.5, 0.0, 0.2, -0.3],
        [0.0, 0.0, 0.2, 1.2, -0.2, 0.0, 0.3, 0.0, -0.2, 0.0, 1.2],
    ]
)

LIFE_EVENTS = ("moving", "new_child", "new_car", "pay_rise", "job_loss", "windfall", "trip", "retiring")
# What a life event adds to the need for each product. Interest comes at once and fades by `FADING` a month;
# the wish to buy follows: each month it is `RIPENING` × (the wish so far + the interest).
NEEDS: Floats = np.array(
    [
        [0.0, 0.2, 0.0, 0.0, 4.2, 1.6, -0.3, 0.0, 0.3, 4.0, 0.0],
        [0.0, 1.8, 0.0, -0.3, 0.8, 0.6, 1.4, 0.8, 0.6, 1.6, -0.3],
        [0.0, 0.0, 0.0, 0.0, 0.0, 3.4, -0.3, 0.0, 5.0, 0.0, 0.0],
        [0.0, 1.0, 0.3, 2.0, 0.8, 0.0, 2.8, 2.4, 0.0, 0.0, 0.5],
        [0.0, -0.5, 0.0, -1.5, -2.0, 1.8, -1.5, -1.0, -0.5, 0.0, -1.0],
        [0.0, 2.2, 0.0, 0.8, 0.4, -1.5, 4.8, 1.6, 0.0, 0.0, 0.5],
        [0.0, 0.0, 1.0, 2.2, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0, 3.8],
        [0.0, 0.8, 0.0, 0.0, -1.5, -0.5, 1.6, 4.8, 0.0, 0.0, 0.6],
    ]
)
FADING = 0.76
RIPENING = 0.60

CHANNELS = ("email", "sms", "push", "banner", "call", "branch", "letter")
# How well a channel works for a customer with an average liking for it.
CHANNEL_EFFECT: Floats = np.array([0.0, 0.15, 0.1, -0.5, 1.2, 1.6, -0.2])


class ActionTruth(NamedTuple):
    """What an action truly does. `base`: log odds of a yes; `product`: what a yes opens, if anything."""

    name: str
    group: str
    base: float
    product: str = ""
    channels: tuple[str, ...] = ("email", "push", "banner")
    purpose: str = "marketing"


ACTIONS = (
    ActionTruth("start_savings", "savings", -4.4, "savings_account"),
    ActionTruth("monthly_fund", "savings", -5.7, "fund", ("email", "push", "banner", "call")),
    ActionTruth("pension_plan", "savings", -6.2, "pension", ("email", "call", "branch", "letter")),
    ActionTruth("savings_goal", "savings", -3.6, "", ("push", "banner", "email")),
    ActionTruth("mortgage_promise", "loans", -6.8, "mortgage", ("email", "call", "branch", "banner")),
    ActionTruth("mortgage_review", "loans", -3.4, "", ("email", "call", "branch")),
    ActionTruth("consumer_loan_offer", "loans", -6.0, "consumer_loan", ("email", "sms", "letter", "banner")),
    ActionTruth("collect_loans", "loans", -5.0, "consumer_loan", ("email", "call")),
    ActionTruth("first_card", "cards", -3.8, "card", ("email", "push", "sms")),
    ActionTruth("premium_card_offer", "cards", -6.0, "premium_card", ("email", "push", "banner")),
    ActionTruth("card_travel_tips", "cards", -2.6, "", ("push", "email", "banner")),
    ActionTruth("car_insurance_offer", "insurance", -6.2, "car_insurance", ("email", "sms", "call")),
    ActionTruth("home_insurance_offer", "insurance", -6.0, "home_insurance", ("email", "letter", "banner")),
    ActionTruth("travel_insurance_offer", "insurance", -5.6, "travel_insurance", ("email", "push", "sms")),
    ActionTruth("insurance_review", "insurance", -3.2, "", ("email", "call", "branch")),
    ActionTruth("activate_app", "service", -2.6, "", ("email", "sms", "letter"), "service"),
    ActionTruth("e_invoice", "service", -2.8, "", ("email", "banner", "push"), "service"),
    ActionTruth("fraud_awareness", "service", -2.2, "", ("email", "push", "banner"), "service"),
    ActionTruth("financial_health_check", "service", -3.3, "", ("email", "call", "branch"), "service"),
    ActionTruth("thank_you_call", "retention", -1.8, "", ("call", "letter"), "personal_offers"),
    ActionTruth("fee_discount", "retention", -2.4, "", ("email", "call", "letter"), "personal_offers"),
    ActionTruth("advisor_meeting", "retention", -2.9, "", ("call", "email", "branch"), "personal_offers"),
    ActionTruth("winback_offer", "retention", -4.2, "", ("email", "letter", "call"), "personal_offers"),
    ActionTruth("welcome", "onboarding", -1.8, "", ("email", "push", "letter"), "service"),
    ActionTruth("salary_here", "onboarding", -3.4, "", ("email", "push", "call"), "marketing"),
    ActionTruth("kyc_update", "compliance", 0.3, "", ("email", "push", "letter", "sms"), "service"),
)
ACTION = {action.name: index for index, action in enumerate(ACTIONS)}

# Groups of merchants: Swedish name, merchant category codes' first, mean purchase in kronor.
MERCHANTS = (
    ("groceries", 5411, 380), ("restaurants", 5812, 240), ("travel", 4511, 2900), ("fuel", 5541, 620),
    ("home", 5712, 1400), ("children", 5641, 420), ("electronics", 5732, 1900), ("health", 5912, 260),
    ("fashion", 5651, 700), ("leisure", 7997, 450), ("gambling", 7995, 300), ("other", 5999, 350),
)  # fmt: skip
# Shares of purchases per persona and group of merchants.
BASKETS: Floats = np.array(
    [
        [30, 22, 3, 2, 3, 0, 5, 4, 11, 10, 2, 8],
        [28, 20, 6, 4, 5, 1, 6, 4, 9, 9, 1, 7],
        [38, 9, 3, 8, 7, 10, 4, 5, 5, 4, 1, 6],
        [40, 9, 4, 10, 7, 5, 4, 5, 5, 5, 1, 5],
        [26, 18, 9, 7, 8, 2, 5, 4, 8, 7, 1, 5],
        [45, 7, 2, 7, 4, 4, 4, 5, 6, 3, 4, 9],
        [48, 7, 3, 7, 5, 1, 2, 12, 4, 5, 1, 5],
        [25, 18, 16, 5, 4, 1, 5, 4, 7, 8, 1, 6],
    ],
    dtype=np.float64,
)
# How often more a group is bought from in the month of a life event: (event, group, factor - 1).
SPREE = (
    ("moving", "home", 4.0), ("new_child", "children", 6.0), ("new_car", "fuel", 2.0),
    ("trip", "travel", 5.0), ("windfall", "electronics", 1.5), ("retiring", "leisure", 0.8),
)  # fmt: skip
