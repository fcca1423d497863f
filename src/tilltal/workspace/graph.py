"""Which definition needs which: the order a refresh follows, and the cycles it refuses.

A node is named as expressions name it: a trait by its name, `audience.vip`, `score.churn`, `lifecycle`,
`value`, `persona`, `action.card`, `micro_segments`. Attributes, holdings and consents are data, not nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from tilltal.core.errors import WorkspaceError
from tilltal.workspace.decision_names import shared_conditions
from tilltal.workspace.definitions.actions import Learned
from tilltal.workspace.names import Schema, expanded_traits, matching, names_in, profile_schema
from tilltal.workspace.workspace import Workspace
from tilltal.workspace.written import expressions

Graph = dict[str, tuple[str, ...]]

_SEGMENTS = ("lifecycle", "value", "persona")


def dependencies(workspace: Workspace, schema: Schema | None = None) -> Graph:
    """Return node → the nodes it needs, both sorted. A faulty expression needs nothing here.

    `schema` is the workspace's `profile_schema`, if the caller has it already.
    """
    schema = profile_schema(workspace) if schema is None else schema
    nodes = _nodes(workspace)
    needs: dict[str, set[str]] = {node: set() for node in nodes}
    for owner, names in uses(workspace, schema).items():
        for name in names:
            node = node_of(name)
            if node in nodes:
                needs[owner].add(node)
    return {node: tuple(sorted(needs[node])) for node in sorted(needs)}


def node_of(name: str) -> str:
    """Return the node that gives a name of the profile its value.

    >>> node_of("lifecycle.stage"), node_of("audience.vip"), node_of("spend_30d")
    ('lifecycle', 'audience.vip', 'spend_30d')
    """
    head = name.split(".", 1)[0]
    return head if head in _SEGMENTS else name


def order(workspace: Workspace) -> tuple[str, ...]:
    """Return all nodes, each after those it needs; always the same for the same workspace.

    Raises:
        WorkspaceError: if definitions form a cycle; see `cycles`.
    """
    graph = dependencies(workspace)
    found = cycles(graph)
    if found:
        path = " -> ".join(found[0])
        raise WorkspaceError.of("W140", f"These definitions need each other: {path}.")
    return tuple(TopologicalSorter(graph).static_order())


def uses_scores(workspace: Workspace) -> frozenset[str]:
    """Return the nodes that need a model's score, directly or through others.

    A refresh computes the others before the models and these after them.

    Raises:
        WorkspaceError: if definitions form a cycle.
    """
    graph = dependencies(workspace)
    found: set[str] = set()
    for node in order(workspace):
        if any(need.startswith("score.") or need in found for need in graph[node]):
            found.add(node)
    return frozenset(found)


def needed_by(graph: Graph, nodes: Iterable[str]) -> frozenset[str]:
    """Return everything that the given nodes need, directly or through others, themselves excluded."""
    found: set[str] = set()
    waiting = [need for node in nodes for need in graph.get(node, ())]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += graph.get(node, ())
    return frozenset(found)


def cycles(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Return cycles as paths `(a, b, a)`, where each node needs the next; none if the order is possible.

    Each cycle found is cut at one edge before the search goes on, so every knot shows up, not every
    way around it.
    """
    rest = {node: list(needs) for node, needs in graph.items()}
    found: list[tuple[str, ...]] = []
    while (path := _cycle(rest)) is not None:
        found.append(path)
        rest[path[-2]].remove(path[-1])
    return tuple(found)


def _cycle(graph: Mapping[str, list[str]]) -> tuple[str, ...] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path = list(reversed(error.args[1]))[:-1]
        start = path.index(min(path))
        return (*path[start:], *path[:start], path[start])
    return None


def _nodes(workspace: Workspace) -> set[str]:
    nodes = set(expanded_traits(workspace))
    nodes |= {f"audience.{name}" for name in workspace.audiences}
    nodes |= {f"score.{name}" for name in workspace.models}
    nodes |= {f"action.{name}" for name in workspace.actions}
    segments = (workspace.lifecycle, workspace.value, workspace.personas)
    nodes |= {name for name, one in zip(_SEGMENTS, segments, strict=True) if one is not None}
    return nodes | {"micro_segments"}


def uses(workspace: Workspace, schema: Schema) -> dict[str, set[str]]:
    """Return node → names of the profile that its definition uses, attributes and holdings included."""
    named: defaultdict[str, set[str]] = defaultdict(set)
    for one in expressions(workspace):
        if one.events is None and one.owner:
            named[one.owner] |= names_in(one.text, schema)
    for name, audience in workspace.audiences.items():
        if audience.lookalike is not None:
            named[f"audience.{name}"] |= {f"audience.{audience.lookalike.of}"}
            named[f"audience.{name}"] |= set(matching(audience.lookalike.features, schema))
    for name, model in workspace.models.items():
        excluded = matching(model.exclude, schema)
        named[f"score.{name}"] |= set(matching(model.features, schema)) - set(excluded)
    for name, action in workspace.actions.items():
        if isinstance(action.propensity, str):
            named[f"action.{name}"].add(f"score.{action.propensity}")
        elif isinstance(action.propensity, Learned):
            named[f"action.{name}"].update(action.propensity.adaptive.features)
        if action.uplift is not None:
            named[f"action.{name}"].add(f"score.{action.uplift}")
        for condition in shared_conditions(workspace.engagement, action):
            named[f"action.{name}"] |= names_in(condition.when, schema)
    micro = workspace.micro_segments
    named["micro_segments"] |= {*micro.dimensions, *matching(micro.describe, schema)}
    return dict(named)
