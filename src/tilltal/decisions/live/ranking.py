"""The best of many options by floats, with exact decimals where floats are too near to tell.

A product of floats P × C × V × L is at most a few parts in 10¹⁵ of itself off, and so is a cost. What is left
of a product after its cost may be much smaller than both, and is still as far off as these are. Let n = p − k
be exact and m what floats make of it: u = 2⁻⁵³, six roundings for p, one for k, one for the difference. Then

    |m − n| ≤ 6u|p| + uk + u|m| ≤ 7u (|m| + k) = 7.8e-16 (|m| + k), for |p| ≤ |m| + k,

but for terms of u². `_FLOAT` is twice that. No option costs more than `dearest`, so m is at most
`_FLOAT` × (|m| + dearest) off; where nothing costs anything that is a share of m, as before.

Only options that could be among the best are looked at again. Where the ninth decimal is certain, the rounded
float orders as the exact priority would; elsewhere `exact` is asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

_FLOAT = 1.6e-15  # seven roundings of a part in 2⁵³ each, twice over
_PLACE = 1e9  # priorities have nine decimals
_SPARE = 4  # so many more than the slots are ordered at first where groups are limited
_NEAR = 2.0 / _PLACE  # two roundings, twice over
_LARGEST = 4e6  # up to here neighbouring floats are nearer than decimals of nine places

Option = int
Best = list[tuple[float, Option]]  # priorities of options, best first; to be rounded by `rounded`
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class Products(msgspec.Struct, frozen=True):
    """Options with P × C × V × L − cost of each as a float, and how to learn an option's exact priority.

    Of `width` actions in order of their names, an option's is its number modulo `width`. `is_extreme`: floats
    cannot be trusted. No option costs more than `dearest`.
    """

    options: Places
    floats: Floats
    width: int
    exact: Callable[[Option], Decimal]
    is_extreme: bool
    dearest: float = 0.0

    def rounded(self, found: Best) -> Best:
        """Return exact priorities, as the nearest floats, of options whose floats or priorities are near."""
        if self.is_extreme:
            return [(float(self.exact(option)), option) for _, option in found]
        dearest = self.dearest
        return [
            (nearest(near) if is_certain(near, dearest) else float(self.exact(option)), option)
            for near, option in found
        ]

    def only(self, marked: npt.NDArray[np.bool_]) -> Products:
        """Return those that are marked."""
        return Products(
            self.options[marked],
            self.floats[marked],
            self.width,
            self.exact,
            self.is_extreme,
            self.dearest,
        )


class Limit(NamedTuple):
    """At most `most` of a kind are shown; `kinds` holds the kind of each action, told apart from others'."""

    most: int
    kinds: Sequence[int]


class Floor(msgspec.Struct, frozen=True):
    """What an action must be worth to be shown: more than 0, or at least as much as saying nothing.

    What has a priority above `clear` is not refused. What is further than `margin` from `below` is on the
    side that its float says.
    """

    only_positive: bool = False
    below: float | None = None
    clear: float = -math.inf
    margin: float = 0.0

    def refuses(self, products: Products, priority: float, option: Option) -> bool:
        """True if an option of `best` is worth too little."""
        if self.only_positive and priority <= 0:
            return True
        if self.below is None:
            return False
        if abs(priority - self.below) > self.margin:
            return priority < self.below
        return products.exact(option) < Decimal(repr(self.below))


NO_FLOOR = Floor()


def floor_of(*, only_positive: bool, below: float | None, dearest: float = 0.0) -> Floor:
    """Return the floor that a policy sets, where no contact costs more than `dearest`."""
    borders = [0.0] if only_positive else []
    margin = 0.0 if below is None else _margin(below, dearest)
    if below is not None:
        borders.append(below + margin)
    return Floor(only_positive, below, max(borders, default=-math.inf), margin)


class Slots(msgspec.Struct, frozen=True):
    """How many are shown, of `width` actions, and of which kinds no more than so many."""

    count: int
    limits: tuple[Limit, ...]
    width: int

    def fill(self, taken: Best, products: Products, floor: Floor = NO_FLOOR) -> Best:
        """Return `taken` and the best of the options that have room after it and are worth it."""
        if not self.limits:
            return self._take(taken, products, best(products, self.count - len(taken)), floor)
        wanted = self.count + _SPARE
        found = self._take(taken, products, best(products, wanted), floor)
        if len(found) < self.count and wanted < len(products.options):
            found = self._take(taken, products, best(products, len(products.options)), floor)
        return found

    def _take(self, taken: Best, products: Products, ordered: Best, floor: Floor) -> Best:
        found, count, width, limits, clear = taken.copy(), self.count, self.width, self.limits, floor.clear
        held = [kinds[option % width] for _, option in found for _, kinds in limits]
        for pair in ordered:
            priority, option = pair
            if len(found) >= count or (priority <= clear and floor.refuses(products, priority, option)):
                break
            action = option % width
            for most, kinds in limits:
                if held.count(kinds[action]) >= most:
                    break
            else:
                found.append(pair)
                for _, kinds in limits:
                    held.append(kinds[action])
        return found


def best(products: Products, count: int) -> Best:
    """Return at least the `count` best options in order, or all: by priority, then by name."""
    options, floats, dearest = products.options, products.floats, products.dearest
    if products.is_extreme:
        return _exactly(products, options.tolist())
    order = floats.argsort()[::-1]
    if 0 < count < len(floats):
        last = floats.item(order.item(count - 1))
        least = last - _margin(last, dearest)
        is_clear = floats.item(order.item(count)) < least
        order = order[: count if is_clear else np.count_nonzero(floats >= least)]
    pairs = list(zip(floats[order].tolist(), options[order].tolist(), strict=True))
    if _are_apart(pairs, dearest):
        return pairs
    if not all(is_certain(product, dearest) for product, _ in pairs):
        return _exactly(products, [option for _, option in pairs])
    found = sorted((-nearest(product), option % products.width, option) for product, option in pairs)
    return [(-negative, option) for negative, _, option in found]


def is_certain(product: float, dearest: float = 0.0) -> bool:
    """True if rounding the float to nine decimals is rounding the exact number."""
    size = abs(product)
    if size >= _LARGEST:
        return False
    return abs(size * _PLACE % 1.0 - 0.5) > (size + dearest) * _PLACE * _FLOAT


def nearest(product: float) -> float:
    """Return what `round` makes of nine decimals of a certain product, sooner; 0 keeps its sign.

    The number of its billionths is whole and below 2⁵³, so that dividing it rounds once, as reading it does.
    """
    return math.floor(product * _PLACE + 0.5) / _PLACE or round(product, 9)


def _margin(product: float, dearest: float) -> float:
    """Return how far below a float another must be for its exact priority to be lower for certain.

    Each is off by `_FLOAT` × (|float| + dearest) at most, the third is for the lower one's size and for what
    this sum loses itself; and two priorities are rounded.
    """
    return _NEAR + 3 * _FLOAT * (abs(product) + dearest)


def _are_apart(pairs: Best, dearest: float) -> bool:
    """True if no rounding changes the descending order, or a sign: by the widest margin of all."""
    if not pairs:
        return True
    before, widest = math.inf, _margin(max(abs(pairs[0][0]), abs(pairs[-1][0])), dearest)
    for product, _ in pairs:
        if not (before - product > widest and (product > widest or product < -widest)):
            return False
        before = product
    return True


def _exactly(products: Products, options: Sequence[Option]) -> Best:
    priorities = {option: products.exact(option) for option in options}
    order = sorted(options, key=lambda option: (-priorities[option], option % products.width))
    return [(float(priorities[option]), option) for option in order]
