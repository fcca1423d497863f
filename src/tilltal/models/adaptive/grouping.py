"""Groups of bins that follow the data: so coarse that each holds enough answers to say something.

Fine bins are counted; what is weighed are groups of them, made anew from the counts. Neighbours join until a
group holds its least share; commonest texts stand alone and the rest together (adaptive binning by
granularity and minimum share of cases, as decisioning suites document it).
"""

from __future__ import annotations

from collections.abc import Sequence

_SHARE = 0.05  # of all answers
_FEWEST = 50.0  # answers
_OF_EACH = 3.0  # yes and no, to be expected at the rate of all

SILENT = -1
"""The group of bins that hold too few answers together to say anything."""


def least_mass(yes: float, no: float) -> float:
    """Return how many answers a group must hold, of so many in all.

    >>> least_mass(10, 990), least_mass(5_000, 5_000)
    (273.27272727272725, 500.0)
    """
    rarer = (min(yes, no) + 1) / (yes + no + 2)
    return max(_SHARE * (yes + no), _OF_EACH / rarer, _FEWEST)


def neighbours(mass: Sequence[float], least: float, first: int = 0) -> tuple[list[int], int]:
    """Return the group of each bin of an order, counted from `first`, and the number of the next group.

    What remains at the end joins the last group; where there is none, it is silent.

    >>> neighbours([30, 30, 30, 10, 0], 50)
    ([0, 0, 0, 0, 0], 1)
    >>> neighbours([60, 30, 30, 10, 0], 50)
    ([0, 1, 1, 1, 1], 2)
    """
    places, group, held = [], first, 0.0
    for each in mass:
        places.append(group)
        held += each
        if held >= least:
            group, held = group + 1, 0.0
    last = group - 1 if group > first else SILENT
    return [last if place == group else place for place in places], group


def commonest(mass: Sequence[float], least: float, first: int = 0) -> tuple[list[int], int]:
    """Return the group of each bin without order, counted from `first`, and the number of the next group.

    >>> commonest([60, 30, 30, 70, 0], 50)
    ([0, 2, 2, 1, 2], 3)
    >>> commonest([60, 30, 70, 0], 50)
    ([0, -1, 1, -1], 2)
    """
    places, group, rest = [], first, 0.0
    for each in mass:
        if each >= least:
            places.append(group)
            group += 1
        else:
            places.append(SILENT)
            rest += each
    if rest < least:
        return places, group
    return [group if place == SILENT else place for place in places], group + 1


def grouped(mass: Sequence[float], least: float, *, is_ordered: bool) -> tuple[list[int], int]:
    """Return the group of each bin of a predictor, and how many groups; bin 0 is NULL and stands alone."""
    alone, first = commonest(mass[:1], least)
    rest, size = (neighbours if is_ordered else commonest)(mass[1:], least, first)
    return [*alone, *rest], size
