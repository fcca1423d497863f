"""Who writes by which definitions."""

from __future__ import annotations

from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.intake.applying import Applier


def applier_of(force: InForce, past: Past, *, is_making: bool = False) -> Applier:
    """Return who writes by definitions; `is_making`: over customers in the making."""
    return Applier(
        force.program,
        force.identity,
        force.reader,
        force.people,
        past.rows_of,
        force.made_by,
        is_making=is_making,
    )
