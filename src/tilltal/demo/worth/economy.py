"""What contacts cost and what a yes brings the bank in its first year, in kronor: chosen, as `catalogue` is.

Margins are those of the bank's own monthly statements (`demo.movements`).
"""

from __future__ import annotations

import numpy as np

from tilltal.demo.bank import Bank
from tilltal.demo.catalogue import ACTION, ACTIONS, PRODUCT, PRODUCTS
from tilltal.demo.shapes import Bools, Floats, Ints

# email, sms, push, banner, call, branch, letter: people's time, postage, fees.
CONTACT_COST: Floats = np.array([0.3, 0.6, 0.1, 0.1, 28.0, 40.0, 11.0])

# What a yes is worth where it opens no product.
_SERVICE = {
    "savings_goal": 40.0, "mortgage_review": 600.0, "card_travel_tips": 15.0, "insurance_review": 70.0,
    "activate_app": 60.0, "e_invoice": 20.0, "fraud_awareness": 20.0, "financial_health_check": 60.0,
    "welcome": 40.0, "salary_here": 500.0, "kyc_update": 5.0, "collect_loans": 1000.0,
}  # fmt: skip
# Those that bring it only with holders of one of these, or with customers so new.
_HOLDERS = {
    "mortgage_review": ("mortgage",), "collect_loans": ("consumer_loan",), "card_travel_tips": ("card",),
    "insurance_review": ("car_insurance", "home_insurance", "travel_insurance"),
}  # fmt: skip
_NEW_YEARS = {"welcome": 0.25, "salary_here": 0.5}
KEPT_SHARE = 0.4  # of a year's income, for a yes to a retention action of somebody who has begun to leave


def product_worth(bank: Bank, who: Ints, savings: Floats) -> Floats:
    """Return the first year's income of each product a customer would open, shape (n, products).

    Args:
        bank: the chunk.
        who: customers, shape (n,).
        savings: kronor a customer has or would bring, shape (n,).
    """
    people = bank.people
    worth = np.zeros((len(who), len(PRODUCTS)))
    fixed = {
        "current_account": 168, "premium_card": 588, "car_insurance": 660,
        "home_insurance": 336, "travel_insurance": 144, "consumer_loan": 0.055 * 60_000,
    }  # fmt: skip
    for name, value in fixed.items():
        worth[:, PRODUCT[name]] = value
    worth[:, PRODUCT["card"]] = 0.006 * 4.4 * 480 * 12 * people.spend[who]
    worth[:, PRODUCT["mortgage"]] = 0.009 * 2.85 * people.income[who]
    worth[:, PRODUCT["savings_account"]] = 0.004 * savings
    worth[:, PRODUCT["fund"]] = 0.010 * savings
    worth[:, PRODUCT["pension"]] = 420 + 0.0015 * people.income[who]
    return worth


def service_worth(owned: Bools, years: Floats) -> Floats:
    """Return what a yes brings where it opens nothing and keeps nobody, shape (n, actions).

    Args:
        owned: products held, shape (n, products).
        years: of the relation, shape (n,).
    """
    worth = np.zeros((len(years), len(ACTIONS)))
    for name, value in _SERVICE.items():
        fits: Bools = np.ones(len(years), dtype=np.bool_)
        if name in _HOLDERS:
            fits = np.asarray(owned[:, [PRODUCT[one] for one in _HOLDERS[name]]].any(axis=1))
        worth[:, ACTION[name]] = value * (fits & (years < _NEW_YEARS.get(name, np.inf)))
    return worth
