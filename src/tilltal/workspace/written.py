"""Every expression of a workspace, with where it is written and what it may name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.engagement import EngagementPolicy, Tiers
from tilltal.workspace.definitions.models import Model
from tilltal.workspace.definitions.segments import Lifecycle, Moments, Personas, Value
from tilltal.workspace.names import FAMILIES
from tilltal.workspace.workspace import Workspace

Path = tuple[str | int, ...]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An expression in a file.

    `owner` is the definition it belongs to, by the name other expressions use for it (`audience.vip`,
    `score.churn`, a trait's own name). `events` are the event types whose fields it may name; None means it
    is about the profile. `want` is the type it must have; None means any. `in_decision`: it may also name
    what is known only in a decision, the context and the history.
    """

    owner: str
    file: str
    path: Path
    text: str
    events: tuple[str, ...] | None = None
    want: Type | None = Type.BOOLEAN
    in_decision: bool = False


def expressions(workspace: Workspace) -> Iterator[Written]:
    """Yield every expression of the workspace, kind by kind."""
    yield from _traits(workspace)
    for name, audience in workspace.audiences.items():
        if audience.condition is not None:
            file = f"audiences/{name}.yaml"
            yield Written(owner=f"audience.{name}", file=file, path=("condition",), text=audience.condition)
    if workspace.lifecycle:
        yield from _lifecycle(workspace.lifecycle)
    if workspace.value:
        yield from _value(workspace.value)
    if workspace.personas:
        yield from _personas(workspace.personas)
    for name, model in workspace.models.items():
        yield from _model(name, model)
    for name, action in workspace.actions.items():
        yield from _action(name, action)
    yield from _engagement(workspace.engagement)


def _traits(workspace: Workspace) -> Iterator[Written]:
    for name, trait in workspace.traits.items():
        file = f"traits/{name}.yaml"
        if trait.where is not None:
            yield Written(owner=name, file=file, path=("where",), text=trait.where, events=trait.from_)
        if trait.expression is not None:
            yield Written(owner=name, file=file, path=("expression",), text=trait.expression, want=None)


def moments_of(lifecycle: Lifecycle) -> dict[str, Moments]:
    """Return the lifecycle's stated moments by their key."""
    moments = {
        "opened": lifecycle.opened,
        "closed": lifecycle.closed,
        "notice": lifecycle.notice,
        "notice_withdrawn": lifecycle.notice_withdrawn,
    }
    return {key: one for key, one in moments.items() if one is not None}


def _lifecycle(lifecycle: Lifecycle) -> Iterator[Written]:
    for key, moments in moments_of(lifecycle).items():
        if moments.where is not None:
            events = (*moments.events, *moments.first_event, *moments.silence)
            yield _of("lifecycle", "lifecycle.yaml", (key, "where"), moments.where, events=events)
    engagement = lifecycle.engagement
    if engagement and engagement.where is not None:
        path = ("engagement", "where")
        yield _of("lifecycle", "lifecycle.yaml", path, engagement.where, events=engagement.from_)


def _value(value: Value) -> Iterator[Written]:
    for key, axis in (("income", value.income), ("affinity", value.affinity)):
        yield _of("value", "value.yaml", (key, "value"), axis.value, want=Type.NUMBER)


def _personas(personas: Personas) -> Iterator[Written]:
    for family in FAMILIES:
        for name, feature in getattr(personas, family).items():
            path = (family, name, "value")
            yield _of("persona", "personas.yaml", path, feature.value, want=Type.NUMBER)
    if personas.population is not None:
        yield _of("persona", "personas.yaml", ("population",), personas.population)


def _model(name: str, model: Model) -> Iterator[Written]:
    owner, file = f"score.{name}", f"models/{name}.yaml"
    if model.outcome.where is not None:
        yield _of(owner, file, ("outcome", "where"), model.outcome.where, events=model.outcome.events)
    if model.eligible is not None:
        yield _of(owner, file, ("eligible",), model.eligible)
    if model.uplift is not None:
        for key, group in (("treated", model.uplift.treated), ("control", model.uplift.control)):
            if group.where is not None:
                yield _of(owner, file, ("uplift", key, "where"), group.where, events=group.events)


def _action(name: str, action: Action) -> Iterator[Written]:
    owner, file = f"action.{name}", f"actions/{name}/action.yaml"
    yield from _conditions(owner, file, (), action)
    if isinstance(action.value, str):
        path = ("value",)
        yield Written(
            owner=owner, file=file, path=path, text=action.value, want=Type.NUMBER, in_decision=True
        )


def tiers_of(engagement: EngagementPolicy) -> dict[Path, Tiers]:
    """Return the conditions that actions share, by where they are written."""
    return {
        ("all",): engagement.all_,
        **{("issues", name): tiers for name, tiers in engagement.issues.items()},
        **{("groups", name): tiers for name, tiers in engagement.groups.items()},
    }


def _engagement(engagement: EngagementPolicy) -> Iterator[Written]:
    """Yield the shared conditions; they belong to no definition of their own (see `graph.uses`)."""
    for path, tiers in tiers_of(engagement).items():
        yield from _conditions("", "policies/engagement.yaml", path, tiers)


def _conditions(owner: str, file: str, path: Path, level: Action | Tiers) -> Iterator[Written]:
    stages: dict[str, Sequence[Condition]] = {
        "eligibility": level.eligibility,
        "applicability": level.applicability,
        "suitability": level.suitability,
    }
    for stage, conditions in stages.items():
        for index, condition in enumerate(conditions):
            yield Written(
                owner=owner,
                file=file,
                path=(*path, stage, index, "when"),
                text=condition.when,
                in_decision=True,
            )


def _of(
    owner: str,
    file: str,
    path: Path,
    text: str,
    *,
    events: tuple[str, ...] | None = None,
    want: Type | None = Type.BOOLEAN,
) -> Written:
    return Written(owner=owner, file=file, path=path, text=text, events=events, want=want)
