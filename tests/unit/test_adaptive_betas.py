"""The quantiles that exploration draws: near enough to the exact ones, and the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betainc, betaincinv

from tilltal.models.adaptive.betas import ENOUGH, beta_quantiles
from tilltal.models.adaptive.exploration import draws_at, keys_of, mixed_with, seed_number, thompson

STEPS = 1 << 12
MIDDLES = (np.arange(STEPS, dtype=np.uint64) << np.uint64(52)) + np.uint64(1 << 51)
AT = (np.arange(STEPS) + 0.5) / STEPS


@pytest.mark.parametrize("no", [2.0, 3.5, 20.0, 1000.0, 1e6])
@pytest.mark.parametrize(("yes", "off"), [(2.0, 0.0035), (5.0, 0.0014), (10.0, 0.0007), (100.0, 0.0001)])
def test_the_closed_form_is_as_near_as_it_says(yes: float, no: float, off: float) -> None:
    if no < yes:
        off = 0.0035
    found = beta_quantiles(np.full(STEPS, yes), np.full(STEPS, no), MIDDLES)
    assert np.abs(betainc(yes, no, found) - AT).max() < off
    assert (np.diff(found) > 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    mean, spread = yes / (yes + no), math.sqrt(yes * no / (yes + no + 1)) / (yes + no)
    assert found.mean() == pytest.approx(mean, rel=3e-4)
    assert found.std() == pytest.approx(spread, rel=7e-3)


def test_below_enough_the_exact_inverse_answers() -> None:
    yes, no = np.full(STEPS, ENOUGH - 0.01), np.full(STEPS, 30.0)
    assert np.allclose(beta_quantiles(yes, no, MIDDLES), betaincinv(yes, no, AT), rtol=1e-9, atol=0)
    mixed = beta_quantiles(np.array([0.3, 9.0]), np.array([9.0, 0.3]), MIDDLES[[100, 100]])
    assert np.allclose(mixed, betaincinv([0.3, 9.0], [9.0, 0.3], AT[[100, 100]]))


def test_the_bits_never_change() -> None:
    """A draw is a function of seed and pair for good: another version of numpy or scipy draws the same."""
    at = np.array(
        [0x0123456789ABCDEF, 0x8000000000000000, 0xFEDCBA9876543210, 0x4000000000000000], dtype=np.uint64
    )
    found = beta_quantiles(np.array([3.0, 5.0, 37.5, 400.0]), np.array([50.0, 95.0, 12.25, 1e5]), at)
    assert [float(each).hex() for each in found] == [
        "0x1.7886fa50e8661p-8",
        "0x1.817cf2007c4d8p-5",
        "0x1.c788163c18c97p-1",
        "0x1.f86827d3d87c0p-9",
    ]


def test_many_customers_at_once_draw_what_each_draws_alone() -> None:
    pairs = [("card", "email"), ("fund", "push"), ("loan", "sms")]
    keys, rates, evidence = keys_of(pairs), np.array([0.05, 0.2, 0.004]), np.array([100.0, 30.0, 60.0])
    seeds = [f"customer {number}".encode() for number in range(200)]
    numbers = np.array([seed_number(seed) for seed in seeds], dtype=np.uint64)
    together = draws_at(rates, evidence, mixed_with(numbers[:, None], keys))
    alone = np.array([thompson(rates, evidence, seed, keys) for seed in seeds])
    assert together.tobytes() == alone.tobytes()
