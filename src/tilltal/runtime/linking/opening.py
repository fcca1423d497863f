"""The online index of a workspace, made from history and the vault."""

from __future__ import annotations

from datetime import datetime

from tilltal.customers.identity.linking.index import LinkIndex
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.linking.records import plan_of
from tilltal.runtime.linking.run import load_weights, read_known
from tilltal.workspace.workspace import Workspace


def open_index(engine: DuckDBEngine, workspace: Workspace, vault: Vault, now: datetime) -> LinkIndex | None:
    """Return an index of all records known, or None where nothing is linked or no weights fit yet.

    Args:
        engine: with the views of history; the schema `history` gets the tables of identity.
        workspace: definitions that passed their check.
        vault: holds the fields labelled `identity`.
        now: as of when records are somebody's.

    Raises:
        DataError: P376 for damaged weights.
    """
    if workspace.identity.linking is None:
        return None
    plan, weights = plan_of(workspace), load_weights(store_of(workspace))
    if weights is None or weights.content != plan.content:
        return None
    known = read_known(engine, workspace, vault, plan, now)
    profile = known.profile
    index = LinkIndex(plan, weights)
    for token, values in known.records.items():
        index.put(token, profile[token], values)
    return index
