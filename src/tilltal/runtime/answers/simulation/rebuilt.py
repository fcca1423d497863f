"""The profiles of a snapshot under other definitions.

They are as they were where nothing changed that profiles are made from; else they are made anew from history,
as of the snapshot's instant.

Models are those that the snapshot learned: a simulation trains none. Names that need a model it has not are
left out, and so is what names them; who asks for them is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tilltal.runtime.answers.snapshot import Snapshot
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.live.history.compaction import hot_of
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder, profile_hash
from tilltal.runtime.refresh.run import PRESENT
from tilltal.runtime.refresh.scoring import score_table
from tilltal.runtime.refresh.views import open_history, open_views
from tilltal.runtime.storage.still import StillStore
from tilltal.workspace.graph import Graph, dependencies, needed_by, uses_scores
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

_SCHEMA = "simulated"


@contextmanager
def profiles_under(snapshot: Snapshot, workspace: Workspace, progress: Progress) -> Iterator[None]:
    """Make `profiles`, and the views beside it, those of a workspace while the block runs."""
    if is_profiled_by(snapshot, workspace):
        yield
        return
    engine, store = snapshot.engine, StillStore(store_of(snapshot.workspace).root)
    open_history(engine, workspace, store, hot_of(snapshot.workspace, store))
    open_views(engine, workspace, snapshot.clock, _SCHEMA)
    _build(snapshot, workspace, progress)
    yield
    engine.run(f"SET search_path = '{PRESENT}'")
    engine.run(f"DROP SCHEMA {_SCHEMA} CASCADE")
    open_history(engine, snapshot.workspace, store)


def is_profiled_by(snapshot: Snapshot, workspace: Workspace) -> bool:
    """Say whether a workspace would give the snapshot's customers the profiles they have."""
    manifest = snapshot.manifest
    return manifest.definitions == workspace.content_hash or manifest.profiled == profile_hash(workspace)


def _build(snapshot: Snapshot, workspace: Workspace, progress: Progress) -> None:
    engine, clock, models = snapshot.engine, snapshot.clock, snapshot.models

    def score(name: str, relation: str) -> str:
        return score_table(engine, models[name], name, relation, clock)

    graph = dependencies(workspace)
    missing = _without_model(snapshot, workspace, graph)
    nodes = frozenset(
        node
        for node in graph
        if not node.startswith("action.")
        and node != "micro_segments"
        and not {node, *needed_by(graph, (node,))} & missing
    )
    later = (frozenset(node for node in nodes if node.startswith("score.")) | uses_scores(workspace)) & nodes
    builder = ProfileBuilder(engine, workspace, clock, PersonaMemory(snapshot.folder), progress, score)
    builder.build("profiles_before_scores", nodes - later)
    builder.extend("profiles_before_scores", "profiles", later)


def _without_model(snapshot: Snapshot, workspace: Workspace, graph: Graph) -> frozenset[str]:
    """Return the scores that no model of the snapshot can give under these definitions."""
    known = profile_schema(workspace).keys()
    fitting = {
        f"score.{name}"
        for name, model in snapshot.models.items()
        if all(each in known or each.startswith("persona.") for each in model.content.encoding.names)
    }
    return frozenset(node for node in graph if node.startswith("score.") and node not in fitting)
