"""Everything compiled from one version of the definitions and one snapshot: what a request is served by.

A reload makes a new one and swaps it in; requests under way finish on the one they began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.time import Unit, Window, parse_duration
from tilltal.customers.identity.corrections import Corrections, declared
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.customers.identity.rules import compile_rules
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.customers.live.program import Reference
from tilltal.customers.live.traits.families import Family
from tilltal.decisions.contact_counts import ContactCounts, PastContact
from tilltal.decisions.live.decider import LiveDecider, Shown
from tilltal.decisions.plan import DecisionPlan
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.linking.verdicts import with_verdicts
from tilltal.runtime.live.answers.learning import Learning
from tilltal.runtime.live.instants import moment
from tilltal.runtime.live.intake.collecting import Reception
from tilltal.runtime.live.intake.facts import FactReader
from tilltal.runtime.live.intake.incoming import Desk
from tilltal.runtime.live.places import files_of, made_by
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.sources.casts import Context
from tilltal.sources.online.contract import OnlineContract
from tilltal.sources.online.router import Router
from tilltal.workspace.definitions.policies import Cap
from tilltal.workspace.workspace import Workspace


class InForce(msgspec.Struct, kw_only=True):
    """Definitions in force, compiled. Only `learning` changes while they are."""

    workspace: Workspace
    reception: Reception
    desk: Desk
    identity: OnlineIdentity
    program: ProfileProgram
    reader: FactReader
    decider: LiveDecider
    fallback: LiveDecider
    counts: ContactCounts | None
    contacts: Family | None
    names: tuple[str, ...]
    learning: Learning

    @property
    def version(self) -> str:
        """What decisions are logged with: the content hash of the definitions."""
        return self.workspace.content_hash

    @property
    def made_by(self) -> bytes:
        """What customers must have been made by to be served by these definitions."""
        return made_by(self.program, self.workspace.identity)

    @property
    def people(self) -> frozenset[str]:
        """The namespaces whose identifiers are people's."""
        return frozenset(one.name for one in self.workspace.identity.namespaces if one.kind == "person")

    def token(self, namespace: str, value: str) -> int | None:
        """Return the token of an identifier; None if it says nobody.

        Raises:
            TilltalError: C110 for an unknown namespace.
        """
        known = [one.name for one in self.workspace.identity.namespaces]
        if namespace not in known:
            raise TilltalError.of(
                "C110", f"There is no namespace {namespace!r}.", valid=nearest(namespace, known)
            )
        return self.desk.token(namespace, value)

    def learn_from(self, adaptive: Mapping[str, bytes], now: int) -> None:
        """Take up the stored states of the adaptive models anew."""
        self.learning = Learning(self.decider, adaptive, now)

    def past_contacts(self, state: ProfileState) -> list[PastContact]:
        """Return the contacts that a customer had, as far back as a cap looks."""
        if self.contacts is None:
            return []
        return [
            PastContact(moment(one.at), *map(_text, one.fields))
            for one in self.program.occurrences(state, self.contacts)
        ]

    def language_of(self, row: Mapping[str, object]) -> str:
        """Return the language a customer reads, as far as an attribute `language` tells, else the first."""
        language = row.get("language")
        languages = self.workspace.settings.languages
        return language if isinstance(language, str) and language in languages else languages[0]

    def notes(self, shown: Shown, *, has_learned: bool) -> tuple[str, ...]:
        """Return what is to be said of a shown action beside its factors, whether models gave P or not."""
        definition = self.workspace.actions[shown.action]
        notes = ("mandatory: goes before all others",) if definition.mandatory else ()
        if has_learned and shown.pair >= 0:
            return (*notes, f"{shown.P:.1%} of such customers say yes, as learned from answers so far")
        return notes


def in_force(
    workspace: Workspace,
    reference: Reference,
    vault: Vault,
    adaptive: Mapping[str, bytes],
    now: int,
) -> InForce:
    """Compile definitions that passed their check.

    Args:
        workspace: the definitions.
        reference: what comes of the last snapshot.
        vault: makes pseudonyms.
        adaptive: stored states of adaptive models.
        now: the instant, in microseconds.

    Raises:
        WorkspaceError: with the faults of expressions.
    """
    plan = decision_plan(workspace, Clock(moment(now), workspace.zone))
    contacts = _contact_family(workspace)
    program = ProfileProgram(workspace, reference, [] if contacts is None else [contacts])
    desk = Desk(workspace.identity, vault, moment(now).astimezone(workspace.zone).date())
    decider = LiveDecider(plan)
    return InForce(
        workspace=workspace,
        reception=Reception(_router(workspace), desk),
        desk=desk,
        identity=_identity(workspace, vault),
        program=program,
        reader=FactReader(workspace),
        decider=decider,
        fallback=LiveDecider(_only(plan, workspace)),
        counts=_counts(workspace, plan),
        contacts=contacts,
        names=_names(workspace, plan, program),
        learning=Learning(decider, adaptive, now),
    )


def _router(workspace: Workspace) -> Router:
    context = Context(currency=workspace.currency, zone=workspace.zone)
    return Router(
        [
            OnlineContract(name, source, context, workspace.identity)
            for name, source in sorted(workspace.sources.items())
            if source.read.collector
        ]
    )


def _identity(workspace: Workspace, vault: Vault) -> OnlineIdentity:
    rules = compile_rules(workspace.identity)
    corrections: Corrections[int] = declared(workspace.identity.corrections, rules).translated(
        lambda identifier: vault.pseudonymiser.token(identifier.namespace, identifier.value)
    )
    return OnlineIdentity(rules, with_verdicts(files_of(workspace), corrections))


def _names(workspace: Workspace, plan: DecisionPlan, program: ProfileProgram) -> tuple[str, ...]:
    """Return the names a decision asks of a profile; counters come from elsewhere."""
    wanted = {*plan.names, "language"}
    return tuple(sorted(wanted & program.names.keys()))


def _only(plan: DecisionPlan, workspace: Workspace) -> DecisionPlan:
    """Return the plan of mandatory actions and those declared as fallback."""
    kept = workspace.settings.server.fallback
    actions = tuple(one for one in plan.actions if one.definition.mandatory or one.name in kept)
    return msgspec.structs.replace(plan, actions=actions)


def _counts(workspace: Workspace, plan: DecisionPlan) -> ContactCounts | None:
    caps = workspace.contact.caps
    return ContactCounts(plan.contacts, caps, workspace.actions) if caps else None


def _contact_family(workspace: Workspace) -> Family | None:
    """Return what must be remembered of past contacts for the caps, or None where nothing caps them."""
    contact = workspace.contact
    if not contact.caps or not contact.events:
        return None
    days = max(map(_days, contact.caps))
    return Family(
        types=tuple(sorted(contact.events)),
        windows=(Window(days, Unit.DAYS),),
        is_whole=True,
        fields=("action", "channel"),
    )


def _days(cap: Cap) -> int:
    """Return how many local days back a cap may look, today included."""
    if cap.rolling is None:
        return 31
    return parse_duration(cap.rolling) // timedelta(days=1) + 2


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
