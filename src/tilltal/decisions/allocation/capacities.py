"""The capacities of actions as resources of an allocation, beside those of `policies/allocation.yaml`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.allocation import Allocation, Resource, Use
from tilltal.workspace.definitions.contact import AppliesTo


def with_capacities(limits: Allocation, actions: Mapping[str, Action]) -> Allocation:
    """Return limits with a resource for each action that has a capacity: a run is one of its periods.

    Where a resource has its name already, `capacity of <action>`, that stays.
    """
    found = {
        f"capacity of {name}": Resource(
            limit=float(action.capacity.limit),
            unit="contact",
            uses=(Use(applies_to=AppliesTo(action=name)),),
        )
        for name, action in sorted(actions.items())
        if action.capacity is not None
    }
    return msgspec.structs.replace(limits, resources={**found, **limits.resources})
