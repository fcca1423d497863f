"""Checks actions with their treatments, the policies and `kpis.yaml`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from tilltal.core.errors import Fault
from tilltal.core.time import parse_duration, parse_instant
from tilltal.rules.types import Type
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.definitions.actions import Action, Adaptive, Learned
from tilltal.workspace.definitions.policies import ActionScope, AppliesTo, Cap
from tilltal.workspace.names import Schema, event_fields

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
        yield from _times(at, action)
        yield from _conditions(at, action)
        folder = f"actions/{name}/"
        if not workspace.treatments.get(name) and not any(one.startswith(folder) for one in workspace.faulty):
            language = (*workspace.settings.languages, "en")[0]
            hint = f"Add a file such as {folder}email.{language}.yaml."
            yield at.fault("W138", f"The action {name!r} has no treatment.", hint=hint)
    yield from _treatments(scope)


def _adaptive(scope: Scope, at: At, adaptive: Adaptive) -> Iterator[Fault]:
    path = ("propensity", "adaptive")
    yield from at.all_known("name", adaptive.features, scope.profile, *path, "features")
    yield from at.readable(adaptive.wait, parse_duration, *path, "wait")
    yield from at.readable(adaptive.half_life, parse_duration, *path, "half_life")


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
    """Yield the faults of all files in `policies/`."""
    yield from _arbitration(scope)
    yield from _contact(scope)
    consent = At(scope.workspace, "policies/consent.yaml")
    for purpose in scope.workspace.consent.purposes:
        yield from consent.plain("purpose", purpose, "purposes", purpose)
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
            yield from at.unknown(key, name, _of_actions(scope, key), "levers", key, name)


def _contact(scope: Scope) -> Iterator[Fault]:
    at, contact = At(scope.workspace, "policies/contact.yaml"), scope.workspace.contact
    yield from at.all_known("event type", contact.events, scope.events, "events")
    for index, event in enumerate(contact.events):
        yield from _countable(at, event, scope.events.get(event), index)
    if at.states("default_channel"):
        channels = scope.workspace.settings.channels
        yield from at.unknown("channel", contact.default_channel, channels, "default_channel")
    for name, count in Counter(cap.name for cap in contact.caps).items():
        if count > 1:
            yield at.fault("W133", f"Two caps are called {name!r}.", "caps")
    for index, cap in enumerate(contact.caps):
        yield from _cap(scope, at, cap, index)


def _countable(at: At, event: str, fields: Schema | None, index: int) -> Iterator[Fault]:
    """Yield a fault for each field that a contact is counted by and this event type lacks."""
    for name in ("action", "channel"):
        if fields is None or may_define(at.workspace.faulty, "field", name):
            continue
        if fields.get(name) is not Type.TEXT:
            message = f"Contacts are counted by action and channel; {event!r} has no text field {name!r}."
            yield at.fault("W130", message, "events", index, hint=f"Add a field {name!r} to its source.")


def _cap(scope: Scope, at: At, cap: Cap, index: int) -> Iterator[Fault]:
    yield from at.one_of({"rolling": cap.rolling, "calendar": cap.calendar}, "caps", index)
    yield from at.readable(cap.rolling, parse_duration, "caps", index, "rolling")
    yield from at.all_known("dimension", cap.each, AppliesTo.__struct_fields__, "caps", index, "each")
    yield from _narrowed(scope, at, cap.applies_to, "caps", index, "applies_to")


def _narrowed(scope: Scope, at: At, applies: ActionScope, *path: str | int) -> Iterator[Fault]:
    for key in applies.__struct_fields__:
        name = getattr(applies, key)
        if name is not None:
            yield from at.unknown(key, name, _of_actions(scope, key), *path, key)


def _of_actions(scope: Scope, key: str) -> tuple[str, ...]:
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
