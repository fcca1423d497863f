"""Checks actions with their treatments, the policies and `kpis.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from tilltal.core.errors import Fault
from tilltal.core.time import parse_duration, parse_instant
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.scope import At, Scope, read_span
from tilltal.workspace.decision_names import kinds_of
from tilltal.workspace.definitions.actions import Action, Adaptive, Learned
from tilltal.workspace.definitions.policies import ActionScope, Influencer
from tilltal.workspace.names import event_fields

_UTC = ZoneInfo("UTC")
_STAGES = ("eligibility", "applicability", "suitability")


def check_actions(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all actions and treatments."""
    workspace = scope.workspace
    for name, action in workspace.actions.items():
        at = At(workspace, f"actions/{name}/action.yaml")
        yield from at.unknown("purpose", action.purpose, workspace.consent.purposes, "purpose")
        if isinstance(action.propensity, str):
            yield from at.unknown("model", action.propensity, workspace.models, "propensity")
        elif isinstance(action.propensity, Learned):
            yield from _adaptive(scope, at, action.propensity.adaptive)
        elif action.propensity is not None and not 0 <= action.propensity <= 1:
            yield at.fault("W114", "A probability lies between 0 and 1.", "propensity")
        yield from _uplift(scope, at, action)
        yield from _times(at, action)
        yield from _conditions(at, action)
        folder = f"actions/{name}/"
        if not workspace.treatments.get(name) and not any(one.startswith(folder) for one in workspace.faulty):
            language = (*workspace.settings.languages, "en")[0]
            hint = f"Add a file such as {folder}email.{language}.yaml."
            yield at.fault("W138", f"The action {name!r} has no treatment.", hint=hint)
    yield from _treatments(scope)


def _uplift(scope: Scope, at: At, action: Action) -> Iterator[Fault]:
    if action.uplift is None:
        return
    models = scope.workspace.models
    yield from at.unknown("model", action.uplift, models, "uplift")
    if action.uplift in models and models[action.uplift].uplift is None:
        message = f"The model {action.uplift!r} learns who says yes, not what a contact adds."
        yield at.fault("W121", message, "uplift", hint="Name a model with `uplift`, or make it `propensity`.")
    if isinstance(action.propensity, Learned):
        message = "What is learned of answers and what an experiment says a contact adds cannot both be P."
        yield at.fault("W121", message, "uplift", hint="Give a model or a probability as `propensity`.")


def _adaptive(scope: Scope, at: At, adaptive: Adaptive) -> Iterator[Fault]:
    path = ("propensity", "adaptive")
    yield from at.all_known("name", adaptive.features, scope.decision, *path, "features")
    yield from at.readable(adaptive.wait, parse_duration, *path, "wait")
    yield from at.readable(adaptive.half_life, parse_duration, *path, "half_life")
    if adaptive.challenger is not None and adaptive.challenger.method == adaptive.method:
        message = f"The challenger learns by {adaptive.method!r}, as the champion does."
        yield at.fault("W133", message, *path, "challenger", "method", hint="Name another method.")


def _times(at: At, action: Action) -> Iterator[Fault]:
    instants = []
    for key in ("starts", "ends"):
        text = getattr(action, key)
        if text is None:
            continue
        try:
            instants.append(parse_instant(text, _UTC))
        except (ValueError, OverflowError):
            message = f"{text!r} is no instant; write one such as '2026-05-04T06:00:00Z'."
            yield at.fault("W122", message, key)
    if len(instants) == 2 and instants[0] >= instants[1]:
        yield at.fault("W135", "`starts` is not before `ends`.", "starts")


def _conditions(at: At, action: Action) -> Iterator[Fault]:
    for stage in _STAGES:
        seen: set[str] = set()
        for index, condition in enumerate(getattr(action, stage)):
            if condition.name in seen:
                message = f"{stage.capitalize()} has a condition {condition.name!r} already."
                yield at.fault("W133", message, stage, index, "name")
            seen.add(condition.name)


def _treatments(scope: Scope) -> Iterator[Fault]:
    settings = scope.workspace.settings
    for name, treatments in scope.workspace.treatments.items():
        for channel, language in treatments:
            at = At(scope.workspace, f"actions/{name}/{channel}.{language}.yaml")
            yield from at.unknown("channel", channel, settings.channels)
            yield from at.unknown("language", language, settings.languages)


def check_policies(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of arbitration and data use."""
    yield from _arbitration(scope)
    data_use = At(scope.workspace, "policies/data_use.yaml")
    purposes = scope.workspace.consent.purposes
    for label, forbidden in scope.workspace.data_use.forbid.items():
        yield from data_use.all_known("purpose", forbidden, purposes, "forbid", label)


def _arbitration(scope: Scope) -> Iterator[Fault]:
    at, arbitration = At(scope.workspace, "policies/arbitration.yaml"), scope.workspace.arbitration
    for index, rule in enumerate(arbitration.context_rules):
        yield from _narrowed(scope, at, rule.applies_to, "context_rules", index, "applies_to")
    for key in ("action", "group", "issue"):
        for name in getattr(arbitration.levers, key):
            yield from at.unknown(key, name, of_actions(scope, key), "levers", key, name)
    for channel in arbitration.costs:
        yield from at.unknown("channel", channel, scope.workspace.settings.channels, "costs", channel)
    for index, influencer in enumerate(arbitration.influencers):
        yield from _influencer(scope, at, influencer, index)


def _influencer(scope: Scope, at: At, influencer: Influencer, index: int) -> Iterator[Fault]:
    path = ("influencers", index)
    yield from at.unknown("outcome", influencer.on, kinds_of(scope.workspace.contact), *path, "on")
    yield from at.readable(influencer.half_life, read_span, *path, "half_life")
    yield from _narrowed(scope, at, influencer.applies_to, *path, "applies_to")


def _narrowed(scope: Scope, at: At, applies: ActionScope, *path: str | int) -> Iterator[Fault]:
    for key in applies.__struct_fields__:
        name = getattr(applies, key)
        if name is not None:
            yield from at.unknown(key, name, of_actions(scope, key), *path, key)


def of_actions(scope: Scope, key: str) -> tuple[str, ...]:
    """Return what an action can have as its `key`: the names a policy may narrow by."""
    workspace = scope.workspace
    if key == "action":
        return tuple(workspace.actions)
    if key == "channel":
        return workspace.settings.channels
    if key == "purpose":
        return tuple(workspace.consent.purposes)
    return tuple(sorted({getattr(action, key) for action in workspace.actions.values()}))


def check_kpis(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `kpis.yaml`."""
    at, kpis = At(scope.workspace, "kpis.yaml"), scope.workspace.kpis
    yield from at.all_known("event type", kpis.active, scope.events, "active")
    yield from at.all_known("event type", kpis.sales, scope.events, "sales")
    if at.states("by"):
        yield from at.all_known("name", kpis.by, scope.profile, "by")
    if kpis.income is None:
        return
    event, field = kpis.income
    yield from at.unknown("event type", event, scope.events, "income", 0)
    fields = event_fields(scope.workspace).get(event, {})
    money = [name for name, kind in fields.items() if kind == "money"]
    if fields and field not in money and not may_define(scope.workspace.faulty, "field", field):
        yield at.fault("W134", f"{field!r} is no money field of {event!r}.", "income", 1, valid=money)
