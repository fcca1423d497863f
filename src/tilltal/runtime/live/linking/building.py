"""The index of all records there are, made from history and the vault in the background."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tilltal.core.names import literal
from tilltal.core.operational import Reads
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.weights import Weights
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.runtime.linking.records import latest_statements
from tilltal.runtime.live.history.compaction import last_begun, range_of
from tilltal.runtime.live.linking.secrets import Secrets
from tilltal.runtime.live.linking.shelf import Shelf, said_by
from tilltal.runtime.refresh.views import open_history
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace

_PORTION = 50  # records put in before others have their turn
_MEMORY = "512MB"


class Compared:
    """Records as they are compared: what was said, and the index of it."""

    def __init__(self, workspace: Workspace, plan: LinkPlan, weights: Weights) -> None:
        """Begin empty.

        Raises:
            DataError: P372 for weights of other definitions, P374 if the workspace says nothing of linking.
        """
        self.plan = plan
        self.shelf = Shelf(workspace)
        self.index = RecordIndex(plan, weights)

    async def fill(self, files: Store, workspace: Workspace, store: Reads, secrets: Secrets) -> int:
        """Put in all records that lie in Parquet; return the position of the log that they are all before.

        Raises:
            EngineError: E5xx for disk and engine; begin anew.
        """
        still = StillStore(files.root)
        begun = await last_begun(store)
        tokens = await asyncio.to_thread(self._read, workspace, still)
        await self.look_at(tokens, secrets)
        held = [found.last for one in still.manifests() if (found := range_of(one)) is not None]
        return min(begun, max(held, default=0))

    async def look_at(self, tokens: Sequence[int], secrets: Secrets) -> None:
        """Put in what is known of some tokens by now; others get their turn all the while."""
        for begin in range(0, len(tokens), _PORTION):
            some = tokens[begin : begin + _PORTION]
            for token, values in await secrets.ask(partial(self._values, some)):
                if any(one is not None for one in values):
                    self.index.put(token, values)
                else:
                    self.index.remove(token)

    def _values(self, tokens: Sequence[int], vault: Vault) -> list[tuple[int, Values]]:
        return [(token, self.plan.values(self.shelf.told(token, vault))) for token in tokens]

    def _read(self, workspace: Workspace, files: Store) -> list[int]:
        """Put what history keeps on the shelf; return every token of a person that a record tells of."""
        tokens: dict[int, None] = {}
        with (
            tempfile.TemporaryDirectory(prefix="tilltal-") as spill,
            DuckDBEngine(memory_limit=_MEMORY, threads=1, spill=Path(spill)) as engine,
        ):
            open_history(engine, workspace, files)
            people = _people_sql(workspace, files)
            for source, fields in self.shelf.kept.items():
                for row in engine.rows(f"{latest_statements(source, fields)} HAVING identity IN ({people})"):
                    tokens[row[0]] = None
                    for said in said_by(source, fields, row):
                        self.shelf.add(said)
        return list(tokens)


def _people_sql(workspace: Workspace, files: Store) -> str:
    """Return a SELECT of the tokens of people, as far as files know them."""
    listed = ", ".join(literal(str(file)) for file in files.accepted("identities"))
    if not listed:
        return "SELECT CAST(NULL AS BIGINT) WHERE FALSE"
    names = ", ".join(literal(one.name) for one in workspace.identity.namespaces if one.kind == "person")
    return f"SELECT token FROM read_parquet([{listed}]) WHERE namespace IN ({names})"
