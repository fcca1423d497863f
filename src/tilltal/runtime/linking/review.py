"""What a person does with pairs: look, accept, reject, undo.

Each takes effect with the next refresh, and within seconds for customers whom a server keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.identity.linking.levels import level, level_names
from tilltal.runtime.intake.ingest import open_vault, store_of
from tilltal.runtime.linking.queue import Case, case
from tilltal.runtime.linking.records import plan_of, read_told
from tilltal.runtime.linking.run import load_weights, reading
from tilltal.runtime.linking.verdicts import Verdict, keep_evidence, keep_verdicts
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace


class FieldSight(msgspec.Struct, frozen=True, kw_only=True):
    """A compared field of both records in clear, how well they agree, and what that is worth in bits."""

    field: str
    a: str | None
    b: str | None
    agreement: str
    weight: float


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """A pair as a person sees it. Personal data: to be shown, never kept."""

    case: Case
    fields: tuple[FieldSight, ...]


def show(workspace: Workspace, name: str) -> Sight:
    """Return both records of a pair, as the vault and history now know them.

    Raises:
        DataError: P374 without `linking`, P375 if there is no such pair, P376 for damaged weights.
        EngineError: E504 while another command writes.
    """
    plan, store = plan_of(workspace), store_of(workspace)
    found = case(store, name)
    with store.lock(), open_vault(workspace) as vault, reading(workspace, store) as engine:
        told = read_told(engine, workspace, vault, (found.a, found.b))
    one, other = told.get(found.a, {}), told.get(found.b, {})
    weights = load_weights(store)
    is_known = weights is not None and weights.content == plan.content
    fields = []
    for place, (field, a, b) in enumerate(
        zip(plan.fields, plan.values(one), plan.values(other), strict=True)
    ):
        agreement, weight = "missing", 0.0
        if a is not None and b is not None:
            number = level(field.kind, a, b)
            agreement = level_names(field.kind)[number]
            weight = weights.fields[place].weights[number] if weights is not None and is_known else 0.0
        fields.append(
            FieldSight(
                field=field.name,
                a=one.get(field.name),
                b=other.get(field.name),
                agreement=agreement,
                weight=weight,
            )
        )
    return Sight(case=found, fields=tuple(fields))


def accept(workspace: Workspace, names: Sequence[str], *, now: datetime) -> tuple[Case, ...]:
    """Link pairs; all or none.

    Raises:
        DataError: P375 if there is no such pair, P377 if it is linked or rejected, or would break a rule.
    """
    store = store_of(workspace)
    with store.lock(), disk.explained():
        found = _distinct(store, names)
        for one in found:
            _refuse_to_link(one)
        keep_evidence(store, [((one.namespace_a, one.a), (one.namespace_b, one.b)) for one in found], now)
        return _distinct(store, names)


def reject(workspace: Workspace, names: Sequence[str], *, now: datetime) -> tuple[Case, ...]:
    """Keep pairs apart for good, and take their links back if they have some; all or none.

    Raises:
        DataError: P375 if there is no such pair, P377 if it is rejected already.
    """
    store = store_of(workspace)
    with store.lock(), disk.explained():
        found = _distinct(store, names)
        for one in found:
            if one.state == "rejected":
                raise _not_now(one, "is rejected already", "")
        keep_verdicts(store, [_verdict(one, now, is_rejection=True) for one in found])
        return _distinct(store, names)


def undo(workspace: Workspace, names: Sequence[str], *, now: datetime) -> tuple[Case, ...]:
    """Take back links and rejections; the pairs wait for a person again. All or none.

    Raises:
        DataError: P375 if there is no such pair, P377 if nothing was decided about it.
    """
    store = store_of(workspace)
    with store.lock(), disk.explained():
        found = _distinct(store, names)
        for one in found:
            if one.state not in ("linked", "rejected"):
                raise _not_now(one, "is not decided, so there is nothing to undo", "")
        keep_verdicts(store, [_verdict(one, now, is_rejection=False) for one in found])
        return found


def _distinct(store: Store, names: Sequence[str]) -> tuple[Case, ...]:
    return tuple(case(store, name) for name in dict.fromkeys(names))


def _refuse_to_link(one: Case) -> None:
    if one.state == "linked":
        raise _not_now(one, "is linked already", "")
    if one.state == "rejected":
        raise _not_now(one, "is rejected", "Undo that first: tilltal link undo.")
    if one.state == "refused" and not one.objection.startswith("unique_namespace:"):
        raise _not_now(one, f"would break a rule of identity, {one.objection}", "See identity.yaml.")
    if one.state == "refused":
        namespace = one.objection.partition(":")[2]
        raise _not_now(
            one,
            f"would give one person two values of {namespace!r}",
            "If both are the same customer, declare them `same_as` under `corrections` of identity.yaml.",
        )


def _verdict(one: Case, now: datetime, *, is_rejection: bool) -> Verdict:
    return Verdict(
        link=one.id,
        a=one.a,
        b=one.b,
        said="rejected" if is_rejection else "undone",
        at=now.astimezone(UTC).isoformat(),
        withdrawn=one.observation,
    )


def _not_now(one: Case, why: str, hint: str) -> DataError:
    return DataError.of("P377", f"The pair {one.id} {why}.", hint=hint)
