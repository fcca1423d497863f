"""Records to compare, read from history and the vault into memory; nothing of them is written."""

from __future__ import annotations

from collections.abc import Iterable

from tilltal.core.errors import DataError
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.customers.identity.linking.plan import LinkPlan, Values, compile_linking
from tilltal.customers.identity.rules import compile_rules
from tilltal.governance.vault import Vault
from tilltal.runtime.refresh.views import view_name
from tilltal.workspace.definitions.identity import Linking
from tilltal.workspace.names import kept_fields
from tilltal.workspace.workspace import Workspace

Told = dict[str, str]  # field → value in clear


def linking_of(workspace: Workspace) -> Linking:
    """Return the definitions of linking.

    Raises:
        DataError: P374 if the workspace has none.
    """
    if workspace.identity.linking is None:
        raise DataError.of(
            "P374",
            "The workspace does not link records.",
            hint="Say under `linking` of identity.yaml which fields are compared.",
        )
    return workspace.identity.linking


def plan_of(workspace: Workspace) -> LinkPlan:
    """Return what linking compares.

    Raises:
        DataError: P374 if the workspace says nothing of linking.
    """
    return compile_linking(linking_of(workspace), compile_rules(workspace.identity).blocked)


def linked_sources(workspace: Workspace) -> tuple[str, ...]:
    """Return the record sources whose rows are compared, the most trusted first."""
    linking = linking_of(workspace)
    return linking.sources or tuple(
        name
        for name, source in workspace.sources.items()
        if source.kind == "record" and linking.compare.keys() & source.fields.keys()
    )


def read_told(
    engine: BatchEngine, workspace: Workspace, vault: Vault, tokens: Iterable[int] | None = None
) -> dict[int, Told]:
    """Return the compared fields of each token in clear, of the most trusted source that knows them.

    Args:
        engine: with the views of history.
        workspace: says which sources and fields.
        vault: holds the fields labelled `identity`.
        tokens: only these; None for all.
    """
    linking = linking_of(workspace)
    wanted = None if tokens is None else frozenset(tokens)
    found: dict[int, Told] = {}
    for name in reversed(linked_sources(workspace)):  # what is more trusted is written over the rest
        source = workspace.sources[name]
        kept = [field for field in kept_fields(source) if field in linking.compare]
        secret = [field for field in source.fields if field in linking.compare and field not in kept]
        for token, *values in engine.rows(_latest(name, kept)):
            if wanted is not None and token not in wanted:
                continue
            told = found.setdefault(token, {})
            told.update({field: text for field, text in zip(kept, values, strict=True) if text is not None})
            if secret:
                told.update(_secrets(vault, token, name, secret))
    return found


def comparable_records(told: dict[int, Told], plan: LinkPlan) -> dict[int, Values]:
    """Return the records as they are compared; those with nothing to compare are left out."""
    made = {token: plan.values(fields) for token, fields in told.items()}
    return {token: values for token, values in made.items() if any(one is not None for one in values)}


def _secrets(vault: Vault, token: int, source: str, fields: list[str]) -> Told:
    return {
        one.field: one.value for one in vault.personal(token) if one.source == source and one.field in fields
    }


def _latest(source: str, fields: list[str]) -> str:
    columns = "".join(
        f', arg_max(CAST({quote(field)} AS VARCHAR), "at") FILTER ({quote(field)} IS NOT NULL)'
        for field in fields
    )
    return f"SELECT identity{columns} FROM history.{quote(view_name('records/' + source))} GROUP BY identity"


def latest_statements(source: str, fields: Iterable[str]) -> str:
    """Return a SELECT of each token of a record source: token, and per field its latest text and its instant.

    Instants are microseconds. What `read_told` reads, with the time it was said.
    """
    columns = "".join(
        f', arg_max(CAST({quote(field)} AS VARCHAR), "at") FILTER ({quote(field)} IS NOT NULL), '
        f'epoch_us(max("at") FILTER ({quote(field)} IS NOT NULL))'
        for field in fields
    )
    return f"SELECT identity{columns} FROM history.{quote(view_name('records/' + source))} GROUP BY identity"
