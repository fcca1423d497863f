"""Audiences: live sets of customers under a condition, which may name other audiences.

An audience is the column `audience.<name>` of the profile: TRUE for members, FALSE for everyone else, also
where the condition is unknown. Lookalikes are made by `lookalikes` and are columns that conditions may
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.customers.derived import Derived, DerivedEvaluator, derived_sql
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.types import Type

PREFIX = "audience."


def compile_audiences(conditions: Mapping[str, str], schema: Mapping[str, Type]) -> tuple[Derived, ...]:
    """Compile audience name → condition; `schema` is the profile's, with or without the audiences themselves.

    Raises:
        WorkspaceError: with all faults of all conditions.
    """
    names = {**schema, **{PREFIX + name: Type.BOOLEAN for name in conditions}}
    faults: list[Fault] = []
    compiled: list[Derived] = []
    for name, condition in conditions.items():
        place = Place(file=f"audiences/{name}.yaml")
        try:
            expression = parse(condition, names, place=place, want=Type.BOOLEAN)
        except WorkspaceError as error:
            faults += error.faults
            continue
        compiled.append(Derived(name=PREFIX + name, expression=expression, is_condition=True))
    if faults:
        raise WorkspaceError(*faults)
    return tuple(compiled)


def audiences_sql(audiences: Iterable[Derived], relation: str, clock: Clock) -> str:
    """Return a `SELECT` of the profile relation with one more column per audience.

    Raises:
        WorkspaceError: W140 if audiences need each other.
    """
    return derived_sql(audiences, relation, clock)


class Membership:
    """Tells of one profile which audiences hold it.

    Raises:
        WorkspaceError: W140 if audiences need each other.
    """

    def __init__(self, audiences: Iterable[Derived]) -> None:
        held = tuple(audiences)
        self._names = tuple(audience.name for audience in held)
        self._evaluator = DerivedEvaluator(held)

    def of(self, profile: Mapping[str, object], clock: Clock) -> frozenset[str]:
        """Return the names, without prefix, of the audiences that hold a profile."""
        whole = self._evaluator.extended(profile, clock)
        return frozenset(name.removeprefix(PREFIX) for name in self._names if whole[name] is True)
