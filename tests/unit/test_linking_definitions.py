"""`linking` of identity.yaml: its check, and what a run says where it cannot begin."""

import importlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.bank import Bank
from tests.link_people import LINKING, people

from tilltal.core.errors import DataError, EngineError
from tilltal.customers.identity.linking.plan import compile_linking
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.linking import batch, review
from tilltal.runtime.linking.run import load_weights
from tilltal.runtime.linking.verdicts import folder
from tilltal.workspace.check import check

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CRM = """
kind: record
read: {files: data/crm*.csv}
identities: {crm: number}
effective: '2026-01-01T00:00:00Z'
fields: {name: text, born: date, city: text}
"""
IDENTITY = """
namespaces: [{name: crm, unique: true}]
linking:
  compare: {name: name, born: date, city: exact}
  blocking: %s
"""


def faults(tmp_path: Path, blocking: str, rest: str = "") -> set[str]:
    bank = Bank(tmp_path)
    bank.write("sources/crm.yaml", CRM)
    bank.write("identity.yaml", IDENTITY % blocking + rest)
    return {f"{one.code}:{one.place.line}" for one in check(bank.workspace)}


@pytest.mark.parametrize(
    ("blocking", "rest", "found"),
    [
        ("[[born], ['name:3', city]]", "", set()),
        ("[]", "", {"W121:5"}),
        ("[[born], [nme]]", "", {"W130:5"}),
        ("[[born], ['name:x']]", "", {"W122:5"}),
        ("[[born, name], [born, city]]", "", {"W121:5"}),
        ("[[born], [name]]", "  sources: [erp]\n", {"W130:6"}),
        ("[[born], [name]]", "  auto_link: 0.9\n  review: 0.95\n", {"W114:7"}),
    ],
)
def test_faults_stand_at_their_place(tmp_path: Path, blocking: str, rest: str, found: set[str]) -> None:
    assert faults(tmp_path, blocking, rest) == found


def test_an_unknown_field_is_named_with_the_nearest(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.write("sources/crm.yaml", CRM)
    bank.write("identity.yaml", (IDENTITY % "[[born], [name]]").replace("city", "cty"))
    (fault,) = check(bank.workspace)
    assert (fault.code, fault.valid[0]) == ("W130", "city")


def test_without_splink_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    plan = compile_linking(LINKING)
    made = people(batch.LEAST_RECORDS, seed=1)
    table = batch.record_table({n: plan.values(one.told) for n, one in enumerate(made)}, plan)
    with DuckDBEngine() as engine, pytest.raises(EngineError, match=r"P370.*tilltal\[link\]"):
        batch.train(engine, table, plan, NOW)


def test_few_records_teach_nothing() -> None:
    plan = compile_linking(LINKING)
    table = batch.record_table({1: plan.values({"phone": "070"})}, plan)
    with DuckDBEngine() as engine, pytest.raises(DataError, match="P371"):
        batch.train(engine, table, plan, NOW)


def test_a_crowded_key_is_no_key() -> None:
    plan = compile_linking(LINKING)
    many = {n: plan.values({"phone": "0701", "email": f"a{n}@x.se"}) for n in range(plan.max_block + 1)}
    table = batch.record_table(many, plan)
    assert table["block2"].null_count == len(many)
    assert table["block3"].null_count == 0


def test_a_workspace_without_linking_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="P374"):
        review.show(Bank(tmp_path).workspace, "l0")


def test_damaged_weights_are_told_of(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    assert load_weights(bank.store) is None
    path = folder(bank.store) / "weights.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="P376"):
        load_weights(bank.store)
