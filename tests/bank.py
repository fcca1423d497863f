"""A small bank on disk for tests that take in files: definitions in text, files in bytes."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path

from tilltal.core.ports import Row
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.runtime.intake.ingest import IngestReport, ingest, open_vault, store_of
from tilltal.runtime.storage.store import Store
from tilltal.workspace.load import load
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

SETTINGS = """
name: testbank
time_zone: Europe/Stockholm
currency: SEK
"""
IDENTITY = """
namespaces:
  - {name: crm, kind: person, unique: true}
  - {name: email, kind: person, direct: true, normalise: email}
  - {name: device, kind: device}
"""
PAYMENTS = """
kind: event
read: {files: data/payments*.csv}
identities: {crm: customer}
id: message
at: time
event: payment
fields:
  amount: {type: money, required: true}
  shop: text
"""


class Bank:
    """A workspace folder that tests fill; taking in happens at `NOW`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("tilltal.yaml", SETTINGS)
        self.write("identity.yaml", IDENTITY)

    def write(self, file: str, content: str | bytes) -> Path:
        """Write a file of the workspace; text loses its common indentation."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(content).encode() if isinstance(content, str) else content)
        return path

    @property
    def workspace(self) -> Workspace:
        """The workspace as its files now say."""
        return load(self.root)

    @property
    def store(self) -> Store:
        """The store of the workspace."""
        return store_of(self.workspace)

    def ingest(self, *names: str, now: datetime = NOW) -> IngestReport:
        """Take in the named sources, or all."""
        return ingest(self.workspace, names or None, now=now)

    def rows(self, view: str, columns: str = "*", order: str = "1") -> list[Row]:
        """Read a view of history."""
        files = ", ".join(f"'{path}'" for path in self.store.accepted(view))
        if not files:
            return []
        with DuckDBEngine() as engine:
            return engine.rows(
                f"SELECT {columns} FROM read_parquet([{files}], union_by_name = true) ORDER BY {order}"
            )

    def vault(self) -> Vault:
        """Open the vault; close it."""
        with open_vault(self.workspace):
            return Vault(self.root / self.workspace.settings.store.vault, {})

    def tree(self) -> dict[str, bytes]:
        """Every file of the store with its content, but for the lock: to see that nothing changed."""
        files = (path for path in self.store.root.rglob("*") if path.is_file() and path.name != "lock")
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}
