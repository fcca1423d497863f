"""What expressions make of a customer: traits by expression, audiences, segments; compiled for slots.

A scope evaluates some names and what they need, and nothing else. Conditions of audiences are fused: those
that do not name each other into one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from tilltal.customers.audiences import PREFIX
from tilltal.customers.live.segments import (
    PersonaPlace,
    Scorer,
    Slots,
    Step,
    compute_of,
    features_of,
    given_borders,
    persona_step,
    score_step,
    value_step,
)
from tilltal.customers.live.state import ProfileState
from tilltal.customers.personas.centroids import Centroids
from tilltal.customers.personas.features import parse_features
from tilltal.customers.rhythms.rhythm import FLAT, Rhythm
from tilltal.customers.value import Borders
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import fuse
from tilltal.rules.types import Type
from tilltal.workspace.graph import node_of
from tilltal.workspace.workspace import Workspace


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of the last snapshot.

    Attributes:
        borders: of the value grid; None where the definition states them, or nothing is known yet.
        centroids: of the personas; None where nothing is known yet.
        product_order: product → place, from the rarest on.
        models: by name.
        editions: by model's name, what differs once a model was trained anew.
        faulty: models that could not be read, with the reason.
        rhythm: the population's, over the hours of the day.
        as_of: the instant of the snapshot, ISO 8601; empty without one.
        version: differs where anything of these does.
    """

    borders: Borders | None = None
    centroids: Centroids | None = None
    product_order: Mapping[str, int] = {}
    models: Mapping[str, Scorer] = {}
    editions: Mapping[str, str] = {}
    faulty: Mapping[str, str] = {}
    rhythm: Rhythm = FLAT
    as_of: str = ""
    version: str = ""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Something computed from other names.

    Attributes:
        needs: the names it reads.
        expressions: what it evaluates.
        condition: of an audience, to be fused with others; else `compiled` makes its step.
        is_moving: whether it may change with the clock though no expression reads one.
    """

    needs: frozenset[str]
    expressions: tuple[Expression, ...] = ()
    condition: Expression | None = None
    compiled: Callable[[Slots], Step] | None = None
    is_moving: bool = False

    @property
    def unwritten(self) -> frozenset[str]:
        """What it reads though no expression names it."""
        return self.needs.difference(*(each.names for each in self.expressions))


class Nodes:
    """All that is computed from other names in a workspace, by node of its dependency graph."""

    def __init__(self, workspace: Workspace, schema: Mapping[str, Type], reference: Reference) -> None:
        """Parse everything.

        Raises:
            WorkspaceError: where an expression is faulty.
        """
        self._workspace, self._schema, self._reference = workspace, schema, reference
        self.by_name: dict[str, Node] = {}
        for name, trait in workspace.traits.items():
            if trait.expression is not None:
                self.by_name[name] = _expression_trait(name, parse(trait.expression, schema))
        for name in workspace.audiences:
            self.by_name[PREFIX + name] = self._audience(name)
        for name in workspace.models:
            self.by_name[f"score.{name}"] = self._score(name)
        self._add_value()
        self._add_persona()

    def _audience(self, name: str) -> Node:
        condition = self._workspace.audiences[name].condition
        if condition is None:
            return Node(needs=frozenset({"is_known"}), compiled=lambda slots: _lookalike_step(name, slots))
        expression = parse(condition, self._schema, want=Type.BOOLEAN)
        return Node(needs=expression.names, expressions=(expression,), condition=expression)

    def _score(self, name: str) -> Node:
        scorer = self._reference.models.get(name)
        needs = frozenset(features_of(scorer)) & self._schema.keys()
        return Node(
            needs=needs,
            compiled=lambda slots: score_step(f"score.{name}", scorer, self._schema, slots),
            is_moving=True,
        )

    def _add_value(self) -> None:
        value = self._workspace.value
        if value is None:
            return
        income, affinity = (
            parse(axis.value, self._schema, want=Type.NUMBER) for axis in (value.income, value.affinity)
        )
        borders = given_borders(value, self._reference.borders)
        self.by_name["value"] = Node(
            needs=income.names | affinity.names,
            expressions=(income, affinity),
            compiled=lambda slots: value_step(value, (income, affinity), borders, slots),
        )

    def _add_persona(self) -> None:
        personas, centroids = self._workspace.personas, self._reference.centroids
        if personas is None:
            return
        features = parse_features(personas, self._schema)
        population = (
            None
            if personas.population is None
            else parse(personas.population, self._schema, want=Type.BOOLEAN)
        )
        read = [*(feature.value for feature in features), *([] if population is None else [population])]
        place = None if centroids is None else PersonaPlace(centroids, personas.hysteresis)
        self.by_name["persona"] = Node(
            needs=frozenset().union(*(each.names for each in read)),
            expressions=tuple(read),
            compiled=lambda slots: persona_step(place, features, population, slots),
        )

    def needed(self, names: Iterable[str], given: frozenset[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return all names that these need, themselves included, and the nodes among them in order.

        What is `given` needs nothing.
        """
        found: set[str] = set()
        waiting = list(names)
        graph: dict[str, set[str]] = {}
        while waiting:
            name = waiting.pop()
            found.add(name)
            node = node_of(name)
            if node in self.by_name and name not in given and node not in graph:
                needs = self.by_name[node].needs
                graph[node] = {node_of(need) for need in needs - given} & self.by_name.keys()
                waiting += needs - found
        return frozenset(found), tuple(TopologicalSorter(graph).static_order())


class Scope:
    """Some names and what they need, evaluated together.

    Attributes:
        inputs: the names that fragments tell, in the order of their slots, which are the first.
        slots: each name's place among the values.
        audiences: names of the audiences among them, without prefix; bit i of a mask is the i-th.
        concerned: for each input, the audiences that it may change, as a mask.
        expressions: all that is evaluated.
        direct: names that are read otherwise than by an expression.
        is_moving: whether something may change with the clock though all inputs stay as they are.
    """

    def __init__(self, nodes: Nodes, names: Iterable[str], given: frozenset[str] = frozenset()) -> None:
        """Compile names; those `given` are inputs, too."""
        found, order = nodes.needed(names, given)
        made_by = frozenset(order)
        self.inputs = tuple(sorted(name for name in found if name in given or node_of(name) not in made_by))
        made = sorted(found - set(self.inputs))
        self.slots = {name: slot for slot, name in enumerate((*self.inputs, *made))}
        self._blank: list[Any] = [None] * len(made)
        self.expressions = tuple(each for node in order for each in nodes.by_name[node].expressions)
        self._read = frozenset[str]().union(*(nodes.by_name[node].needs for node in order))
        self.direct = frozenset[str]().union(*(nodes.by_name[node].unwritten for node in order))
        self.is_moving = any(nodes.by_name[node].is_moving for node in order) or any(
            each.functions & {"NOW", "TODAY"} for each in self.expressions
        )
        self.audiences: tuple[str, ...] = ()
        self._steps = tuple(self._step(nodes, layer) for layer in _layers(nodes, order))
        self.concerned = self._concerned(nodes, given)

    def evaluated(
        self, inputs: Sequence[Any], clock: Clock, state: ProfileState, among: int = -1
    ) -> tuple[list[Any], int]:
        """Return the values by slot and the mask of audiences.

        Args:
            inputs: the values of `inputs`.
            clock: what NOW() and TODAY() mean.
            state: of the customer; it is read only.
            among: the audiences to be found anew, as a mask; as to others, the state's own are taken over.
        """
        values = [*inputs, *self._blank]
        mask = 0
        for step in self._steps:
            mask |= step(values, clock, state, among)
        return values, mask

    def _concerned(self, nodes: Nodes, given: frozenset[str]) -> tuple[int, ...]:
        masks = dict.fromkeys(self.inputs, 0)
        for bit, audience in enumerate(self.audiences):
            for name in nodes.needed([PREFIX + audience], given)[0] & masks.keys():
                masks[name] |= 1 << bit
        return tuple(masks.values())

    def _step(self, nodes: Nodes, layer: Sequence[str]) -> Step:
        first = nodes.by_name[layer[0]]
        shift = len(self.audiences)
        self.audiences += tuple(name.removeprefix(PREFIX) for name in layer if name.startswith(PREFIX))
        if first.compiled is not None:
            step = first.compiled(self.slots)
            return step if not layer[0].startswith(PREFIX) else _shifted(step, shift)
        conditions = {name: nodes.by_name[name].condition for name in layer}
        return _audiences_step(
            {name: each for name, each in conditions.items() if each is not None},
            self.slots,
            self._read,
            shift,
        )


def _layers(nodes: Nodes, order: Sequence[str]) -> list[list[str]]:
    """Return the nodes in order, as many audiences with a condition together as can be."""
    layers: list[list[str]] = []
    waiting, done = list(order), set[str]()
    while waiting:
        missing = frozenset(waiting)
        ready = [node for node in waiting if not _has_needs(nodes, node, missing)]
        single = [node for node in ready if nodes.by_name[node].condition is None]
        layers += [[node] for node in single] if single else [ready]
        done.update(single or ready)
        waiting = [node for node in waiting if node not in done]
    return layers


def _has_needs(nodes: Nodes, node: str, waiting: frozenset[str]) -> bool:
    return any(node_of(need) in waiting for need in nodes.by_name[node].needs)


def _expression_trait(name: str, expression: Expression) -> Node:
    def compiled(slots: Slots) -> Step:
        compute, target = compute_of(expression, slots), slots[name]

        def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
            values[target] = compute(values, clock)
            return 0

        return step

    return Node(needs=expression.names, expressions=(expression,), compiled=compiled)


def _lookalike_step(name: str, slots: Slots) -> Step:
    target = slots[PREFIX + name]

    def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
        is_held = name in state.lookalikes
        values[target] = is_held if state.is_known else None  # a refresh compares known customers only
        return int(is_held and state.is_known)

    return step


def _shifted(step: Step, shift: int) -> Step:
    return lambda values, clock, state, among: step(values, clock, state, among) << shift


def _audiences_step(
    conditions: Mapping[str, Expression], slots: Slots, read: frozenset[str], shift: int
) -> Step:
    """Return what finds the members among audiences; only those that others `read` are put in their slots."""
    rules = fuse(conditions, slots)
    targets = [(slots[name], 1 << bit) for bit, name in enumerate(conditions) if name in read]
    everyone = (1 << len(conditions)) - 1

    def step(values: list[Any], clock: Clock, state: ProfileState, among: int) -> int:
        anew = among >> shift & everyone
        mask = rules(values, clock, anew) | state.audiences >> shift & everyone & ~anew
        for slot, bit in targets:
            values[slot] = bool(mask & bit)
        return mask << shift

    return step
