"""Why a logged decision came out as it did: it is decided again by the definitions of then, in full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from tilltal.core.ids import profile_text
from tilltal.core.instants import instant_of
from tilltal.core.operational import Answered, Decided, Reads
from tilltal.decisions.contacting.checks import READINGS
from tilltal.decisions.explanation import (
    Chosen,
    NotChosen,
    chosen_actions,
    other_actions,
    permitted,
    speaker_of,
    timed,
)
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.words.catalogue import Words
from tilltal.decisions.words.saying import Speaker, words_of
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.calibration import Platt
from tilltal.runtime.live.answers.account import Came, DecisionAccount, scores_of
from tilltal.runtime.live.answers.archive import Origin, origin_named
from tilltal.runtime.live.answers.deciding import Logged, Shortcut, read_logged
from tilltal.runtime.live.answers.library import Library
from tilltal.runtime.live.answers.replaying import Then, difference
from tilltal.runtime.live.history.decided import decisions_kept
from tilltal.runtime.live.history.keeping import Kept
from tilltal.runtime.live.history.keeping import find as find_kept
from tilltal.runtime.live.places import files_of
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace

_CUT: Mapping[Shortcut, Callable[[Words], str]] = {
    "late": lambda words: words.time_over,
    "error": lambda words: words.cut_short,
    "store": lambda words: words.not_logged,
}
_CONSENT, _SCORE = "consent.", "score."
_PORTION = 500
_One = TypeVar("_One", Chosen, NotChosen)


class Explainer:
    """Explains what an operational store and the files beside it hold."""

    def __init__(self, store: Reads) -> None:
        self._store = store
        self._library = Library(store)

    async def decision(self, force: Workspace, decision_id: str, language: str) -> DecisionAccount | None:
        """Return why each action was or was not chosen, and what came of it; None: no such decision.

        Args:
            force: the definitions in force now, which say where decisions lie.
            decision_id: as its answer told it.
            language: of the words, ISO 639-1.

        Raises:
            TilltalError: C129 if there are no words in that language.
        """
        words_of(language)
        try:
            key = bytes.fromhex(decision_id)
        except ValueError:
            return None
        kept = await _kept(self._store, files_of(force), key)
        return None if kept is None else await self._told(force, kept, language)

    async def latest(
        self, force: Workspace, profile: int, count: int, language: str
    ) -> list[DecisionAccount]:
        """Return a customer's latest decisions, explained, the latest first; else as `decision`."""
        found = await _latest(self._store, files_of(force), profile, count)
        told = [await self.decision(force, one.id.hex(), language) for one in found]
        return [one for one in told if one is not None]

    async def _told(self, force: Workspace, kept: Kept, language: str) -> DecisionAccount:
        logged, decided = read_logged(kept.decided.body), kept.decided
        then = await self._library.find(logged.definitions)
        origin = await origin_named(self._store, logged.origin)
        told = await asyncio.to_thread(_Told, logged, decided, origin, then, language)
        return DecisionAccount(
            decision_id=decided.id.hex(),
            at=instant_of(decided.at),
            profile=None if decided.profile is None else profile_text(decided.profile),
            is_known=logged.is_known,
            is_fallback=logged.is_fallback,
            definitions=logged.definitions,
            has_changed=logged.definitions != force.content_hash,
            is_proved=told.is_proved,
            language=language,
            channel=logged.channel,
            count=logged.count,
            context=logged.context,
            snapshot=origin.snapshot,
            as_of=origin.as_of,
            models=origin.models,
            known=_others(logged.values),
            consents=_under(logged.values, _CONSENT),
            contacts=_under(logged.values, READINGS),
            scores=scores_of(logged.values),
            notes=told.notes,
            chosen=told.chosen,
            not_chosen=told.not_chosen,
            responses=tuple(map(_came, kept.responses)),
        )


async def _latest(store: Reads, files: Store, profile: int, count: int) -> list[Decided]:
    """Return a profile's latest decisions, the latest first."""
    found: list[Decided] = []
    after = b""
    while portion := await store.decisions_after(after, _PORTION, profile):
        found = [*found, *portion][-count:]
        after = portion[-1].id
    if len(found) < count:
        older = await asyncio.to_thread(decisions_kept, files, profile)
        ids = {one.id for one in found}
        found = [*(one for one in older if one.id not in ids), *found][-count:]
    return found[::-1]


async def _kept(store: Reads, files: Store, key: bytes) -> Kept | None:
    """Return a decision and the responses to it, wherever they are by now."""
    decided = await store.decision(key)
    if decided is None:
        return await asyncio.to_thread(find_kept, files, key)
    return Kept(decided, tuple(await store.responses(key)))


class _Told:
    """What there is to say of a decision, in one language."""

    def __init__(
        self, logged: Logged, decided: Decided, origin: Origin, then: Then | None, language: str
    ) -> None:
        self._logged = logged
        self.is_proved = then is not None and difference(then, decided, logged) is None
        self._plan = None if then is None else then.decider(logged).plan
        self._speaker = Speaker(language) if self._plan is None else speaker_of(self._plan, language)
        self.chosen: tuple[Chosen, ...]
        self.not_chosen: tuple[NotChosen, ...]
        if then is not None and self._plan is not None and self.is_proved:
            again = then.decide(logged, decided.at).explain()
            has_learned = bool(logged.rates)
            voice = self._speaker
            chosen = chosen_actions(self._plan, again, {}, has_learned=has_learned, speaker=voice)
            self.chosen = tuple(self._completed(self._corrected(one, self._plan)) for one in chosen)
            self.not_chosen = tuple(
                self._corrected(one, self._plan) for one in other_actions(self._plan, again, voice)
            )
        else:
            self.chosen, self.not_chosen = tuple(map(self._completed, self._stored())), ()
        self.notes = tuple(self._notes(origin, is_found=then is not None))

    def _corrected(self, one: _One, plan: DecisionPlan) -> _One:
        """Return an action with what its model said, if answers corrected that."""
        action = next(each for each in plan.actions if each.name == one.action)
        score = self._logged.values.get(f"{_SCORE}{action.model}")
        line = self._logged.lines.get(action.model or "")
        added = (
            None
            if action.uplift is None
            else action.effect(self._logged.values.get(f"{_SCORE}{action.uplift}"))
        )
        if line is None or one.P is None or added is not None or not isinstance(score, int | float):
            return one
        before = action.probability(float(score))
        if not isinstance(one, Chosen):
            return msgspec.structs.replace(one, before=before)
        after = recalibrated(before, Platt(*line))
        said = self._speaker.words.corrected.format(before=f"{before:.1%}", after=f"{after:.1%}")
        return msgspec.structs.replace(one, before=before, because=(*one.because, said))

    def _completed(self, one: Chosen) -> Chosen:
        """Return an action with the moment that was chosen for it, if one was, and what permitted it."""
        pair = f"{one.action}/{one.channel}"
        return permitted(
            timed(one, self._logged.plans.get(pair), self._speaker), self._logged.permits.get(pair)
        )

    def _stored(self) -> tuple[Chosen, ...]:
        """Return what was stored of the shown actions."""
        return tuple(
            Chosen(
                rank=shown.rank,
                action=shown.action,
                title=self._speaker.title(shown.action),
                channel=shown.channel,
                priority=shown.priority,
                P=shown.P,
                C=shown.C,
                V=shown.V,
                L=shown.L,
                cost=shown.cost,
            )
            for shown in self._logged.shown
        )

    def _notes(self, origin: Origin, *, is_found: bool) -> list[str]:
        """Say what was missing when it was decided, and what is missing now."""
        words, logged = self._speaker.words, self._logged
        actions = () if self._plan is None else self._plan.actions
        used = {model for action in actions for model in (action.model, action.uplift)}
        found = [] if logged.shortcut is None else [_CUT[logged.shortcut](words)]
        found += [] if logged.is_known or logged.is_fallback else [words.nobody_known]
        found += [
            self._speaker.lacking(name, reason) for name, reason in origin.missing.items() if name in used
        ]
        found += [words.adaptive_damaged.format(model=name) for name in logged.damaged]
        if not is_found:
            found.append(words.definitions_lost)
        elif not self.is_proved:
            found.append(words.came_out_otherwise)
        return found


def _under(values: Mapping[str, object], beginning: str) -> dict[str, object]:
    return {name: value for name, value in values.items() if name.startswith(beginning)}


def _others(values: Mapping[str, object]) -> dict[str, object]:
    beginnings = (_CONSENT, READINGS, _SCORE)
    return {name: value for name, value in values.items() if not name.startswith(beginnings)}


def _came(one: Answered) -> Came:
    return Came(
        id=one.id.decode(errors="replace"),
        action=one.action,
        kind=one.kind,
        channel=one.channel,
        at=instant_of(one.at),
    )
