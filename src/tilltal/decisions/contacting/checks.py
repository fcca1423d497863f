"""What is asked of a contact: rules as *readings*, each a name with a value per customer, and how it passes.

A reading counts what stands against a contact: contacts in a cap's window, a silence, quiet hours, a holdout.
So one form serves the single decision, the fast one and SQL. Consent is the other way round: it must be TRUE,
and what is missing denies.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tilltal.customers.consents import consent_name
from tilltal.decisions.contacting.parts import Contact, applies
from tilltal.decisions.contacting.permission import is_free, is_plain
from tilltal.workspace.definitions.contact import Cap, CoolDown, Holdout
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent

READINGS = "contacts."  # how the names of readings begin; no name of a profile does
_CAPS = f"{READINGS}cap."


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One rule a contact must pass: a name, and how its value passes.

    For consent the value must be TRUE; else it is a count, which must be below `limit`. What explores asks in
    the same way but `is_of_policy` no more.
    """

    reason: str
    name: str
    limit: int | None = None
    is_of_policy: bool = True

    @property
    def why(self) -> str:
        """The reason with its stage, as arbitration has it."""
        return f"contact_policy:{self.reason}" if self.is_of_policy else self.reason

    def passes(self, value: object) -> bool:
        """True if a value of `name` lets the contact through; NULL never does, save for counts."""
        if self.limit is None:
            return value is True
        return (value if isinstance(value, int) else 0) < self.limit

    def sql(self, column: str) -> str:
        """Return the same as a SQL condition that is never NULL."""
        if self.limit is None:
            return f"COALESCE({column}, FALSE)"
        return f"COALESCE({column}, 0) < {self.limit}"


def checks(
    contact: Contact, terms: Terms, consent: Consent, quiet: tuple[Check, ...] | None = None
) -> tuple[Check, ...]:
    """Return what a contact must pass, in the order in which reasons are named.

    Consent, quiet hours, cool-downs, caps, each as configured. Holdouts come last, so that of whom they stop
    it is known that nothing else did. `quiet` stands for the quiet hours of now, if given.
    """
    return (*_consents(contact, consent), *limits(contact, terms, quiet))


def limits(contact: Contact, terms: Terms, quiet: tuple[Check, ...] | None = None) -> tuple[Check, ...]:
    """Return what a contact must pass beside consent; `quiet` as of `checks`."""
    if quiet is None:
        quiet = tuple(
            Check(reason="quiet_hours", name=quiet_name(number), limit=1)
            for number, rule in enumerate(terms.quiet_hours)
            if applies(rule.applies_to, contact)
        )
    silences = (
        Check(reason=f"cooldown:{rule.name}", name=name, limit=1)
        for rule in terms.cooldowns
        if (name := silence_name(rule, contact)) is not None
    )
    counts = (
        Check(reason=f"cap:{cap.name}", name=name, limit=cap.limit_for(contact.priority))
        for cap in terms.caps
        if (name := count_name(cap, contact)) is not None
    )
    holdouts = (
        Check(reason=f"holdout:{one.name}", name=holdout_name(one), limit=1)
        for one in terms.holdouts
        if applies(one.applies_to, contact)
    )
    return (*quiet, *silences, *counts, *holdouts)


def count_name(cap: Cap, contact: Contact) -> str | None:
    """Name the count of a cap for a contact: one per value of each part in `each`. None: not concerned."""
    values = [contact.part(part) for part in cap.each]
    if None in values or not applies(cap.applies_to, contact):
        return None
    return _name("cap", cap.name, values)


def is_cap(check: Check) -> bool:
    """True for the check of a cap: its reading counts contacts."""
    return check.name.startswith(_CAPS)


def silence_name(rule: CoolDown, contact: Contact) -> str | None:
    """Name the reading of a cool-down: one per value of its scope. None: the contact is not concerned."""
    values = [] if rule.scope == "all" else [contact.part(rule.scope)]
    if None in values or not applies(rule.applies_to, contact):
        return None
    return _name("cooldown", rule.name, values)


def quiet_name(number: int) -> str:
    """Name the reading of the policy's quiet hours of that number: 1 while they hold."""
    return _name("quiet", str(number), ())


def holdout_name(holdout: Holdout) -> str:
    """Name the reading of a holdout: 1 for whom it holds out."""
    return _name("holdout", holdout.name, ())


def permit_name(purpose: str, channel: str) -> str:
    """Name what says if a contact is permitted where the law may permit it without a consent."""
    return _name("permit", purpose, [channel])


def _consents(contact: Contact, consent: Consent) -> tuple[Check, ...]:
    purpose, channel = contact.purpose or "", contact.channel or ""
    if is_free(consent, purpose, channel):
        return ()
    is_simple = is_plain(consent, purpose, channel)
    name = consent_name(purpose, channel) if is_simple else permit_name(purpose, channel)
    return (Check(reason=no_consent(contact), name=name),)


def no_consent(contact: Contact) -> str:
    """Return the reason of a contact that nothing permits."""
    return f"no_consent:{contact.purpose}/{contact.channel}"


def _name(kind: str, rule: str, values: Iterable[str | None]) -> str:
    """Return a name. Columns know no case, so capitals are written as `^` and the small letter."""
    return READINGS + ".".join([kind, *(caseless(str(part)) for part in (rule, *values))])


def caseless(text: str) -> str:
    """Return a text as part of a name that tells capitals from small letters where columns do not."""
    return "".join(f"^{sign.lower()}" if sign in ".^" or sign != sign.lower() else sign for sign in text)
