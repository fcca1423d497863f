"""Who the simulated customers are: latent personas and traits, and what registers know of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilltal.demo.calendar import Span
from tilltal.demo.catalogue import CHANNELS, PERSONAS
from tilltal.demo.shapes import Bools, Floats, Ints, generator

# Regions: Swedish county seat, two digits of its postal area, share of customers, how urban (0 to 2).
REGIONS = (
    ("Stockholm", 11, 0.24, 2), ("Göteborg", 41, 0.13, 2), ("Malmö", 21, 0.10, 2), ("Uppsala", 75, 0.07, 1),
    ("Linköping", 58, 0.06, 1), ("Örebro", 70, 0.06, 1), ("Umeå", 90, 0.05, 1), ("Växjö", 35, 0.05, 1),
    ("Gävle", 80, 0.05, 1), ("Östersund", 83, 0.04, 0), ("Kalmar", 39, 0.05, 0), ("Mora", 79, 0.03, 0),
    ("Visby", 62, 0.03, 0), ("Kiruna", 98, 0.04, 0),
)  # fmt: skip


class People(NamedTuple):
    """One chunk of customers; every array has shape (n,) unless said."""

    first: int  # number of the first customer of the chunk
    persona: Ints
    age: Floats  # years at the start of the span
    is_female: Bools
    income: Floats  # kronor a year
    digital: Floats
    price: Floats
    loyalty: Floats
    spend: Floats
    fatigue: Floats
    liking: Floats  # shape (n, channels), averages 1 per customer
    patience: Floats  # long-run satisfaction
    region: Ints
    joined: Ints  # day number of the first relation; negative: before the span
    is_married: Bools

    @property
    def size(self) -> int:
        """How many customers the chunk has."""
        return len(self.persona)

    @property
    def numbers(self) -> Ints:
        """Customer numbers as the bank's systems know them: eight digits."""
        return 10_000_019 + (self.first + np.arange(self.size, dtype=np.int64)) * 7


def draw_people(seed: int, chunk: int, first: int, count: int, span: Span) -> People:
    """Draw `count` customers, the first of which has the number `first`."""
    rng = generator(seed, chunk, "people")
    persona = rng.choice(len(PERSONAS), size=count, p=[kind.share for kind in PERSONAS])
    age = np.clip(_trait(persona, "age") + rng.normal(size=count) * _trait(persona, "age_spread"), 18, 96)
    digital = np.clip(_trait(persona, "digital") + rng.normal(0, 0.15, count) - 0.004 * (age - 45), 0.02, 1)
    return People(
        first=first,
        persona=persona,
        age=age,
        is_female=rng.random(count) < 0.5,
        income=1000 * _trait(persona, "income") * np.exp(rng.normal(0, 0.30, count)),
        digital=digital,
        price=np.clip(_trait(persona, "price") + rng.normal(0, 0.15, count), 0, 1),
        loyalty=np.clip(_trait(persona, "loyalty") + rng.normal(0, 0.15, count), 0, 1),
        spend=_trait(persona, "spend") * np.exp(rng.normal(0, 0.45, count)),
        fatigue=rng.gamma(4.0, 0.25, count),
        liking=_likings(rng, digital),
        patience=rng.normal(0, 0.5, count) + 0.8 * (_trait(persona, "loyalty") - 0.55),
        region=rng.choice(len(REGIONS), size=count, p=_region_shares()),
        joined=_joined(rng, age, span),
        is_married=rng.random(count) < np.clip((age - 22) / 40, 0.03, 0.62),
    )


def _trait(persona: Ints, name: str) -> Floats:
    return np.array([getattr(kind, name) for kind in PERSONAS], dtype=np.float64)[persona]


def _region_shares() -> Floats:
    shares = np.array([region[2] for region in REGIONS])
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _likings(rng: np.random.Generator, digital: Floats) -> Floats:
    """Draw how much each channel is liked: by digital people push and banners, by others people and paper."""
    slope = np.array([0.0, 0.0, 2.0, 1.5, -0.8, -2.2, -2.0])
    weights = np.exp(slope * (digital[:, None] - 0.55) + rng.normal(0, 0.5, (len(digital), len(CHANNELS))))
    return np.asarray(weights / weights.mean(axis=1, keepdims=True), dtype=np.float64)


def _joined(rng: np.random.Generator, age: Floats, span: Span) -> Ints:
    """Draw when relations began: most before the span, the others ever more often towards its end."""
    within = np.floor(span.days * np.sqrt(rng.random(len(age)))).astype(np.int64)
    years = np.minimum(rng.gamma(1.6, 5.5, len(age)), np.maximum(age - 17.5, 0.3))
    before = -np.ceil(years * 365.25).astype(np.int64)
    share = min(0.30, 0.015 * span.months)
    return np.where(rng.random(len(age)) < share, within, before)
