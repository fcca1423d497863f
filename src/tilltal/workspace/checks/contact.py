"""Checks when a customer may be contacted: `policies/contact.yaml` and `policies/consent.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tilltal.core.errors import Fault
from tilltal.core.time import parse_time_of_day
from tilltal.rules.types import Type
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.actions import of_actions
from tilltal.workspace.checks.scope import At, Path, Scope, read_span
from tilltal.workspace.definitions.contact import (
    OUTCOMES,
    PARTS,
    AppliesTo,
    Cap,
    Contact,
    CoolDown,
    QuietHours,
)
from tilltal.workspace.definitions.policies import Purpose


def check_contact(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `policies/contact.yaml`."""
    at, contact = At(scope.workspace, "policies/contact.yaml"), scope.workspace.contact
    yield from _events(scope, at, contact)
    if at.states("default_channel"):
        channels = scope.workspace.settings.channels
        yield from at.unknown("channel", contact.default_channel, channels, "default_channel")
    if at.states("reserve"):
        yield from at.all_known("channel", contact.reserve, scope.workspace.settings.channels, "reserve")
    yield from _named_once(at, "cap", "caps", [cap.name for cap in contact.caps])
    yield from _named_once(at, "cool-down", "cooldowns", [each.name for each in contact.cooldowns])
    yield from _named_once(at, "holdout", "holdouts", [each.name for each in contact.holdouts])
    for index, cap in enumerate(contact.caps):
        yield from _cap(scope, at, cap, index)
    for index, cooldown in enumerate(contact.cooldowns):
        yield from _cooldown(scope, at, cooldown, index)
    for index, quiet in enumerate(contact.quiet_hours):
        yield from _quiet_hours(scope, at, quiet, index)
    for index, holdout in enumerate(contact.holdouts):
        yield from _narrowed(scope, at, holdout.applies_to, "holdouts", index, "applies_to")
    yield from at.readable(contact.reservation_ttl, read_span, "reservation_ttl")
    for purpose in contact.priorities:
        yield from at.unknown("purpose", purpose, scope.workspace.consent.purposes, "priorities", purpose)
    yield from _text_of_profile(scope, at, contact.time_zone, "time_zone")


def check_consent(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `policies/consent.yaml`."""
    at, consent = At(scope.workspace, "policies/consent.yaml"), scope.workspace.consent
    for name, purpose in consent.purposes.items():
        yield from at.plain("purpose", name, "purposes", name)
        yield from _channels(scope, at, purpose, ("purposes", name))
    for place, purposes in consent.jurisdictions.items():
        for name, purpose in purposes.items():
            yield from at.unknown("purpose", name, consent.purposes, "jurisdictions", place, name)
            yield from _channels(scope, at, purpose, ("jurisdictions", place, name))
    if consent.jurisdictions and consent.jurisdiction is None:
        message = "`jurisdictions` needs `jurisdiction`: the name of the profile that tells them apart."
        yield at.key_fault("W121", message, "jurisdictions", hint="Add one, such as `jurisdiction: country`.")
    if consent.jurisdiction is not None and not consent.jurisdictions:
        message = "`jurisdiction` says nothing without `jurisdictions`."
        yield at.key_fault("W121", message, "jurisdiction", hint="Add them, or take it out.")
    yield from _text_of_profile(scope, at, consent.jurisdiction, "jurisdiction")


def _channels(scope: Scope, at: At, purpose: Purpose, path: Path) -> Iterator[Fault]:
    for channel in purpose.channels:
        known = scope.workspace.settings.channels
        yield from at.unknown("channel", channel, known, *path, "channels", channel)


def _events(scope: Scope, at: At, contact: Contact) -> Iterator[Fault]:
    yield from at.all_known("event type", contact.events, scope.events, "events")
    for index, event in enumerate(contact.events):
        yield from _countable(scope, at, event, "Contacts", "events", index)
    for event, kind in contact.outcomes.items():
        yield from at.unknown("event type", event, scope.events, "outcomes", event)
        yield from _countable(scope, at, event, "Outcomes", "outcomes", event)
        yield from at.plain("outcome", kind, "outcomes", event)


def _countable(scope: Scope, at: At, event: str, what: str, *path: str | int) -> Iterator[Fault]:
    """Yield a fault for each field that a contact is told by and this event type lacks."""
    fields = scope.events.get(event)
    for name in ("action", "channel"):
        if fields is None or may_define(at.workspace.faulty, "field", name):
            continue
        if fields.get(name) is not Type.TEXT:
            message = f"{what} are counted by action and channel; {event!r} has no text field {name!r}."
            yield at.fault("W130", message, *path, hint=f"Add a field {name!r} to its source.")


def _named_once(at: At, what: str, key: str, names: list[str]) -> Iterator[Fault]:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield at.fault("W133", f"Two {what}s are called {name!r}.", key)


def _cap(scope: Scope, at: At, cap: Cap, index: int) -> Iterator[Fault]:
    path = ("caps", index)
    yield from at.one_of({"rolling": cap.rolling, "calendar": cap.calendar}, *path)
    yield from at.readable(cap.rolling, read_span, *path, "rolling")
    yield from at.all_known("dimension", cap.each, PARTS, *path, "each")
    yield from _narrowed(scope, at, cap.applies_to, *path, "applies_to")
    if cap.keep is not None and cap.keep.slots > cap.limit:
        message = f"`slots` is {cap.keep.slots}, and there are only {cap.limit} to keep."
        yield at.fault("W114", message, *path, "keep", "slots")


def _cooldown(scope: Scope, at: At, cooldown: CoolDown, index: int) -> Iterator[Fault]:
    path, outcomes = ("cooldowns", index), (*OUTCOMES, *scope.workspace.contact.outcomes.values())
    yield from at.unknown("outcome", cooldown.outcome, outcomes, *path, "outcome")
    yield from at.readable(cooldown.for_, read_span, *path, "for")
    yield from at.readable(cooldown.within, read_span, *path, "within")
    yield from _narrowed(scope, at, cooldown.applies_to, *path, "applies_to")
    if cooldown.within is not None and cooldown.times == 1:
        message = "`within` says nothing where one outcome is enough."
        yield at.key_fault("W121", message, *path, "within", hint="Add `times`, or take it out.")


def _quiet_hours(scope: Scope, at: At, quiet: QuietHours, index: int) -> Iterator[Fault]:
    path = ("quiet_hours", index)
    yield from at.readable(quiet.from_, parse_time_of_day, *path, "from")
    yield from at.readable(quiet.to, parse_time_of_day, *path, "to")
    yield from _narrowed(scope, at, quiet.applies_to, *path, "applies_to")
    if quiet.from_ == quiet.to:
        yield at.fault("W135", "`from` and `to` are the same time, so no hour is quiet.", *path, "to")


def _narrowed(scope: Scope, at: At, applies: AppliesTo, *path: str | int) -> Iterator[Fault]:
    for key in PARTS:
        stated = getattr(applies, key)
        if isinstance(stated, str):
            yield from at.unknown(key, stated, of_actions(scope, key), *path, key)
        elif stated is not None:
            yield from _listed(at, key, stated, of_actions(scope, key), (*path, key))


def _listed(at: At, key: str, stated: tuple[str, ...], valid: Iterable[str], path: Path) -> Iterator[Fault]:
    if not stated:
        hint = "Name one, or take the key out."
        yield at.fault("W121", f"`{key}` needs at least one name.", *path, hint=hint)
    yield from at.all_known(key, stated, valid, *path)


def _text_of_profile(scope: Scope, at: At, name: str | None, key: str) -> Iterator[Fault]:
    """Yield a fault unless a profile has this name, and it is text."""
    if name is None:
        return
    yield from at.unknown("name", name, scope.profile, key)
    if scope.profile.get(name, Type.TEXT) not in (Type.TEXT, Type.ANY):
        texts = tuple(one for one, kind in scope.profile.items() if kind is Type.TEXT and "." not in one)
        yield at.fault("W134", f"{name!r} is no text.", key, valid=texts)
