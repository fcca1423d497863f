"""Exploration: an action gets its chance by how little is known of it, and a new one opens by and by.

Thompson sampling (Thompson 1933, Biometrika 25; Russo et al. 2018, "A tutorial on Thompson sampling"): the
probability of a yes is drawn from Beta(p · evidence, (1 − p) · evidence). Draws are functions of the
decision's seed and the pair, so the same seed draws the same, and other pairs change nothing; they are
quantiles (`betas`) at hashed numbers, no stream of a generator that another version could make otherwise.
From what a decision logs (rates and evidence) follows the probability with which it would show each action
(`decisions.live.exploring`): needed to judge another policy off-line (Dudík, Langford & Li 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.betas import beta_quantiles

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

OPEN_FROM, OPEN_AT = 0.02, 200
"""The share of customers that a new action reaches, and the positives at which it reaches all."""

_LEAST_SHARE, _LEAST_EVIDENCE = 1e-6, 0.1
_MULTIPLY, _SHIFT, _AGAIN, _LAST = (
    np.uint64(each) for each in (0xBF58476D1CE4E5B9, 31, 0x94D049BB133111EB, 30)
)
_UNUSED_BITS, _UNIT = np.uint64(11), 2.0**-53


def key_of(text: str) -> int:
    """Return the key of a pair's name: 64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def keys_of(pairs: Sequence[tuple[str, str]]) -> Keys:
    """Return the keys of actions and channels, to be kept with a plan."""
    return np.array([key_of(f"{action}/{channel}") for action, channel in pairs], dtype=np.uint64)


def uniforms(seed: bytes, keys: Keys) -> Floats:
    """Return a number within (0, 1) for each key, which seed and key alone decide.

    The seed is hashed; keys are mixed with it as SplitMix64 does (Steele, Lea & Flood 2014, OOPSLA).
    """
    return as_uniforms(mixed_with(np.uint64(seed_number(seed)), keys))


def seed_number(seed: bytes) -> int:
    """Return a seed's 64 bits, as keys are mixed with."""
    return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big")


def mixed_with(seeds: Keys | np.uint64, keys: Keys) -> Keys:
    """Return 64 bits for each key and seed; seeds of any form that goes with that of the keys."""
    mixed: Keys = keys ^ seeds
    mixed *= _MULTIPLY
    mixed ^= mixed >> _SHIFT
    mixed *= _AGAIN
    mixed ^= mixed >> _LAST
    return mixed


def as_uniforms(mixed: Keys) -> Floats:
    """Return 64 bits as a number within (0, 1)."""
    found: Floats = (mixed >> _UNUSED_BITS).astype(np.float64)
    found += 0.5
    found *= _UNIT
    return found


def thompson(rates: Floats, evidence: Floats, seed: bytes, keys: Keys) -> Floats:
    """Return a draw of the probability of a yes for each pair.

    Args:
        rates: probabilities by pair.
        evidence: answers behind them.
        seed: the decision's, such as its id.
        keys: of the pairs, from `keys_of`.
    """
    return draws_at(rates, evidence, mixed_with(np.uint64(seed_number(seed)), keys))


def draws_at(rates: Floats, evidence: Floats, mixed: Keys) -> Floats:
    """Return draws of the probability of a yes at the 64 bits of `mixed_with`, in any matching form.

    One customer of many draws exactly as alone.
    """
    yes, no = _shape(rates, evidence)
    return beta_quantiles(yes, no, mixed)


def reach(positives: float) -> float:
    """Return the share of customers that an action with so many positives is open to.

    >>> reach(0), reach(100), reach(500)
    (0.02, 0.51, 1.0)
    """
    return min(OPEN_FROM + (1 - OPEN_FROM) * max(positives, 0.0) / OPEN_AT, 1.0)


def is_open(profile: int, action: str, positives: float) -> bool:
    """True if an action is open to a customer: by a hash of both, so who is in stays in as it opens."""
    return opens_at(profile, action) < reach(positives)


def opens_at(profile: int, action: str) -> float:
    """Return a customer's place within [0, 1) among those an action opens to."""
    return float(open_places(np.array([profile], dtype=np.int64), action)[0])


def open_places(profiles: npt.NDArray[np.int64], action: str) -> Floats:
    """Return the place of each customer (n,) within (0, 1) among those an action opens to."""
    return as_uniforms(mixed_with(np.uint64(key_of(f"opening {action}")), profiles.astype(np.uint64)))


def _shape(rates: Floats, evidence: Floats) -> tuple[Floats, Floats]:
    """Return the parameters of the Betas; rates of 0 and 1 and no evidence are taken as nearly so."""
    p = np.minimum(np.maximum(rates, _LEAST_SHARE), 1 - _LEAST_SHARE)
    answers = np.maximum(evidence, _LEAST_EVIDENCE)
    return p * answers, (1 - p) * answers
