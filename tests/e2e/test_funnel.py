"""The whole funnel on the example workspace, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.commands import Commands

from tilltal.core.errors import EngineError
from tilltal.core.ids import profile_text
from tilltal.runtime.refresh import run as refreshing


def snapshot(bank: Path) -> Path:
    return bank / ".tilltal/snapshots" / (bank / ".tilltal/current").read_text(encoding="utf-8").strip()


def rows(bank: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(snapshot(bank) / f"{table}.parquet").to_pylist()
    return found


def manifest(bank: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((snapshot(bank) / "manifest.json").read_bytes())
    return found


def test_every_customer_passes_the_whole_funnel(refreshed: Path) -> None:
    profiles = rows(refreshed, "profiles")
    assert len(profiles) == manifest(refreshed)["profiles"] == 24
    for profile in profiles:
        assert profile["lifecycle.stage"] in {"New", "Loyal", "Retain", "Regain", "New comeback", None}
        assert profile["persona.name"] is not None
        assert 0 < profile["score.savings"] < 1


def test_the_funnel_of_each_action_adds_up_to_all_customers(refreshed: Path) -> None:
    sums: dict[str, int] = {}
    for row in rows(refreshed, "funnel"):
        sums[row["action"]] = sums.get(row["action"], 0) + row["customers"]
    customers = manifest(refreshed)["customers"]
    assert sums == dict.fromkeys(("open_savings", "travel_card", "welcome"), customers)


def test_who_took_part_was_shown_or_outranked(refreshed: Path) -> None:
    shown = rows(refreshed, "decisions")
    for action in ("open_savings", "travel_card"):
        parted = sum(
            row["customers"]
            for row in rows(refreshed, "funnel")
            if row["action"] == action and row["reason"] == ""
        )
        assert 0 < sum(row["action"] == action for row in shown) <= parted


def test_explanations_tell_what_the_refresh_decided(refreshed: Path, tilltal: Commands) -> None:
    shown: dict[int, list[tuple[int, str, str, float]]] = {}
    for row in rows(refreshed, "decisions"):
        shown.setdefault(row["profile"], []).append(
            (row["rank"], row["action"], row["channel"], row["priority"])
        )
    profiles = [row["profile"] for row in rows(refreshed, "profiles")][:4] + list(shown)[:2]
    for profile in profiles:
        found = tilltal("explain", refreshed, profile_text(profile), "--json").json
        told = [(each["rank"], each["action"], each["channel"], each["priority"]) for each in found["chosen"]]
        assert told == sorted(shown.get(profile, []))
        every = {each["action"] for each in (*found["chosen"], *found["not_chosen"])}
        assert every == {"open_savings", "travel_card", "welcome"}


def test_a_customer_is_known_by_number_and_namespace_and_id(refreshed: Path, tilltal: Commands) -> None:
    by_number = tilltal("explain", refreshed, "1001", "--json").json
    assert tilltal("explain", refreshed, "customer:1001", "--json").json == by_number
    assert tilltal("explain", refreshed, by_number["profile"], "--json").json == by_number
    assert tilltal("explain", refreshed, "customer1001@bank.example", "--json").json == by_number
    assert "1001" not in by_number["profile"]


def test_nobody_is_no_traceback(refreshed: Path, tilltal: Commands) -> None:
    answer = tilltal("explain", refreshed, "9999")
    assert answer.code == 4
    assert answer.err.startswith("P365 Nobody is known as '9999'.")


def test_the_context_of_the_moment_counts(refreshed: Path, tilltal: Commands) -> None:
    plain = tilltal("decide", refreshed, "--json").json
    moment = tilltal("decide", refreshed, "--json", "--context", "page=savings").json
    worth = [
        {each["action"]: each["expected_value"] for each in answer["first_actions"]}
        for answer in (plain, moment)
    ]
    assert worth[0] == worth[1]  # C moves the ranking, not what a yes is worth
    first = next(row["profile"] for row in rows(refreshed, "decisions") if row["action"] == "open_savings")
    chosen = [
        tilltal("explain", refreshed, profile_text(first), "--json", "--context", page).json["chosen"]
        for page in ("page=savings", "page=loans")
    ]
    weights = [{each["action"]: each["C"] for each in found} for found in chosen]
    assert weights[0]["open_savings"] == 1.2
    assert set(weights[1].values()) == {1.0}


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_decisions_are_written_for_other_systems(
    refreshed: Path, tilltal: Commands, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"decisions{ending}"
    answer = tilltal("decide", refreshed, "--output", target, "--slots", 1, "--json")
    assert answer.code == 0
    wanted = answer.json["with_action"]
    if ending == ".parquet":
        written = pq.read_table(target).to_pylist()
    elif ending == ".jsonl":
        written = [msgspec.json.decode(line) for line in target.read_bytes().splitlines()]
    else:
        head, *lines = target.read_text(encoding="utf-8").splitlines()
        written = [dict(zip(head.split(","), line.split(","), strict=False)) for line in lines]
    assert len(written) == wanted > 0
    assert all(str(row["profile"]).startswith("p") for row in written)
    assert list(tmp_path.iterdir()) == [target]


def test_decisions_in_an_unknown_format_are_refused_before_the_work(
    refreshed: Path, tilltal: Commands, tmp_path: Path
) -> None:
    answer = tilltal("decide", refreshed, "--output", tmp_path / "decisions.xlsx")
    assert answer.code == 1
    assert "C103" in answer.err
    assert not list(tmp_path.iterdir())


def test_key_figures_are_those_of_the_snapshot(refreshed: Path, tilltal: Commands) -> None:
    table = tilltal("kpis", refreshed, "--json", "--last", 2, "--kpi", "customers_end").json
    stored = [
        row for row in rows(refreshed, "kpis") if row["kpi"] == "customers_end" and row["dimension"] == "all"
    ]
    latest = sorted(stored, key=lambda row: row["period_start"])[-2:]
    assert table["lines"][0]["values"] == [row["value"] for row in latest]
    assert table["periods"] == [str(row["period_start"])[:10] for row in latest]
    unknown = tilltal("kpis", refreshed, "--by", "lifecycle.stag")
    assert (unknown.code, "E510" in unknown.err, "lifecycle.stage" in unknown.err) == (4, True, True)


def test_the_report_stands_alone(refreshed: Path, tilltal: Commands, tmp_path: Path) -> None:
    answer = tilltal("report", refreshed, "--output", tmp_path / "report.html", "--json")
    assert answer.code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Open a savings account" in page
    assert "<script src" not in page


def test_refreshing_again_gives_the_same_and_keeps_the_personas(bank: Path, tilltal: Commands) -> None:
    before = snapshot(bank)
    answer = tilltal("refresh", bank, "--json")
    assert answer.code == 0
    assert answer.json["trained"] == []
    after = snapshot(bank)
    assert after != before
    for table in ("profiles", "people", "transitions", "kpis", "penetration", "funnel"):
        assert as_set(before / f"{table}.parquet") == as_set(after / f"{table}.parquet"), table
    assert crossings(before) == crossings(after)  # their means are sums of floats, in any order
    for file in ("decisions.parquet", "personas.json"):
        assert (after / file).read_bytes() == (before / file).read_bytes()


def crossings(folder: Path) -> dict[str, int]:
    return {
        row["name"]: row["customers"] for row in pq.read_table(folder / "micro_segments.parquet").to_pylist()
    }


def as_set(file: Path) -> list[str]:
    """The rows of a file without their order."""
    return sorted(map(repr, pq.read_table(file).to_pylist()))


@pytest.mark.slow
def test_learning_anew_is_only_on_demand(bank: Path, tilltal: Commands) -> None:
    assert tilltal("refresh", bank, "--train", "--json").json["trained"] == ["savings"]


FULL = OSError(28, "No space left on device")
GAVE_UP = EngineError.of("E501", "The disk is full.")


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ("resolve_identities", FULL),
        ("decide_all", GAVE_UP),
        ("write_models", FULL),
        ("write_models", GAVE_UP),
    ],
)
def test_a_refresh_that_fails_leaves_the_old_snapshot_in_force(
    bank: Path, tilltal: Commands, monkeypatch: pytest.MonkeyPatch, step: str, failure: Exception
) -> None:
    before, listed = snapshot(bank), folders(bank)

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(refreshing, step, fail)
    answer = tilltal("refresh", bank)
    assert answer.code == 5
    assert "E501" in answer.err
    assert "Traceback" not in answer.err
    assert snapshot(bank) == before
    assert folders(bank) == listed
    assert tilltal("explain", bank, "1001").code == 0


def folders(bank: Path) -> list[str]:
    return sorted(path.name for path in (bank / ".tilltal/snapshots").iterdir())


def test_an_earlier_instant_knows_less(bank: Path, tilltal: Commands) -> None:
    late = {row["profile"]: row for row in rows(bank, "profiles")}
    answer = tilltal("refresh", bank, "--as-of", "2025-06-30T12:00", "--json")
    assert answer.code == 0
    assert answer.json["as_of"] == "2025-06-30T10:00:00+00:00"
    early = {row["profile"]: row for row in rows(bank, "profiles")}
    assert len(early) < len(late)
    assert set(early) <= set(late)
    last = max(row["lifecycle.since"] for row in early.values() if row["lifecycle.since"])
    assert str(last) <= "2025-06-30"


def test_an_instant_that_is_none_is_refused(refreshed: Path, tilltal: Commands) -> None:
    answer = tilltal("refresh", refreshed, "--as-of", "yesterday")
    assert answer.code == 1
    assert answer.err.startswith("C101 --as-of 'yesterday' is no instant.")


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"name": '])
def test_a_damaged_snapshot_says_what_to_do(bank: Path, tilltal: Commands, content: bytes | None) -> None:
    damaged = snapshot(bank) / "manifest.json"
    damaged.unlink() if content is None else damaged.write_bytes(content)
    answer = tilltal("explain", bank, "1001")
    assert answer.code == 4
    assert "E513" in answer.err
    assert "tilltal refresh" in answer.err
    assert tilltal("refresh", bank).code == 0
    assert tilltal("explain", bank, "1001").code == 0


def test_without_a_snapshot_the_next_step_is_named(bank: Path, tilltal: Commands) -> None:
    shutil.rmtree(bank / ".tilltal/snapshots")
    (bank / ".tilltal/current").unlink()
    for command in (("explain", bank, "1001"), ("decide", bank), ("kpis", bank), ("report", bank)):
        answer = tilltal(*command)
        assert answer.code == 4, command
        assert "E507" in answer.err
        assert "tilltal refresh" in answer.err
