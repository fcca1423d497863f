"""The examples over real data, from files to decisions; the README of each says where the data come from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import msgspec
import pytest

from tilltal.rules.expression import parse
from tilltal.rules.python import to_python
from tilltal.rules.types import Type
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot
from tilltal.runtime.intake import quarantine
from tilltal.runtime.intake.ingest import IngestReport, ingest, store_of
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.manifest import Manifest
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable
from tilltal.workspace.names import profile_schema

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TILLTAL_SHARED", REPOSITORY.parent / "shared")) / "data"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

Rows = list[tuple[object, ...]]


class Funnel(msgspec.Struct, frozen=True):
    """What a run of an example left behind."""

    snapshot: Snapshot
    report: IngestReport
    manifest: Manifest
    rejected: tuple[quarantine.Entry, ...]

    def rows(self, sql: str) -> Rows:
        """Return the rows of a query over the snapshot's tables, named by their file names."""
        with duckdb.connect() as connection:
            for path in sorted(self.snapshot.folder.glob("*.parquet")):
                connection.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM read_parquet('{path}')")
            return connection.execute(sql).fetchall()

    def counts(self, column: str) -> dict[object, int]:
        """Return how many profiles there are of each value of a column."""
        found = self.rows(f'SELECT "{column}", count(*) FROM profiles GROUP BY ALL')
        return {value: int(str(count)) for value, count in found}

    def taken(self) -> dict[str, tuple[int, int]]:
        """Return how many rows each source had, and how many of them were taken in."""
        return {file.source: (file.rows, file.taken) for file in self.report.files}

    def card(self, model: str) -> str:
        """Return the card of a model."""
        return (self.snapshot.folder / "models" / model / "card.md").read_text(encoding="utf-8")


@contextmanager
def run(example: str, folder: Path) -> Iterator[Funnel]:
    """Run an example in a copy that sees the data through a link."""
    root = folder / example
    shutil.copytree(
        REPOSITORY / "examples" / example, root, ignore=shutil.ignore_patterns("data", ".tilltal")
    )
    (root / "data").symlink_to(SHARED, target_is_directory=True)
    workspace = usable(root)
    report = ingest(workspace, None, Silent(), now=NOW)
    manifest = refresh(workspace, now=NOW, progress=Silent())
    rejected = quarantine.entries(store_of(workspace))
    with open_snapshot(workspace) as snapshot:
        yield Funnel(snapshot, report, manifest, rejected)


def data_or_skip(file: str) -> None:
    if not (SHARED / file).exists():
        pytest.skip(f"{file} is not here; set TILLTAL_SHARED to a folder with data/{file}")


@pytest.fixture(scope="module")
def berka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Funnel]:
    data_or_skip("berka_trans_head.parquet")
    with run("berka", tmp_path_factory.mktemp("examples")) as funnel:
        yield funnel


@pytest.fixture(scope="module")
def grocer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Funnel]:
    data_or_skip("dunnhumby_transactions.parquet")
    with run("grocer", tmp_path_factory.mktemp("examples")) as funnel:
        yield funnel


def assert_customers_add_up(funnel: Funnel) -> dict[date, tuple[int, int, int, int]]:
    """Each period ends with those it began with, plus the new, less the lost, and so begins the next."""
    found = funnel.rows(
        "SELECT period_start, " + ", ".join(
            f"CAST(sum(value) FILTER (WHERE kpi = 'customers_{kpi}') AS BIGINT)"
            for kpi in ("start", "new", "left", "end")
        ) + " FROM kpis WHERE dimension = 'all' GROUP BY ALL ORDER BY ALL"
    )  # fmt: skip
    periods = {day: figures for day, *figures in found if isinstance(day, date)}
    assert len(periods) >= 12
    before = None
    result = {}
    for day, (start, new, left, end) in periods.items():
        assert (type(start), type(new), type(left), type(end)) == (int, int, int, int)
        start, new, left, end = int(str(start)), int(str(new)), int(str(left)), int(str(end))
        assert end == start + new - left, day
        assert before in (None, start), day
        before = end
        result[day] = (start, new, left, end)
    return result


def assert_shown_actions_pass(funnel: Funnel, fewest: int) -> None:
    """What batch SQL decided passes the same conditions evaluated one customer at a time in Python."""
    workspace = funnel.snapshot.workspace
    schema = profile_schema(workspace)
    conditions = {
        name: [
            (condition.name, to_python(parse(condition.when, schema, want=Type.BOOLEAN)))
            for condition in (*action.eligibility, *action.applicability, *action.suitability)
        ]
        for name, action in workspace.actions.items()
    }
    shown = funnel.rows("SELECT profile, rank, action, channel, priority, P, C, V, L FROM decisions")
    profiles = profiles_of(funnel)
    clock = funnel.snapshot.clock
    assert len(shown) >= fewest
    for profile, _, action, channel, priority, p, c, v, lever in shown:
        for name, holds in conditions[str(action)]:
            assert holds(profiles[profile], clock) is True, (profile, action, name)
        assert channel in workspace.settings.channels
        product = float(str(p)) * float(str(c)) * float(str(v)) * float(str(lever))
        assert float(str(priority)) == pytest.approx(product)
    assert {str(row[2]) for row in shown} == set(workspace.actions)


def profiles_of(funnel: Funnel) -> Mapping[object, Mapping[str, object]]:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM '{funnel.snapshot.folder}/profiles.parquet'")
        names = [column[0] for column in found.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return {row["profile"]: row for row in rows}


def assert_ranks_follow_priority(funnel: Funnel) -> None:
    slots = funnel.snapshot.workspace.arbitration.slots
    (broken,) = funnel.rows(
        "SELECT count(*) FROM (SELECT priority > lag(priority) OVER best AS is_higher, "
        "rank <> row_number() OVER best AS is_off, rank FROM decisions "
        f"WINDOW best AS (PARTITION BY profile ORDER BY rank)) WHERE is_higher OR is_off OR rank > {slots}"
    )
    assert broken == (0,)


def test_berka_has_the_published_row_counts_and_no_row_is_refused(berka: Funnel) -> None:
    assert berka.taken() == {
        "accounts": (4500, 4500),
        "clients": (5369, 5369),
        "cards": (892, 892),
        "card_types": (892, 892),
        "loans": (682, 682),
        "standing_orders": (708, 708),
        "transactions": (49102, 49102),
    }
    assert berka.rejected == ()


def test_berka_knows_nobody_before_the_first_account(berka: Funnel) -> None:
    # 1,229 accounts were opened by 31 March 1994; 260 people may use somebody else's
    assert berka.manifest.as_of.startswith("1994-03-30T22:00:")
    assert berka.counts("role") == {"owner": 1229, "authorised_user": 260}
    assert berka.manifest.dropped_links == 0


def test_berka_transactions_reach_the_owner_through_the_account(berka: Funnel) -> None:
    shared = duckdb.execute(
        "SELECT count(*) FILTER (WHERE k_symbol = 'SANKC. UROK'), count(DISTINCT account_id) "
        f"FROM '{SHARED / 'berka_trans_head.parquet'}'"
    ).fetchall()
    ((fined, owners),) = berka.rows(
        "SELECT sum(penalties_365d), count(*) FROM profiles WHERE bookings_365d > 0"
    )
    assert [(int(str(fined)), owners)] == shared == [(64, 1229)]
    assert berka.rows(
        "SELECT count(*) FROM profiles WHERE role = 'authorised_user' AND balance IS NOT NULL"
    ) == [(0,)]


def test_berka_ages_come_from_birth_numbers(berka: Funnel) -> None:
    # a century of birth years, and no month above 12 left: women have 50 added
    ((youngest, oldest, women),) = berka.rows(
        "SELECT min(age), max(age), avg(CAST(gender = 'woman' AS INTEGER)) FROM profiles"
    )
    assert 5 <= int(str(youngest)) <= 18 < 75 <= int(str(oldest)) <= 83
    assert 0.45 < float(str(women)) < 0.55


def test_berka_segments_are_all_in_use(berka: Funnel) -> None:
    stages = berka.counts("lifecycle.stage")
    assert stages[None] == 260
    assert {"New", "Loyal", "Retain"} == {stage for stage in stages if stage}
    cells = berka.counts("value.segment")
    assert cells.pop(None) == 260
    assert len(cells) == 6
    assert min(cells.values()) >= 50
    personas = berka.counts("persona.name")
    assert personas.pop(None) == 260
    assert len(personas) == 5
    assert len(berka.rows("SELECT * FROM micro_segments")) > 10
    ((overlap, alike),) = berka.rows(
        'SELECT count(*) FILTER (WHERE "audience.bill_payers"), count(*) FROM profiles '
        'WHERE "audience.bill_payers_alike"'
    )
    assert (overlap, alike) == (0, 150)


def test_berka_learns_what_happens_often_and_owns_up_to_the_rest(berka: Funnel) -> None:
    assert "**accepted: AUC 0.9" in berka.card("large_withdrawal")
    assert "**accepted: AUC 0.9" in berka.card("starts_standing_order")
    for rare in ("takes_loan", "gets_card"):
        assert "100 needed: the base rate" in berka.card(rare)
        (scores,) = berka.rows(f'SELECT count(DISTINCT "score.{rare}"), max("score.{rare}") FROM profiles')
        assert scores[0] == 1
        assert 0 < float(str(scores[1])) < 0.05


def test_berka_decides_within_the_rules(berka: Funnel) -> None:
    assert_shown_actions_pass(berka, 1000)
    assert_ranks_follow_priority(berka)


def test_berka_key_figures_agree_with_the_files(berka: Funnel) -> None:
    periods = assert_customers_add_up(berka)
    published = dict(
        duckdb.execute(
            "SELECT strptime(CAST(date // 100 AS VARCHAR) || '01', '%y%m%d')::DATE, count(*) "
            f"FROM '{SHARED / 'berka_account.parquet'}' WHERE date < 940401 GROUP BY ALL"
        ).fetchall()
    )
    assert {day: new for day, (_, new, _, _) in periods.items()} == published
    assert {left for _, _, left, _ in periods.values()} == {0}


def test_grocer_has_the_published_row_counts(grocer: Funnel) -> None:
    assert grocer.taken() == {
        "purchases": (1_469_307, 1_460_438),
        "visits": (155_848, 155_848),
        "campaigns": (6589, 6589),
        "redemptions": (2102, 2102),
        "demographics": (801, 801),
    }
    assert grocer.manifest.profiles == 2469
    assert grocer.counts("is_known") == {True: 2469}


def test_grocer_refuses_the_lines_of_quantity_zero_and_no_others(grocer: Funnel) -> None:
    (zero,) = duckdb.execute(
        f"SELECT count(*) FROM '{SHARED / 'dunnhumby_transactions.parquet'}' WHERE quantity < 1"
    ).fetchall()
    assert zero == (8869,)
    assert len(grocer.rejected) == 8869
    assert {entry.source for entry in grocer.rejected} == {"purchases"}
    assert len({entry.codes for entry in grocer.rejected}) == 1


def test_grocer_spend_is_exact_to_the_cent(grocer: Funnel) -> None:
    ((cents,),) = grocer.rows("SELECT CAST(round(sum(spend_365d) * 100) AS BIGINT) FROM profiles")
    ((expected,),) = duckdb.execute(
        "SELECT sum(CAST(round(sales_value * 100) AS BIGINT)) "
        f"FROM '{SHARED / 'dunnhumby_transactions.parquet'}' "
        "WHERE quantity > 0 AND transaction_timestamp >= TIMESTAMP '2017-01-01 05:00:00'"
    ).fetchall()
    assert cents == int(expected)


def test_grocer_segments_are_all_in_use(grocer: Funnel) -> None:
    stages = grocer.counts("lifecycle.stage")
    assert set(stages) == {"New", "Loyal", "Retain", "Regain", "New comeback"}
    cells = grocer.counts("value.segment")
    assert sum(cells.values()) == 2469
    assert len([cell for cell in cells if cell]) == 6
    personas = grocer.counts("persona.name")
    assert len([persona for persona in personas if persona]) == 6
    assert len(grocer.rows("SELECT * FROM micro_segments")) > 10
    ((overlap, alike),) = grocer.rows(
        'SELECT count(*) FILTER (WHERE "audience.coupon_users"), count(*) FROM profiles '
        'WHERE "audience.coupon_users_alike"'
    )
    assert (overlap, alike) == (0, 200)
    assert grocer.rows('SELECT count(*) FROM profiles WHERE "audience.coupon_users"') == [(410,)]


@pytest.mark.parametrize("model", ["buys_deli", "buys_nutrition", "redeems_coupon", "stops_coming"])
def test_grocer_models_beat_chance_on_the_latest_weeks(grocer: Funnel, model: str) -> None:
    card = grocer.card(model)
    assert "**accepted: AUC 0." in card
    auc = float(card.split("**accepted: AUC ")[1].split()[0])
    assert 0.65 <= auc < 0.99
    ((low, high, values),) = grocer.rows(
        f'SELECT min("score.{model}"), max("score.{model}"), count(DISTINCT "score.{model}") FROM profiles'
    )
    assert 0 <= float(str(low)) < float(str(high)) <= 1
    assert int(str(values)) > 50


def test_grocer_decides_within_the_rules(grocer: Funnel) -> None:
    assert_shown_actions_pass(grocer, 1000)
    assert_ranks_follow_priority(grocer)


def test_grocer_leaves_those_alone_who_were_written_to_this_week(grocer: Funnel) -> None:
    # one contact in seven days: campaign 23 began on 28 December
    recent = duckdb.execute(
        f"SELECT DISTINCT household_id FROM '{SHARED / 'dunnhumby_campaigns.parquet'}' WHERE campaign_id = 23"
    ).fetchall()
    ((contacted, decided),) = grocer.rows(
        "SELECT count(*), count(d.profile) FROM profiles AS p "
        "LEFT JOIN (SELECT DISTINCT profile FROM decisions) AS d USING (profile) WHERE sent_recency < 7"
    )
    assert contacted == len(recent) > 0
    assert decided == 0


def test_grocer_key_figures_agree_with_the_files(grocer: Funnel) -> None:
    periods = assert_customers_add_up(grocer)
    first, last = min(periods), max(periods)
    assert periods[first][0] == 0
    assert sum(left for _, _, left, _ in periods.values()) > 300
    stages = grocer.counts("lifecycle.stage")
    assert periods[last][3] == 2469 - stages["Regain"]
    ((income,),) = grocer.rows("SELECT sum(value) FROM kpis WHERE dimension = 'all' AND kpi = 'income'")
    ((total,),) = duckdb.execute(
        f"SELECT sum(sales_value) FROM '{SHARED / 'dunnhumby_transactions.parquet'}'"
    ).fetchall()
    assert float(str(income)) == pytest.approx(float(total), abs=0.5)
