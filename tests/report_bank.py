"""A bank with a made-up snapshot, for tests of the report: small, seeded, with every kind of section."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.bank import Bank

from tilltal.customers.personas.centroids import Centroids, fit_centroids, place_on_map
from tilltal.customers.personas.features import parse_features
from tilltal.models.fitting import Task
from tilltal.models.training import train
from tilltal.rules.types import Type
from tilltal.runtime.refresh.personas import Kept
from tilltal.workspace.definitions.models import Acceptance, Model, Outcome, Snapshots
from tilltal.workspace.definitions.segments import PersonaFeature, Personas

PEOPLE, KNOWN = 1200, 1000
TODAY = date(2026, 5, 4)
HASH = "0123456789abcdef"
STAGES = ("New", "Loyal", "Retain", "Regain", "New comeback")
CELLS = {
    ("high", "low"): "One-time",
    ("high", "high"): "Royals",
    ("low", "low"): "Hunters",
    ("low", "high"): "Aspirants",
}
ACTIONS = {
    "fund": ("Save in a fund", "savings"),
    "card": ("Card <b>& more</b>", "cards"),
    "never": ("Never wanted", "cards"),
}
_FILES = {
    "tilltal.yaml": """
        name: testbank
        description: Bank <i>of</i> tests
        time_zone: Europe/Stockholm
        currency: SEK
    """,
    "sources/crm.yaml": """
        kind: record
        read: {files: data/crm.csv}
        identities: {crm: customer}
        at: time
        fields: {net_income: money, affinity: number, age: number, savings: number}
    """,
    "lifecycle.yaml": "opened: {events: [joined]}",
    "value.yaml": """
        income: {value: 'COALESCE(net_income, 0)', cuts: {values: [100]}, classes: [low, high]}
        affinity: {value: affinity, cuts: {values: [5]}, classes: [low, high]}
        cells:
          - {income: high, affinity: low, name: One-time}
          - {income: high, affinity: high, name: Royals}
          - {income: low, affinity: low, name: Hunters}
          - {income: low, affinity: high, name: Aspirants}
    """,
    "personas.yaml": """
        clusters: 3
        characteristics: {age: {value: age}}
        financial: {savings: {value: savings, log: true}}
        names: [careful, young_family, traveller]
    """,
    "actions/fund/action.yaml": """
        title: Save in a fund
        group: savings
        eligibility: [{name: adult, when: age >= 18, description: Of age.}]
        propensity: 0.05
        value: 400
    """,
    "actions/card/action.yaml": "{title: 'Card <b>& more</b>', group: cards, propensity: 0.1, value: 90}",
    "actions/never/action.yaml": "{title: Never wanted, group: cards, propensity: 0.1, value: 0}",
}  # fmt: skip


def report_bank(root: Path, *, leave_out: frozenset[str] = frozenset(), is_empty: bool = False) -> Bank:
    """Write the workspace and its snapshot; `leave_out` names tables and definition files to do without.

    With `is_empty` all tables are there, without a row.
    """
    bank = Bank(root)
    for file, text in _FILES.items():
        if file not in leave_out:
            bank.write(file, text)
    folder = root / ".tilltal/snapshots/one"
    for name, table in tables().items():
        if name not in leave_out:
            _write(folder / f"{name}.parquet", table.slice(0, 0) if is_empty else table)
    if "models" not in leave_out:
        for name, content in _models().items():
            bank.write(f".tilltal/snapshots/one/models/{name}/model", content)
    if "personas.yaml" not in leave_out:
        kept = Kept(definition="", centroids=_centroids())
        bank.write(".tilltal/snapshots/one/personas.json", msgspec.json.encode(kept))
    manifest = {
        "name": "testbank",
        "currency": "SEK",
        "as_of": "2026-05-04T10:00:00+00:00",
        "created": "2026-05-04T11:00:00+00:00",
        "definitions": HASH,
        "profiles": PEOPLE,
    }
    bank.write(".tilltal/snapshots/one/manifest.json", msgspec.json.encode(manifest))
    bank.write(".tilltal/current", "one\n")
    return bank


@cache
def tables() -> dict[str, pa.Table]:
    """Return the snapshot's tables; the same for every test."""
    profiles = _profiles()
    return {
        "profiles": profiles,
        "persona_map": _persona_map(profiles),
        "transitions": _transitions(profiles),
        "relations": _relations(profiles),
        "decisions": _decisions(profiles),
        "funnel": _funnel(),
        "kpis": _kpis(),
        "penetration": _penetration(),
        "micro_segments": _micro_segments(),
    }


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _profiles() -> pa.Table:
    rng = np.random.default_rng(7)
    income = rng.gamma(2.0, 60.0, PEOPLE).round(2)
    affinity = rng.uniform(0, 10, PEOPLE)
    classes = [
        ("high" if money >= 100 else "low", "high" if near >= 5 else "low")
        for money, near in zip(income, affinity, strict=True)
    ]
    is_known = np.arange(PEOPLE) < KNOWN
    has_value = is_known & (np.arange(PEOPLE) % 10 != 0)
    stage = rng.choice(STAGES, PEOPLE, p=[0.1, 0.5, 0.2, 0.15, 0.05])
    persona = rng.choice(["careful", "young_family", "traveller"], PEOPLE, p=[0.5, 0.3, 0.2])
    table = {
        "profile": np.arange(PEOPLE, dtype=np.int64) * 7_919 + 11,
        "is_known": is_known,
        "age": rng.integers(18, 90, PEOPLE).astype(np.float64),
        "savings": rng.lognormal(9, 1.5, PEOPLE),
        "net_income": income,
        "leading_product": rng.choice(["fund", "current_account"], PEOPLE),
        "affinity": affinity,
        "lifecycle.stage": pa.array(stage, pa.string(), mask=~is_known),
        "value.income": pa.array([each[0] for each in classes]),
        "value.affinity": pa.array([each[1] for each in classes]),
        "value.segment": pa.array(
            [CELLS[each] if has else None for each, has in zip(classes, has_value, strict=True)]
        ),
        "persona.name": pa.array(persona, pa.string(), mask=~is_known),
    }
    return pa.table(table)


@cache
def _centroids() -> Centroids:
    definition = Personas(
        characteristics={"age": PersonaFeature(value="age")},
        financial={"savings": PersonaFeature(value="savings", log=True)},
        clusters=3,
        names=("careful", "young_family", "traveller"),
    )
    schema = {"age": Type.NUMBER, "savings": Type.NUMBER}
    return fit_centroids(definition, parse_features(definition, schema), _raw(_profiles()))


def _raw(profiles: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.column_stack([profiles.column("age").to_numpy(), profiles.column("savings").to_numpy()])


def _persona_map(profiles: pa.Table) -> pa.Table:
    centroids = _centroids()
    place = place_on_map(centroids, centroids.scale.apply(_raw(profiles)))
    return pa.table({"profile": profiles.column("profile"), "x": place[:, 0], "y": place[:, 1]})


def _transitions(profiles: pa.Table) -> pa.Table:
    """Everybody joined as New; many have moved since, some of them in April 2026."""
    rng = np.random.default_rng(3)
    rows: list[tuple[int, date, str | None, str]] = []
    known = profiles.slice(0, KNOWN)
    for profile, stage in zip(
        known.column("profile").to_pylist(), known.column("lifecycle.stage").to_pylist(), strict=True
    ):
        joined = date(2025, 1, 1) + timedelta(days=int(rng.integers(0, 480)))
        rows.append((profile, joined, None, "New"))
        if stage != "New":
            moved = min(joined + timedelta(days=int(rng.integers(1, 200))), TODAY)
            rows.append((profile, moved, "New", stage))
    names = ("profile", "date", "from_stage", "to_stage")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _relations(profiles: pa.Table) -> pa.Table:
    known = profiles.slice(0, KNOWN)
    closed = [
        date(2026, 1, 1) if stage == "Regain" else None
        for stage in known.column("lifecycle.stage").to_pylist()
    ]
    return pa.table({
        "profile": known.column("profile"),
        "opened": pa.array([date(2025, 1, 1)] * KNOWN),
        "closed": pa.array(closed, pa.date32()),
    })  # fmt: skip


def _decisions(profiles: pa.Table) -> pa.Table:
    """Three of four known customers have an action: two of three of them the fund."""
    rows = []
    for place, profile in enumerate(profiles.column("profile").to_pylist()[:KNOWN]):
        if place % 4 == 3:
            continue
        order = ("fund", "card") if place % 3 else ("card", "fund")
        for rank, action in enumerate(order, start=1):
            p, v = (0.05 + place / 1e5, 400.0) if action == "fund" else (0.1, 90.0)
            channel = "email" if place % 2 else "push"
            cost = 0.25 if channel == "push" else 0.0
            rows.append((profile, rank, action, channel, p * v - cost, p, 1.0, v, 1.0, cost))
    names = ("profile", "rank", "action", "channel", "priority", "P", "C", "V", "L", "cost")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _funnel() -> pa.Table:
    rows = [
        ("card", "", 800), ("card", "contact_policy:no_consent:marketing/email", 150),
        ("card", "contact_policy:cap:weekly", 50),
        ("fund", "", 760), ("fund", "eligibility:adult", 240),
        ("never", "not_positive", 1000),
    ]  # fmt: skip
    return pa.table({
        "action": [row[0] for row in rows], "reason": [row[1] for row in rows],
        "customers": [row[2] for row in rows],
    })  # fmt: skip


def _kpis() -> pa.Table:
    """Fourteen months up to the open May 2026; `income` undefined in the first."""
    rows = []
    for number in range(14):
        start = date(2025 + (3 + number) // 12, (3 + number) % 12 + 1, 1)
        end = min((start + timedelta(days=32)).replace(day=1) - timedelta(days=1), TODAY)
        figures = {
            "customers_end": 700.0 + 20 * number,
            "gross_churn_rate": 0.01 + number / 1e4,
            "retention_rate": 0.985 - number / 1e4,
            "income": None if not number else 1e5 + number * 1234.0,
        }
        for kpi, value in figures.items():
            rows.append((start, end, kpi, "all", "all", value))
            rows += [
                (start, end, kpi, "lifecycle.stage", stage, value and value / 2) for stage in (*STAGES, "-")
            ]
    names = ("period_start", "period_end", "kpi", "dimension", "segment", "value")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _penetration() -> pa.Table:
    rows = []
    for product, holders in (("current_account", 850), ("fund", 120)):
        for start, end, part in ((date(2026, 4, 1), date(2026, 4, 30), 0.9), (date(2026, 5, 1), TODAY, 1.0)):
            held = int(holders * part)
            rows.append((start, end, product, "all", "all", held / 850, held, 850))
        rows.append(
            (date(2026, 5, 1), TODAY, product, "lifecycle.stage", "Loyal", holders / 900, holders, 900)
        )
    names = ("period_start", "period_end", "product", "dimension", "segment", "value", "holders", "customers")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _micro_segments() -> pa.Table:
    difference = {"name": "card_spend_90d", "here": 9000.0, "everywhere": 3000.0, "deviations": 1.4}
    segments = [(f"Loyal · Royals · careful · {_product(number)}", 90 - number) for number in range(15)]
    rows = [*segments, ("(small) · (small) · (small) · (small)", 77)]
    return pa.Table.from_pylist(
        [
            {"name": name, "customers": size, "share": size / KNOWN, "differences": [difference]}
            for name, size in rows
        ]
    )


def _product(number: int) -> str:
    return f"product_{number}" if number else "–"


@cache
def _models() -> dict[str, bytes]:
    """One model that passes its test, one with too little to learn from."""
    rng = np.random.default_rng(5)
    days = [date(2026, month, 1) for month in range(1, 6)]
    need = rng.normal(size=400 * len(days))
    table = pa.table({
        "profile": np.tile(np.arange(400), len(days)),
        "snapshot": pa.array([day for day in days for _ in range(400)]),
        "need": need,
        "label": rng.random(len(need)) < 1 / (1 + np.exp(1.5 - 2 * need)),
    })  # fmt: skip
    definition = Model(
        outcome=Outcome(holding="fund"), horizon="1 month", features=("need",), snapshots=Snapshots(count=5)
    )
    poor = msgspec.structs.replace(definition, acceptance=Acceptance(positives=100_000))
    return {
        "buys_fund": train(table, Task(name="buys_fund", definition=definition, threads=1)).to_bytes(),
        "buys_boat": train(table, Task(name="buys_boat", definition=poor, threads=1)).to_bytes(),
    }
