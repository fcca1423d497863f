"""Personas and scores of a single customer are those that a refresh finds for all."""

from __future__ import annotations

from datetime import UTC, date, datetime
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace
from tests.live_bank import ZONE, live_workspace

from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.live.profile import ProfileProgram, Reference
from tilltal.customers.live.segments import PersonaPlace, given_borders, score_step
from tilltal.customers.live.state import ProfileState
from tilltal.customers.personas.centroids import Centroids, assign, closeness, distances, fit_centroids
from tilltal.customers.personas.features import parse_features
from tilltal.customers.value import Borders
from tilltal.models.fitting import Task
from tilltal.models.training import train
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.models import Model, Outcome, Snapshots
from tilltal.workspace.definitions.segments import Audience, Lookalike, PersonaFeature, Personas
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CLOCK = Clock(NOW, ZoneInfo("UTC"))
PERSONAS = Personas(
    characteristics={
        "rank": PersonaFeature(value="rank", weight=3),
        "dark": PersonaFeature(value="IF(is_dark, 1, 0)", missing=0),
    },
    financial={"income": PersonaFeature(value="income", log=True)},
    clusters=3,
    names=("one", "two", "three"),
    hysteresis=0.2,
    population="income IS NOT NULL",
)
SCHEMA = {"rank": Type.NUMBER, "is_dark": Type.BOOLEAN, "income": Type.NUMBER}


def raw(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.normal(size=count), rng.integers(0, 2, count), rng.normal(size=count) * 900])
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def centroids() -> Centroids:
    return fit_centroids(PERSONAS, parse_features(PERSONAS, SCHEMA), raw(300))


def test_a_single_customer_lies_where_a_refresh_puts_it() -> None:
    fitted = centroids()
    place, rows = PersonaPlace(fitted, PERSONAS.hysteresis), raw(300)
    expected = distances(fitted.scale.apply(rows), np.array(fitted.points))
    previous = np.array([Random(row).randrange(-1, 3) for row in range(len(rows))])
    chosen, shares = assign(expected, previous, PERSONAS.hysteresis), closeness(expected)
    kept = 0
    for row, numbers in enumerate(rows.tolist()):
        found = place.distances([None if np.isnan(number) else number for number in numbers])
        held = None if previous[row] < 0 else fitted.names[previous[row]]
        assert found == pytest.approx(expected[row].tolist(), abs=1e-6)
        assert place.closeness(found) == pytest.approx(shares[row].tolist(), abs=1e-6)
        assert place.chosen(found, held) == fitted.names[chosen[row]]
        kept += chosen[row] != expected[row].argmin()
    assert kept > 0  # hysteresis did hold somebody


def test_a_customer_on_a_centroid_is_all_its_own() -> None:
    assert PersonaPlace(centroids(), 0.1).closeness([0.0, 1.0, 2.0]) == [1, 0, 0]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return live_workspace(tmp_path_factory.mktemp("livebank"))


def told(program: ProfileProgram, **fields: object) -> ProfileState:
    state = program.new()
    state.is_known = True
    fact = RecordFact(source="web", at=NOW, received=NOW, event_id="1" * 32, fields=fields)
    program.add(state, 1, fact, Clock(NOW, ZONE))
    program.advance(state, Clock(NOW, ZONE))
    return state


def test_persona_of_a_profile(workspace: Workspace) -> None:
    fitted = centroids()
    program = ProfileProgram(replace(workspace, personas=PERSONAS), Reference(centroids=fitted, version="1"))
    names = ["persona.name", "persona.one", "persona.two", "persona.three"]
    found = program.values(told(program, rank=1.0, is_dark=True, income=5000), Clock(NOW, ZONE), names)
    place = PersonaPlace(fitted, PERSONAS.hysteresis).distances([1.0, 1.0, 50.0])
    assert found["persona.name"] == fitted.names[place.index(min(place))]
    assert sum(float(str(found[name])) for name in names[1:]) == pytest.approx(1)
    nobody = program.values(told(program, rank=1.0), Clock(NOW, ZONE), names)
    assert set(nobody.values()) == {None}  # outside the population


def test_a_lookalike_holds_whom_the_snapshot_says(workspace: Workspace) -> None:
    alike = Audience(lookalike=Lookalike(of="rich", similarity=0.5))
    chosen = Audience(condition="audience.alike AND rank > 2")
    more = {**workspace.audiences, "alike": alike, "chosen": chosen}
    program = ProfileProgram(replace(workspace, audiences=more), Reference())
    state = told(program, rank=3.0)
    state.lookalikes = frozenset({"alike"})
    (moved,) = program.advance(state, Clock(NOW, ZONE))
    assert set(moved.entered) == {"alike", "chosen"}
    state = program.decode(program.encode(state))
    state.is_known = False
    (moved,) = program.advance(state, Clock(NOW, ZONE))
    assert set(moved.left) >= {"alike", "chosen"}


def test_a_single_score_is_that_of_a_table() -> None:
    rng = np.random.default_rng(1)
    days = [date(2026, month, 1) for month in range(1, 6)]
    total = 400 * len(days)
    need = rng.normal(size=total)
    table = pa.table(
        {
            "profile": np.tile(np.arange(400), len(days)),
            "snapshot": pa.array([day for day in days for _ in range(400)]),
            "need": need,
            "job": rng.choice(["clerk", "farmer"], total),
            "since": pa.array(rng.integers(10_000, 15_000, total).astype(np.int32), pa.date32()),
            "label": rng.random(total) < 1 / (1 + np.exp(1 - 2 * need)),
        }
    )
    names = ("need", "job", "since")
    model = Model(
        outcome=Outcome(events=("buy",)), horizon="1 month", features=names, snapshots=Snapshots(count=5)
    )
    scorer = train(table, Task(name="buy", definition=model, hash="abc", threads=1))
    types = {"need": Type.NUMBER, "job": Type.TEXT, "since": Type.DATE, "score.buy": Type.NUMBER}
    slots = {name: place for place, name in enumerate(types)}
    step = score_step("score.buy", scorer, types, slots)
    rows = table.slice(0, 30)
    expected = scorer.score(rows, CLOCK.today)
    assert len(set(expected.tolist())) > 3
    for row, score in zip(rows.to_pylist(), expected.tolist(), strict=True):
        values: list[object] = [row["need"], row["job"], row["since"], None]
        step(values, CLOCK, ProfileState(is_known=True), -1)
        assert values[3] == pytest.approx(score, abs=1e-12)
    values = [1.0, "clerk", date(2020, 1, 1), None]
    step(values, CLOCK, ProfileState(is_known=False), -1)
    assert values[3] is None


def test_borders_are_learned_stated_or_unknown(workspace: Workspace) -> None:
    learned = Borders((1.0,), (2.0,))
    assert given_borders(workspace.value, learned) is learned
    assert given_borders(workspace.value, None) == Borders((10, 40), (1, 3))
    assert given_borders(None, None) is None
