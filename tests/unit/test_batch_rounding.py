"""Products that floats and decimals round to different sides: the batch finds them wherever they matter."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.time import parse_instant
from tilltal.decisions.arbitration import Candidate, arbitrate
from tilltal.decisions.batch import rank
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import Arbitration, Consent, Purpose

ZONE = ZoneInfo("Europe/Stockholm")
CLOCK = Clock(parse_instant("2026-05-04T12:00", ZONE), ZONE)
NAMES = ("a", "b", "c", "d", "e", "f")
ROWS = 1500
# products lie on or beside halves of the ninth decimal, and many are the same
PROPENSITIES = (0.1, 0.3, 0.5, 0.7, 0.15)
VALUES = (5e-9, 1.5e-8, 3e-8, 1e-8, 7e-9)


def plan(policy: Arbitration) -> DecisionPlan:
    actions = {
        name: Action(title=name, group="xy"[place % 2], purpose="any") for place, name in enumerate(NAMES)
    }
    consent = Consent(purposes={"any": Purpose(consent="not_required")})
    channels = dict.fromkeys(NAMES, ("email",))
    return plan_decisions(actions, channels, {}, Policies(arbitration=policy, consent=consent), CLOCK)


@pytest.mark.parametrize(
    "policy",
    [Arbitration(), Arbitration(slots=2), Arbitration(slots=2, max_per_group=1), Arbitration(slots=6)],
    ids=["one", "two", "two of two groups", "all"],
)
def test_the_batch_shows_what_exact_decimals_show(policy: Arbitration) -> None:
    rng, made = np.random.default_rng(3), plan(policy)
    propensity = rng.choice(PROPENSITIES, (ROWS, len(NAMES)))
    value = rng.choice(VALUES, (ROWS, len(NAMES)))
    columns = {"profile": np.arange(ROWS)}
    for place in range(len(NAMES)):
        columns |= {f"f{place}": np.zeros(ROWS, np.int16), f"h{place}": np.zeros(ROWS, np.int8)}
        columns |= {f"p{place}": propensity[:, place], f"v{place}": value[:, place]}
    shown = rank(made, pa.table(columns), {}).actions
    unlike_floats = 0
    for row in range(ROWS):
        candidates = [
            Candidate(
                action=name,
                group="xy"[place % 2],
                issue="sales",
                propensity=propensity[row, place],
                value=value[row, place],
            )
            for place, name in enumerate(NAMES)
        ]
        exact = [NAMES.index(each.action) for each in arbitrate(candidates, policy, {}).ranked]
        assert shown[row].tolist() == exact, row
        rounded = np.round(propensity[row] * value[row], 9)
        unlike_floats += int(np.argmax(rounded)) != exact[0]
    assert unlike_floats > 10, "the numbers are no trap"
