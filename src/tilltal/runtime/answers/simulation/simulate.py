"""Scenarios side by side on the customers of the snapshot in force; nothing is sent, learned or kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from tilltal.core.names import quote
from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch_ranking import Bools, Floats, Ints
from tilltal.decisions.simulation import mix
from tilltal.decisions.simulation.fairness import ANY, MARGIN, MISSING, Lean, RateRatio, lean, rate_ratios
from tilltal.decisions.simulation.mix import Grouping
from tilltal.decisions.simulation.observed import Observed
from tilltal.decisions.simulation.sensitivity import Sensitivity
from tilltal.decisions.simulation.value_finder import Condition, set_apart, under_served, weak_below
from tilltal.insight.report.gather.population import knows_worth
from tilltal.insight.simulation.data import Findings, Niche, Simulation, ValueFinder
from tilltal.rules.expression import parse
from tilltal.rules.sql import condition_sql
from tilltal.rules.types import Type
from tilltal.runtime.answers.simulation.deciding import PEOPLE, Task, decide_people, open_people, sampled
from tilltal.runtime.answers.simulation.groups import (
    asked_names,
    describing_names,
    missing_or_not,
    numbers_among,
    read_groups,
    read_numbers,
    read_traits,
    segment_names,
)
from tilltal.runtime.answers.simulation.rebuilt import profiles_under
from tilltal.runtime.answers.simulation.scenarios import Scenario
from tilltal.runtime.answers.simulation.writing import write_all
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot, refuse_stale
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import decision_plan, open_input
from tilltal.runtime.refresh.exploring import read_known
from tilltal.workspace.names import profile_schema

_FAIR_ACTIONS = 20  # the most common first actions, each looked at by itself
_DESCRIBED = 50_000  # customers from whom the descriptions of the under-served are learned


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate.

    `scenarios` are those of `scenarios.scenarios_of`; `sample` is a number of customers, None for all; `by`
    names traits to sum by, beside the segments; `fair` those that must not matter; `margin` is of fairness;
    `threshold` of the value finder, None for the 5 % quantile. `target` is a folder for the files, or None.
    """

    scenarios: tuple[Scenario, ...]
    context: Context = {}
    sample: int | None = None
    seed: int = 1
    by: tuple[str, ...] = ()
    fair: tuple[str, ...] = ()
    margin: float = MARGIN
    threshold: float | None = None
    target: Path | None = None


class _Ground(msgspec.Struct, frozen=True):
    """What all scenarios share: the customers, and how the first scenario groups them."""

    profiles: Ints
    chosen: Ints | None
    groupings: tuple[Grouping, ...]
    fair: tuple[Grouping, ...]
    numbers: dict[str, Floats]


def simulate(request: Request, progress: Progress) -> Simulation:
    """Decide for the same customers under each scenario, and compare.

    Raises:
        TilltalError: C120 for names that customers cannot be grouped by.
        DataError: E507 without a snapshot; E514 if it lacks what a scenario asks for.
        EngineError: if the disk or the engine gives up.
    """
    started = time.perf_counter()
    first = request.scenarios[0].workspace
    schema = profile_schema(first)
    asked_names(schema, request.by, option="--by", numbers=False)
    asked_names(schema, request.fair, option="--fair", numbers=True)
    with open_snapshot(first) as snapshot:
        run = _Run(snapshot, request, progress)
        findings = run.findings()
        titles = {
            name: action.title
            for scenario in reversed(request.scenarios)
            for name, action in scenario.workspace.actions.items()
        }
        made = Simulation(
            bank=first.settings.name,
            as_of=snapshot.manifest.as_of,
            money=first.currency if knows_worth(first.arbitration) else "points",
            known=run.known,
            customers=len(run.ground.profiles),
            seed=request.seed,
            margin=request.margin,
            titles=titles,
            scenarios=findings,
            seconds=round(time.perf_counter() - started, 3),
        )
    return write_all(made, run.ground.profiles, run.observed, request.target) if request.target else made


class _Run:
    """One simulation on an open snapshot."""

    def __init__(self, snapshot: Snapshot, request: Request, progress: Progress) -> None:
        self._snapshot = snapshot
        self._engine = snapshot.engine
        self._request = request
        self._progress = progress
        self.observed: dict[str, Observed] = {}
        everybody = self._ids("SELECT profile FROM profiles WHERE is_known ORDER BY profile")
        self.known = len(everybody)
        chosen = sampled(everybody, request.sample, request.seed)
        profiles = everybody if chosen is None else chosen
        self.ground = _Ground(profiles, chosen, (), (), {})

    def findings(self) -> tuple[Findings, ...]:
        """Return what each scenario gives, in order; experiments stand on the first one's profiles."""
        found: list[Findings] = []
        by_definitions = [each for each in self._request.scenarios if each.experiment is None]
        for number, scenario in enumerate(by_definitions):
            with profiles_under(self._snapshot, scenario.workspace, self._progress):
                if number == 0:
                    found += [
                        self._found(each)
                        for each in self._request.scenarios
                        if each is scenario or each.experiment is not None
                    ]
                else:
                    found.append(self._found(scenario))
        order = [each.name for each in self._request.scenarios]
        return tuple(sorted(found, key=lambda each: order.index(each.name)))

    def _found(self, scenario: Scenario) -> Findings:
        plan = decision_plan(scenario.workspace, self._snapshot.clock)
        refuse_stale(self._snapshot, plan)
        kept = read_known(plan, self._snapshot.clock, self._snapshot.folder)
        exploration = msgspec.structs.replace(kept, seed=f"{kept.seed}/{self._request.seed}")
        open_people(self._engine, plan, self.ground.chosen)
        open_input(
            self._engine,
            scenario.workspace,
            plan,
            self._snapshot.clock,
            PEOPLE,
            context=self._request.context,
            exploration=exploration,
        )
        is_first = not self.observed
        if is_first:
            self._group(scenario)
        task = Task(
            plan=plan,
            clock=self._snapshot.clock,
            context=self._request.context,
            experiment=scenario.experiment,
            seed=self._request.seed,
            exploration=exploration,
        )
        one = decide_people(
            self._engine, self.ground.profiles, task, self._progress, name=f"scenario {scenario.name}"
        )
        self.observed[scenario.name] = one
        return self._summed(scenario, one, is_first=is_first)

    def _group(self, scenario: Scenario) -> None:
        """Group the customers by the traits that they have in the first scenario."""
        engine, request = self._engine, self._request
        present = frozenset(row[0] for row in engine.rows("DESCRIBE profiles"))
        schema = profile_schema(scenario.workspace)
        numeric = numbers_among(schema, request.fair)
        self.ground = msgspec.structs.replace(
            self.ground,
            groupings=read_groups(engine, segment_names(present, request.by)),
            fair=read_groups(engine, [name for name in request.fair if name not in numeric]),
            numbers=read_numbers(engine, numeric),
        )

    def _summed(self, scenario: Scenario, one: Observed, *, is_first: bool) -> Findings:
        base = self.observed[self._request.scenarios[0].name]
        totals = mix.totals(one)
        ratios, leans = self._fairness(one)
        return Findings(
            name=scenario.name,
            words=scenario.words,
            definitions=scenario.workspace.content_hash,
            is_experiment=scenario.experiment is not None,
            totals=totals,
            actions=mix.action_mix(one),
            channels=mix.channel_mix(one),
            segments=mix.segments(one, self.ground.groupings),
            changes=() if is_first else mix.changes(base, one, self.ground.groupings),
            moves=() if is_first else mix.moves(base, one),
            beats=mix.beats(one),
            sensitivity=tuple(
                Sensitivity(factor=factor, changed=changed, winners=totals.reached)
                for factor, changed in (one.changed or {}).items()
            ),
            value_finder=self._value_finder(scenario, base, one),
            ratios=ratios,
            leans=leans,
        )

    def _value_finder(self, scenario: Scenario, base: Observed, one: Observed) -> ValueFinder:
        """Find the under-served by the first scenario's threshold, so that scenarios can be compared."""
        asked = self._request.threshold
        threshold = weak_below(base) if asked is None else asked
        wanted = under_served(one, threshold)
        without = int(np.isnan(one.most).sum())
        return ValueFinder(
            threshold=threshold,
            customers=one.customers,
            without=without,
            improbable=int(wanted.sum()) - without,
            niches=() if scenario.experiment else self._niches(scenario, wanted),
        )

    def _niches(self, scenario: Scenario, wanted: Bools) -> tuple[Niche, ...]:
        """Describe the under-served by their traits; say of each description how many it fits."""
        engine = self._engine
        self._progress.start(f"value finder {scenario.name}", None)
        present = frozenset(row[0] for row in engine.rows("DESCRIBE profiles"))
        kinds = describing_names(profile_schema(scenario.workspace), present)
        chosen, picked = self._part_of(wanted)
        if not kinds or not wanted.any():
            return ()
        conditions = set_apart(
            read_traits(engine, tuple(kinds), chosen), kinds, picked, seed=self._request.seed
        )
        usual = float(wanted.mean())
        found = self._counted(scenario, conditions, wanted)
        kept = [each for each in found if each.under_served and each.share > usual]
        return tuple(sorted(kept, key=lambda each: (-each.under_served, each.condition)))

    def _part_of(self, wanted: Bools) -> tuple[str, Bools]:
        """Return a condition over customers that chooses not too many, and who of them is wanted."""
        if len(wanted) <= _DESCRIBED:
            return "TRUE", wanted
        parts = -(-len(wanted) // _DESCRIBED)
        return f"profile % {parts} = 0", wanted[self.ground.profiles % parts == 0]

    def _counted(self, scenario: Scenario, conditions: Sequence[Condition], wanted: Bools) -> list[Niche]:
        if not conditions:
            return []
        schema, clock = profile_schema(scenario.workspace), self._snapshot.clock
        parsed = [parse(each.text, schema, want=Type.BOOLEAN) for each in conditions]
        listed = ", ".join(
            f"{condition_sql(each, lambda name: 'p.' + quote(name), clock=clock)} AS n{number}"
            for number, each in enumerate(parsed)
        )
        table = self._engine.arrow(
            f"SELECT {listed} FROM (SELECT profile FROM {PEOPLE}) JOIN profiles AS p USING (profile) "
            "ORDER BY profile"
        )
        found = []
        for number, condition in enumerate(conditions):
            fits = np.asarray(table.column(f"n{number}").to_numpy())
            found.append(
                Niche(
                    condition=condition.text,
                    customers=int(fits.sum()),
                    under_served=int((fits & wanted).sum()),
                )
            )
        return found

    def _fairness(self, one: Observed) -> tuple[tuple[RateRatio, ...], tuple[Lean, ...]]:
        """Compare who is chosen by each trait asked for; those who lack a number are a group."""
        ground, margin = self.ground, self._request.margin
        common = [each.action for each in mix.action_mix(one)[:_FAIR_ACTIONS] if each.first]
        chosen = {ANY: one.reached} | {name: one.first == one.actions.index(name) for name in common}
        lacking = [missing_or_not(*each) for each in ground.numbers.items() if np.isnan(each[1]).any()]
        ratios = [
            found
            for grouping in (*ground.fair, *lacking)
            for action, picked in chosen.items()
            for found in rate_ratios(grouping, picked, action=action, margin=margin)
            if grouping.trait not in ground.numbers or found.group == MISSING
        ]
        chance = np.random.default_rng(self._request.seed)
        leans = [
            lean(name, values, picked, chance, action=action, margin=margin)
            for name, values in ground.numbers.items()
            for action, picked in chosen.items()
        ]
        return tuple(ratios), tuple(leans)

    def _ids(self, sql: str) -> Ints:
        column = self._engine.arrow(sql).column("profile")
        return np.asarray(column.to_numpy(), dtype=np.int64)
