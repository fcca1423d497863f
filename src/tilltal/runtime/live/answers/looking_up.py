"""Logged decisions for whoever sits at the command line: one by its id, or a customer's latest."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime

from tilltal.core.errors import DataError
from tilltal.core.ids import parse_profile
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore
from tilltal.customers.identity.online.resolver import owner_at
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.answers.snapshot import tokens_meant
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.explaining import Explainer
from tilltal.runtime.live.places import store_place
from tilltal.workspace.workspace import Workspace

_DECISION = re.compile(r"[0-9a-f]{32}")


def is_decision(text: str) -> bool:
    """True for what is written as the id of a decision."""
    return _DECISION.fullmatch(text) is not None


async def explain_decision(
    workspace: Workspace, decision_id: str, language: str, environment: Mapping[str, str] = os.environ
) -> DecisionAccount:
    """Explain a logged decision, with or without a server that runs.

    Raises:
        DataError: P367 if there is no such decision.
        TilltalError: C129 if there are no words in that language.
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    store = await open_store(store_place(workspace, environment))
    try:
        found = await Explainer(store).decision(workspace, decision_id, language)
    finally:
        await store.close()
    if found is None:
        raise DataError.of(
            "P367",
            f"There is no decision {decision_id}.",
            hint="Take a `decision_id` as `POST /v1/decide` answered it.",
        )
    return found


async def explain_latest(
    workspace: Workspace,
    customer: str,
    count: int,
    language: str,
    now: datetime,
    environment: Mapping[str, str] = os.environ,
) -> list[DecisionAccount]:
    """Explain the latest logged decisions of a customer, the latest first.

    Args:
        workspace: the definitions in force.
        customer: profile id, `namespace:value`, or a bare value such as a customer number.
        count: how many at most.
        language: of the words.
        now: the instant, which says whose an identifier is.
        environment: may hold the address of the operational store.

    Raises:
        DataError: P365 if nobody is known by it; else as `explain_decision`.
    """
    store = await open_store(store_place(workspace, environment))
    try:
        profile = await _profile(store, workspace, customer, now)
        return await Explainer(store).latest(workspace, profile, count, language)
    finally:
        await store.close()


async def _profile(store: OperationalStore, workspace: Workspace, customer: str, now: datetime) -> int:
    try:
        asked = parse_profile(customer)
        if await store.states([asked]):
            return asked
    except ValueError:
        pass
    tokens = tokens_meant(workspace, customer)
    spans = await store.owners(tokens)
    for token in tokens:
        owner = owner_at(spans[token], micros(now)) if token in spans else None
        if owner is not None:
            return owner
    raise DataError.of(
        "P365",
        f"Nobody is known as {customer!r}.",
        hint="Write a profile id, `namespace:value`, or a value such as a customer number.",
    )
