"""A snapshot opened for reading: its tables, and history as it was when the snapshot was made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, nearest
from tilltal.core.ids import parse_profile
from tilltal.core.names import literal, quote
from tilltal.decisions.contacting.checks import READINGS
from tilltal.decisions.plan import DecisionPlan
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.normalise import Normaliser
from tilltal.models.model import Scorer, from_bytes
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault, store_of
from tilltal.runtime.refresh.manifest import Manifest
from tilltal.runtime.refresh.run import HISTORY_TABLES, workspace_engine
from tilltal.runtime.refresh.views import open_history, open_views
from tilltal.workspace.decision_names import CONTEXT, HISTORY
from tilltal.workspace.workspace import Workspace

_OF_DECISION = (READINGS, CONTEXT, HISTORY)  # how names begin that no snapshot holds


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An open snapshot; `engine` has a view for each of its tables."""

    workspace: Workspace
    engine: DuckDBEngine
    folder: Path
    manifest: Manifest

    @property
    def clock(self) -> Clock:
        """The instant the snapshot is as of, in the workspace's zone."""
        return Clock(datetime.fromisoformat(self.manifest.as_of), self.workspace.zone)

    @property
    def models(self) -> dict[str, Scorer]:
        """The models that made its scores.

        Raises:
            DataError: M406, M407 if one is damaged.
        """
        folders = sorted(path.parent for path in self.folder.glob("models/*/model"))
        return {folder.name: from_bytes((folder / "model").read_bytes()) for folder in folders}

    def has(self, table: str) -> bool:
        """True if the snapshot has a table; which it has depends on the definitions."""
        return (self.folder / f"{table}.parquet").exists()


@contextmanager
def open_snapshot(workspace: Workspace) -> Iterator[Snapshot]:
    """Open the snapshot in force.

    Raises:
        DataError: E507 if there is none yet; E513 if it is damaged.
    """
    store = store_of(workspace)
    folder = store.current_snapshot()
    manifest = _manifest(folder)
    with (
        tempfile.TemporaryDirectory(prefix="tilltal-") as spill,
        workspace_engine(workspace, Path(spill)) as engine,
    ):
        snapshot = Snapshot(workspace=workspace, engine=engine, folder=folder, manifest=manifest)
        open_history(engine, workspace, store)
        for name in HISTORY_TABLES:
            engine.run(f"CREATE VIEW history.{name} AS SELECT * FROM {_read(folder, name)}")
        engine.run(
            "CREATE VIEW history.people_spine AS SELECT profile, is_known, "
            f"TIMESTAMP '0001-01-01' AS first_seen FROM {_read(folder, 'profiles')}"
        )
        open_views(engine, workspace, snapshot.clock, "present")
        for path in sorted(folder.glob("*.parquet")):
            if path.stem not in HISTORY_TABLES:
                engine.run(f"CREATE VIEW {quote(path.stem)} AS {table_of(engine, folder, path.stem)}")
        yield snapshot


def table_of(engine: DuckDBEngine, folder: Path, name: str) -> str:
    """Return the SELECT of a table; decisions of before costs were told apart have V less of them."""
    read = _read(folder, name)
    if name != "decisions" or "cost" in {row[0] for row in engine.rows(f"DESCRIBE SELECT * FROM {read}")}:
        return f"SELECT * FROM {read}"
    return f"SELECT *, CAST(0 AS DOUBLE) AS cost FROM {read}"


def refuse_stale(snapshot: Snapshot, plan: DecisionPlan) -> None:
    """Refuse to decide by definitions that ask for what the snapshot was made without.

    Raises:
        DataError: E514, with the names that are missing.
    """
    present = {row[0] for row in snapshot.engine.rows("DESCRIBE profiles")}
    missing = sorted(name for name in plan.names - present if not name.startswith(_OF_DECISION))
    if missing:
        raise DataError.of(
            "E514",
            f"The actions need {', '.join(missing)}, and the snapshot in force was made without.",
            hint="Run `tilltal refresh`.",
        )


def find_profile(snapshot: Snapshot, text: str) -> int:
    """Return the profile that a person means: its id, `namespace:value`, or a value of any namespace.

    Raises:
        DataError: P365 if nobody is known by it.
    """
    try:
        asked = parse_profile(text)
    except ValueError:
        asked = -1
    tokens = [asked, *tokens_meant(snapshot.workspace, text)]
    listed = ", ".join(str(token) for token in tokens)
    known = snapshot.engine.rows(
        f"SELECT profile, profile FROM profiles WHERE profile IN ({listed}) "
        f"UNION ALL SELECT identity, profile FROM history.people WHERE identity IN ({listed}) "
        "AND profile IN (SELECT profile FROM profiles)"  # not who was first seen later
    )
    found: dict[int, int] = dict(known)
    for token in tokens:
        if token in found:
            return int(found[token])
    names = [namespace.name for namespace in snapshot.workspace.identity.namespaces]
    raise DataError.of(
        "P365",
        f"Nobody is known as {text!r}.",
        valid=nearest(text.partition(":")[0], names),
        hint="Write a profile id, `namespace:value`, or a value such as a customer number.",
    )


def tokens_meant(workspace: Workspace, text: str) -> list[int]:
    """Return the tokens the text may stand for, in the order of the namespaces' priority."""
    normaliser = Normaliser(workspace.identity, date(9999, 12, 31))
    namespace, _, value = text.partition(":")
    names = [each.name for each in workspace.identity.namespaces]
    asked = [(namespace, value)] if namespace in names and value else [(name, text) for name in names]
    with open_vault(workspace) as vault:
        normal = ((name, normaliser.one(name, each)) for name, each in asked)
        return [vault.pseudonymiser.token(name, each) for name, each in normal if each]


def _manifest(folder: Path) -> Manifest:
    try:
        return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError.of(
            "E513",
            f"The snapshot {folder.name} is damaged: its manifest cannot be read.",
            hint="Run `tilltal refresh`.",
        ) from error


def _read(folder: Path, name: str) -> str:
    return f"read_parquet({literal(str(folder / f'{name}.parquet'))})"
