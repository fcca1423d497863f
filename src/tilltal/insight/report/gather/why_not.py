"""Why customers do not get an action: where in the funnel each action ends, and by which rule."""

from __future__ import annotations

from collections import Counter

from tilltal.insight.report import words
from tilltal.insight.report.data import Loss, Losses, LossReason, WhyNot
from tilltal.insight.report.gather.tables import Tables
from tilltal.workspace.definitions.actions import Action, Condition

STEPS: tuple[Loss, ...] = (
    "eligibility",
    "applicability",
    "suitability",
    "contact_policy",
    "worth",
    "lost",
    "won",
)
_OF_ONE_ACTION, _OF_ALL = 3, 8
_FIXED = {
    "eligibility:not_started": "The action has not begun yet",
    "eligibility:expired": "The action has ended",
    "contact_policy:no_channel": "No wording for any channel",
    "contact_policy:quiet_hours": "Quiet hours",
    "invalid_propensity": "The probability is no probability",
    "invalid_value": "The value is no amount",
    "not_positive": "Nothing to gain",
    "below_nothing": "Saying nothing is worth more",
}
_CONTACT_RULES = {"cap": "Contact limit", "cooldown": "Left alone after an answer", "holdout": "Held out"}


def why_not(tables: Tables, actions: dict[str, Action], known: int) -> WhyNot | None:
    """Return what became of every action; None where the snapshot does not say."""
    if not tables.has("funnel") or not actions:
        return None
    won: dict[str, int] = dict(
        tables.rows("SELECT action, count(*) FROM decisions WHERE rank = 1 GROUP BY action")
    )
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in actions}
    for action, reason, customers in tables.rows("SELECT action, reason, customers FROM funnel ORDER BY ALL"):
        found.setdefault(action, []).append((reason, customers))
    losses = [_losses(name, actions.get(name), rows, won.get(name, 0)) for name, rows in found.items()]
    total: Counter[tuple[Loss, str]] = Counter()
    for name, rows in found.items():
        for reason in _reasons(actions.get(name), rows):
            total[reason.step, reason.words] += reason.customers
    return WhyNot(
        known=known,
        actions=tuple(sorted(losses, key=lambda each: (-dict(each.ends)["won"], each.title))),
        reasons=tuple(
            LossReason(step=step, words=text, customers=customers)
            for (step, text), customers in total.most_common(_OF_ALL)
        ),
    )


def step_of(reason: str) -> Loss:
    """Return the step of the funnel that a reason belongs to.

    >>> step_of("eligibility:adult"), step_of("not_positive"), step_of("")
    ('eligibility', 'worth', 'lost')
    """
    head = reason.partition(":")[0]
    for step in STEPS[:4]:
        if head == step:
            return step
    return "worth" if reason else "lost"


def in_words(reason: str, action: Action | None) -> str:
    """Say a reason as the rule that was not fulfilled."""
    if reason in _FIXED:
        return _FIXED[reason]
    step, _, rule = reason.partition(":")
    kind, _, detail = rule.partition(":")
    if step == "contact_policy" and kind == "no_consent":
        purpose, _, channel = detail.partition("/")
        return f"Consent for {words.inline(purpose)} by {words.channel(channel)}"
    if step == "contact_policy" and kind in _CONTACT_RULES:
        return f"{_CONTACT_RULES[kind]}: {words.inline(detail)}"
    condition = next((each for each in _conditions(action, step) if each.name == rule), None)
    return condition.description.rstrip(".") if condition and condition.description else words.name(rule)


def _losses(name: str, action: Action | None, rows: list[tuple[str, int]], won: int) -> Losses:
    ends: Counter[Loss] = Counter()
    for reason, customers in rows:
        ends[step_of(reason)] += customers
    ends["lost"] -= won
    ends["won"] = won
    reasons = sorted(_reasons(action, rows), key=lambda each: -each.customers)
    return Losses(
        title=action.title if action else name,
        ends=tuple((step, max(ends[step], 0)) for step in STEPS),
        reasons=tuple(reasons[:_OF_ONE_ACTION]),
    )


def _reasons(action: Action | None, rows: list[tuple[str, int]]) -> list[LossReason]:
    return [
        LossReason(step=step_of(reason), words=in_words(reason, action), customers=customers)
        for reason, customers in rows
        if reason
    ]


def _conditions(action: Action | None, step: str) -> tuple[Condition, ...]:
    if action is None:
        return ()
    return {
        "eligibility": action.eligibility,
        "applicability": action.applicability,
        "suitability": action.suitability,
    }.get(step, ())
