"""What is to be allocated: values of options, what each contact uses, and the limits."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """Something contacts use up: hours, messages, money.

    `use` is what one contact takes, in the resource's own unit, per option (m,) or per customer and option
    (n, m); 0 where an option does not touch it. `limit` is in the same unit.
    """

    name: str
    limit: float
    use: Floats


class Minimum(msgspec.Struct, frozen=True, kw_only=True):
    """At least `at_least` customers must get one of the `options` (m flags)."""

    name: str
    at_least: int
    options: Bools


class Households(msgspec.Struct, frozen=True, kw_only=True):
    """Customers with the same number in `ids` (n,) get at most `limit` contacts together; negative: alone."""

    ids: Ints
    limit: int = 1


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """n customers, m options, and what limits them. Each customer gets one option at most.

    Saying nothing is worth 0, so an option of negative value is chosen for a minimum only. Among equals the
    earlier customer, then the earlier option goes first; give both in order of their names.

    `values` (n, m) are in units of money; NaN or -inf where a customer is not eligible. Options that are
    `mandatory` (m flags) go first to whoever is eligible, under the same limits.

    Raises:
        ValueError: if shapes differ, a value is +inf, or a use or limit is negative or not finite.
    """

    options: tuple[str, ...]
    values: Floats
    resources: tuple[Resource, ...] = ()
    minimums: tuple[Minimum, ...] = ()
    households: Households | None = None
    mandatory: Bools | None = None

    @property
    def mandatory_flags(self) -> Bools:
        """Return which options are mandatory (m,)."""
        return np.zeros(len(self.options), dtype=bool) if self.mandatory is None else self.mandatory

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        shape = self.values.shape
        if len(shape) != 2 or shape[1] != len(self.options):
            raise ValueError(f"values of shape {shape} do not fit {len(self.options)} options")
        if shape[0] and shape[1] and np.fmax.reduce(self.values, axis=None) == np.inf:
            raise ValueError("a value is infinite")
        for resource in self.resources:
            _check_resource(resource, shape)
        for minimum in self.minimums:
            if minimum.options.shape != shape[1:] or minimum.at_least < 0:
                raise ValueError(f"the minimum {minimum.name} does not fit")
        if self.households and (self.households.ids.shape != shape[:1] or self.households.limit < 1):
            raise ValueError("households need an id for every customer and a limit of 1 or more")
        if self.mandatory is not None and self.mandatory.shape != shape[1:]:
            raise ValueError("mandatory needs a flag for every option")


def _check_resource(resource: Resource, shape: tuple[int, ...]) -> None:
    if resource.use.shape not in (shape, shape[1:]):
        raise ValueError(f"use of shape {resource.use.shape} of {resource.name} does not fit {shape}")
    if not np.isfinite(resource.limit) or resource.limit < 0:
        raise ValueError(f"the limit of {resource.name} is {resource.limit}")
    if resource.use.size and not (resource.use.min() >= 0 and np.isfinite(resource.use.max())):
        raise ValueError(f"a use of {resource.name} is negative or not finite")
