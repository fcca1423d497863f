"""Thinned observations resolve to the same people, dropped links and owners through time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from tilltal.customers.identity.bulk import OBSERVATIONS, ResolvedTables, resolve_table
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.rules import Rules, compile_rules
from tilltal.customers.identity.thinning import thinned_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.identity import Identity, Limit, Namespace

NAMESPACES = (
    Namespace(name="crm", unique=True),
    Namespace(name="email", shared_after=4, limit=Limit(count=2, within="P2D")),
    Namespace(name="device", kind="device"),
    Namespace(name="push", kind="device"),
)
START = datetime(2026, 3, 1)


def rules(chance: random.Random) -> Rules:
    return compile_rules(
        Identity(
            namespaces=NAMESPACES,
            person_links=chance.choice(["first_wins", "latest_wins"]),
            anonymous_owner=chance.choice(["last_login_before", "last_login_before", "current_holder"]),
            anonymous_vouch=chance.choice([None, None, "P1D"]),
            anonymous_lookback=chance.choice([None, None, "P1D"]),
        )
    )


def observations(chance: random.Random) -> pa.Table:
    rows = []
    for place in range(chance.randrange(120)):
        names = sorted(chance.sample(range(4), chance.choice([1, 2, 2, 3])))
        at = START + timedelta(hours=chance.randrange(200))
        ids = [{"namespace": NAMESPACES[one].name, "token": one * 100 + chance.randrange(8)} for one in names]
        rows.append({"observation": f"o{place}", "at": at, "last_at": at, "ids": ids})
    return pa.Table.from_pylist(rows, OBSERVATIONS)


def corrections(chance: random.Random) -> Corrections[int]:
    return Corrections(
        revoked=frozenset(f"o{chance.randrange(120)}" for _ in range(chance.randrange(4))),
        same_as=frozenset([(200, 201)] if chance.random() < 0.3 else []),
        forbid=frozenset([(0, 100)] if chance.random() < 0.3 else []),
    )


def stated(tables: ResolvedTables) -> list[list[str]]:
    parts = (tables.people, tables.dropped_links, tables.identity_map, tables.shared_values, tables.spine)
    return [sorted(map(str, part.to_pylist())) for part in parts]


@pytest.mark.parametrize("seed", range(25))
def test_thinned_observations_say_the_same(seed: int) -> None:
    chance = random.Random(seed)
    terms, whole, decided = rules(chance), observations(chance), corrections(chance)
    engine = DuckDBEngine(threads=1)
    engine.register("observations", whole)
    thinned = engine.connection.sql(thinned_sql(terms, decided)).to_arrow_table().cast(OBSERVATIONS)
    assert stated(resolve_table(thinned, terms, decided)) == stated(resolve_table(whole, terms, decided))
    assert thinned.num_rows <= whole.num_rows


def test_equal_observations_become_one() -> None:
    ids = [{"namespace": "crm", "token": 1}, {"namespace": "device", "token": 200}]
    rows = [
        {
            "observation": f"o{day}",
            "at": START + timedelta(days=day),
            "last_at": START + timedelta(days=day),
            "ids": ids,
        }
        for day in range(9)
    ]
    engine = DuckDBEngine(threads=1)
    engine.register("observations", pa.Table.from_pylist(rows, OBSERVATIONS))
    terms = compile_rules(Identity(namespaces=NAMESPACES))
    assert engine.rows(f'SELECT "at", last_at FROM ({thinned_sql(terms)})') == [
        (START, START + timedelta(days=8))
    ]
    (kept,) = engine.rows(
        f"SELECT count(*) FROM ({thinned_sql(terms, Corrections(revoked=frozenset({'o3'})))})"
    )
    assert kept == (2,)
