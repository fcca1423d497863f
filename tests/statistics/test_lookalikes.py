"""Lookalikes against a population whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tilltal.core.errors import DataError
from tilltal.customers.lookalikes import FEWEST_MEMBERS, lookalikes, similarity


def test_members_similarities_are_spread_evenly() -> None:
    """By construction a member's similarity is its rank among the members: uniform, whatever the features."""
    generator = np.random.default_rng(11)
    features = generator.exponential(size=(3000, 4)) @ generator.normal(size=(4, 4))
    is_member = np.arange(3000) < 1000
    near = np.sort(similarity(features, is_member)[is_member])
    expected = np.arange(1, 1001) / 1001
    assert np.abs(near - expected).max() <= 1.5 / 1001


def test_hidden_members_are_found_before_the_rest() -> None:
    """Half of a group is the audience; the other half must be found among ten times as many strangers."""
    generator = np.random.default_rng(12)
    group = generator.normal(loc=2.0, size=(1000, 5))
    strangers = generator.normal(loc=-2.0, size=(5000, 5))
    features = np.vstack([group, strangers])
    is_member = np.arange(6000) < 500
    is_hidden = (np.arange(6000) >= 500) & (np.arange(6000) < 1000)
    found = lookalikes(features, is_member, size=500)
    assert found.sum() == 500
    assert (found & is_hidden).sum() >= 490  # the groups lie 4 × sqrt(5) ≈ 9 deviations apart
    # At threshold s a hidden member is kept with probability 1 − s: binomial, five deviations of slack.
    kept = lookalikes(features, is_member, at_least=0.3) & is_hidden
    assert abs(kept.sum() - 350) <= 5 * np.sqrt(500 * 0.3 * 0.7)


def test_members_themselves_are_left_out_and_gaps_do_no_harm() -> None:
    generator = np.random.default_rng(13)
    features = generator.normal(size=(400, 3))
    features[::7, 1] = np.nan
    features[:, 2] = 5.0  # tells nobody apart
    is_member = np.arange(400) < 100
    found = lookalikes(features, is_member, at_least=0.0)
    assert not (found & is_member).any()
    assert found.sum() == 300


def test_a_tiny_audience_is_refused_with_what_to_do() -> None:
    features = np.zeros((100, 2))
    with pytest.raises(DataError, match=f"{FEWEST_MEMBERS} are needed"):
        similarity(features, np.arange(100) < FEWEST_MEMBERS - 1)
