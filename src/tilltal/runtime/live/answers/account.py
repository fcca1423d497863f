"""What is told of a logged decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from tilltal.decisions.explanation import Chosen, NotChosen


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a shown action: a response, by its id."""

    id: str
    action: str
    kind: str
    channel: str
    at: datetime


class DecisionAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A logged decision, why each action was or was not chosen, and what came of it.

    Attributes:
        decision_id: as its answer told it.
        at: the instant of the decision.
        profile: the pseudonym; None for somebody not known.
        is_fallback: only mandatory and default actions were considered.
        definitions: the content hash of those that decided; `has_changed` says that others are in force now.
        is_proved: decided again by the definitions of then, it came out the same to the last byte.
        language: of the words.
        channel: that was asked for; None = any. `count`: of actions, None = as the policy says.
        context: what was known of the moment.
        snapshot: where scores came from, with the instant it is `as_of` and the editions of its `models`.
        known: the values that deciding read. `consents` and `contacts` are those of the contact policy: a
            consent, and what stood against contacts; what is missing is not given, or nothing.
        scores: what models said, by model.
        notes: what was missing when it was decided, and what this explanation lacks.
        chosen: what was shown, best first.
        not_chosen: every other action, nearest to being shown first.
        responses: in order of time.
    """

    decision_id: str
    at: datetime
    profile: str | None
    is_fallback: bool
    definitions: str
    is_known: bool = False
    has_changed: bool = False
    is_proved: bool = False
    language: str = "en"
    channel: str | None = None
    count: int | None = None
    context: dict[str, str | int | float | bool] = {}
    snapshot: str = ""
    as_of: str = ""
    models: dict[str, str] = {}
    known: dict[str, object] = {}
    consents: dict[str, object] = {}
    contacts: dict[str, object] = {}
    scores: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    not_chosen: tuple[NotChosen, ...] = ()
    responses: tuple[Came, ...] = ()


def scores_of(values: Mapping[str, object]) -> dict[str, float]:
    """Return the scores among a profile's values, by model."""
    return {
        name.removeprefix("score."): float(value)
        for name, value in values.items()
        if name.startswith("score.") and isinstance(value, int | float)
    }
