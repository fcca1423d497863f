"""Everything compiled from one version of the definitions and one snapshot: what a request is served by.

A reload makes a new one and swaps it in; requests under way finish on the one they began with.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.instants import instant_of
from tilltal.customers.identity.corrections import Corrections, declared
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.customers.identity.rules import compile_rules
from tilltal.customers.live.profile import ProfileProgram
from tilltal.customers.live.program import Reference
from tilltal.decisions.live.decider import LiveDecider, Shown
from tilltal.decisions.live.reasons import grounds
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.words.en import WORDS
from tilltal.decisions.words.saying import Speaker
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.linking.verdicts import with_verdicts
from tilltal.runtime.live.answers.advice import Treatment
from tilltal.runtime.live.answers.archive import Origin, origin_of
from tilltal.runtime.live.answers.exploring import Exploring
from tilltal.runtime.live.answers.learning import Learning
from tilltal.runtime.live.answers.recalibrating import Recalibrating
from tilltal.runtime.live.contacting import LiveContacts
from tilltal.runtime.live.intake.collecting import Reception
from tilltal.runtime.live.intake.facts import FactReader
from tilltal.runtime.live.intake.incoming import Desk
from tilltal.runtime.live.places import files_of, made_by
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.sources.casts import Context
from tilltal.sources.online.contract import OnlineContract
from tilltal.sources.online.router import Router
from tilltal.workspace.workspace import Workspace


class InForce(msgspec.Struct, kw_only=True):
    """Definitions in force, compiled.

    While they are, only `learning` and `recalibrating` change, and `identity` when somebody decides against a
    link.
    """

    workspace: Workspace
    reception: Reception
    desk: Desk
    identity: OnlineIdentity
    program: ProfileProgram
    reader: FactReader
    decider: LiveDecider
    fallback: LiveDecider
    contacts: LiveContacts
    names: tuple[str, ...]
    living: tuple[str, ...]
    namespaces: frozenset[str]
    treatments: Mapping[tuple[str, str, str], Treatment]
    grounds: Mapping[str, tuple[str, ...]]
    editions: Mapping[str, str]
    origin: Origin
    origin_id: str
    lacks_models: bool
    learning: Learning
    exploring: Exploring
    recalibrating: Recalibrating

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
        if namespace not in self.namespaces:
            known = [one.name for one in self.workspace.identity.namespaces]
            raise TilltalError.of(
                "C110", f"There is no namespace {namespace!r}.", valid=nearest(namespace, known)
            )
        return self.desk.token(namespace, value)

    def learn_from(self, adaptive: Mapping[str, bytes], now: int) -> None:
        """Take up the stored states of all that learns anew."""
        self.learning = Learning(self.decider, adaptive, now)
        self.recalibrating = Recalibrating(
            self.decider, self.workspace.settings.server.recalibration, self.editions, adaptive
        )

    def catch_up(self, adaptive: Mapping[str, bytes]) -> None:
        """Take up what others taught the stored states meanwhile."""
        self.learning.catch_up(adaptive)
        self.recalibrating.catch_up(adaptive)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What decisions do without, as codes: a model that could not be used, lessons that were damaged."""
        models = ("model_missing",) if self.lacks_models else ()
        return (*models, "adaptive_damaged") if self.learning.damaged else models

    def language_of(self, row: Mapping[str, object]) -> str:
        """Return the language a customer reads, as far as an attribute `language` tells, else the first."""
        language = row.get("language")
        languages = self.workspace.settings.languages
        return language if isinstance(language, str) and language in languages else languages[0]

    def notes(self, shown: Shown, drawn_from: float | None = None, *, has_learned: bool) -> tuple[str, ...]:
        """Return what is to be said of a shown action beside its factors.

        Args:
            shown: the action.
            drawn_from: the probability that was known, if P was drawn to explore.
            has_learned: whether models gave P.
        """
        notes = self.grounds[shown.action]
        if shown.pair < 0:
            return notes
        if drawn_from is not None:
            notes = (*notes, WORDS.drawn.format(share=f"{shown.P:.1%}"))
        if has_learned:
            share = shown.P if drawn_from is None else drawn_from
            return (*notes, WORDS.learned.format(share=f"{share:.1%}"))
        return (*notes, WORDS.assumed)

    def effect(self, shown: Shown, model: str, values: Mapping[str, object]) -> tuple[str, ...]:
        """Say whether P is what a contact adds, of an action that asks an experiment: its model."""
        action = next(each for each in self.decider.plan.actions if each.name == shown.action)
        adds = action.effect(values.get(f"score.{model}")) is not None
        return Speaker().effect(action, adds=adds)


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
    plan = decision_plan(workspace, Clock(instant_of(now), workspace.zone))
    contacts = LiveContacts(workspace, plan, reference.rhythm)
    origin = origin_of(reference)
    program = ProfileProgram(workspace, reference, contacts.families)
    desk = Desk(workspace.identity, vault, instant_of(now).astimezone(workspace.zone).date())
    decider = LiveDecider(plan)
    return InForce(
        workspace=workspace,
        reception=Reception(_router(workspace), desk),
        desk=desk,
        identity=identity_of(workspace, vault),
        program=program,
        reader=FactReader(workspace),
        decider=decider,
        fallback=LiveDecider(fallback_of(plan, workspace)),
        contacts=contacts,
        names=_names(workspace, plan, program),
        living=tuple(sorted(plan.living & program.names.keys())),
        namespaces=frozenset(one.name for one in workspace.identity.namespaces),
        treatments=treatments_of(workspace),
        grounds={action.name: grounds(action) for action in plan.actions},
        editions=reference.editions,
        origin=origin,
        origin_id=origin.digest,
        lacks_models=any({action.model, action.uplift} & origin.missing.keys() for action in plan.actions),
        learning=Learning(decider, adaptive, now),
        exploring=Exploring(decider),
        recalibrating=Recalibrating(
            decider, workspace.settings.server.recalibration, reference.editions, adaptive
        ),
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


def treatments_of(workspace: Workspace) -> dict[tuple[str, str, str], Treatment]:
    """Return what is shown, by action, channel and language read: of what lacks that, the first there is."""
    languages, found = workspace.settings.languages, {}
    for action, treatments in workspace.treatments.items():
        made = {
            (channel, language): Treatment(
                channel=channel, language=language, content=msgspec.structs.asdict(one)
            )
            for (channel, language), one in treatments.items()
        }
        for channel in {channel for channel, _ in made}:
            for language in languages:
                there = [one for one in (language, *languages) if (channel, one) in made]
                if there:
                    found[action, channel, language] = made[channel, there[0]]
    return found


def identity_of(workspace: Workspace, vault: Vault) -> OnlineIdentity:
    """Return the rules of identity, with corrections declared and what was decided against links by now."""
    rules = compile_rules(workspace.identity)
    corrections: Corrections[int] = declared(workspace.identity.corrections, rules).translated(
        lambda identifier: vault.pseudonymiser.token(identifier.namespace, identifier.value)
    )
    return OnlineIdentity(rules, with_verdicts(files_of(workspace), corrections))


def _names(workspace: Workspace, plan: DecisionPlan, program: ProfileProgram) -> tuple[str, ...]:
    """Return the names a decision asks of a profile; counters come from elsewhere."""
    wanted = {*plan.names, "language"}
    return tuple(sorted(wanted & program.names.keys()))


def fallback_of(plan: DecisionPlan, workspace: Workspace) -> DecisionPlan:
    """Return the plan of mandatory actions and those declared as fallback."""
    kept = workspace.settings.server.fallback
    actions = tuple(one for one in plan.actions if one.definition.mandatory or one.name in kept)
    return msgspec.structs.replace(plan, actions=actions)
