"""What is said for a shown action: what held of the customer, and where its probability comes from."""

from __future__ import annotations

import msgspec

from tilltal.decisions.live.reasons import grounds
from tilltal.decisions.plan import ActionPlan, StageRule
from tilltal.rules.expression import parse
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action


def action(*rules: tuple[str, str], model: str | None = None, mandatory: bool = False) -> ActionPlan:
    condition = parse("a", {"a": Type.BOOLEAN})
    definition = msgspec.convert(
        {
            "title": "A", "group": "g", "issue": "i", "purpose": "p", "propensity": model or 0.1, "value": 1,
            "mandatory": mandatory,
        },
        Action,
    )  # fmt: skip
    made = (StageRule(reason=reason, description=words, condition=condition) for reason, words in rules)
    return ActionPlan(
        name="a", definition=definition, rules=tuple(made), channels=(), value=1.0, model=model,
        propensity=None if model else 0.1, starts=None, ends=None,
    )  # fmt: skip


def test_what_made_it_relevant_goes_before_what_allowed_it() -> None:
    rules = [
        ("eligibility:is_adult", "Of age."),
        ("applicability:needs_it", "Shows a need."),
        ("applicability:has_no_card", ""),
        ("suitability:calm", "Is calm."),
    ]
    assert grounds(action(*rules, model="buys")) == (
        "relevant now: Shows a need",
        "relevant now: has no card",
        "P is predicted by the model buys",
    )
    assert grounds(action(*rules[:1])) == ("may have it: Of age", "P is assumed, not predicted")


def test_an_action_for_everybody_says_at_least_where_its_probability_comes_from() -> None:
    assert grounds(action()) == ("P is assumed, not predicted",)
    assert grounds(action(mandatory=True))[0] == "mandatory: goes before all others"
