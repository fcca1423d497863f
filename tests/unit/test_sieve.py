"""What a sieve lets pass: everything that was added, and of the rest as little as theory says."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltal.engines.operational.sieve import Sieve

NAMES = st.binary(min_size=16, max_size=16) | st.binary(max_size=20)


def whole(expected: int = 0) -> Sieve:
    sieve = Sieve(expected)
    sieve.is_whole = True
    return sieve


@given(portions=st.lists(st.lists(NAMES, max_size=30), max_size=5))
def test_what_was_added_passes(portions: list[list[bytes]]) -> None:
    sieve = whole()
    for portion in portions:
        sieve.add(portion)
    names = [name for portion in portions for name in portion]
    assert list(sieve.passing(names)) == names
    assert sieve.count == len(names)


def test_until_it_is_whole_all_pass() -> None:
    sieve = Sieve()
    sieve.add([bytes(16)])
    assert list(sieve.passing([b"a" * 16, b"b" * 16])) == [b"a" * 16, b"b" * 16]
    assert list(sieve.passing([])) == []


@pytest.mark.parametrize("layers", [1, 2])
def test_of_new_ids_one_in_eighty_passes_where_layers_are_full(layers: int) -> None:
    rng = random.Random(7)
    sieve, room = whole(), (1 << 20) // 10
    sieve.add([rng.randbytes(16) for _ in range(room)])
    if layers == 2:  # twice as many, rounded up to a power of two: 2^21 bits
        sieve.add([rng.randbytes(16) for _ in range((1 << 21) // 10)])
    asked = [rng.randbytes(16) for _ in range(50_000)]
    share = (1 - math.exp(-4 / 10)) ** 4  # a bit is set with probability 1 - exp(-bits set / bits)
    least = 1 - (1 - share) ** layers
    bound = 5 * math.sqrt(least * (1 - least) / len(asked))
    assert len(sieve.passing(asked)) / len(asked) == pytest.approx(least, abs=bound)


def test_anew_has_room_for_as_many_in_one_layer() -> None:
    rng = random.Random(9)
    sieve, room = whole(), (1 << 20) // 10
    for _ in range(3):
        sieve.add([rng.randbytes(16) for _ in range(room)])
    again = sieve.anew()
    assert list(again.passing([bytes(16)])) == [bytes(16)]  # not yet whole
    again.is_whole = True
    again.add([rng.randbytes(16) for _ in range(3 * room)])
    asked = [rng.randbytes(16) for _ in range(20_000)]
    assert len(again.passing(asked)) < len(sieve.passing(asked)) / 2


def test_nothing_passes_an_empty_one() -> None:
    assert list(whole(1000).passing([bytes(16)])) == []
