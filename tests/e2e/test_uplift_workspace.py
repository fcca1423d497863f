"""An experiment in a workspace: from files to an accepted uplift model that decisions are made by."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.bank import NOW, Bank

from tilltal.core.ids import profile_text
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.vault import Vault
from tilltal.models.model import UpliftModel, from_bytes
from tilltal.runtime.answers.explain import explain
from tilltal.runtime.live.contract import DecideAnswer, DecideRequest
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh

pytestmark = pytest.mark.slow

PEOPLE = 8000
INSTANT = datetime(2026, 4, 1, 20, tzinfo=UTC)
EVENT = """
    kind: event
    read: {{files: data/{name}.csv}}
    identities: {{crm: customer}}
    at: at
    event: {name}
    fields: {{campaign: text}}
"""
MODEL = """
    outcome: {events: [buy], where: "campaign = 'card'"}
    horizon: 14 days
    uplift:
      treated: {events: [mail], where: "campaign = 'card'"}
      control: {events: [kept_out]}
    features: [visits]
    snapshots: {every: 1 month, count: 2}
"""
ACTION = """
    title: Card
    group: card
    purpose: service
    propensity: card_mail
    value: 100
"""


def csv_of(customers: np.ndarray, at: np.ndarray | str) -> str:
    moments = at if isinstance(at, np.ndarray) else [at] * len(customers)
    lines = (f"C-{one},{moment},card" for one, moment in zip(customers, moments, strict=True))
    return "customer,at,campaign\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Who has visited answers the mail more often, by 0.3; who has not is put off, by 0.1."""
    return made_of(Path(tmp_path_factory.mktemp("uplift")) / "bank", gain=0.3, loss=0.1)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """The mail changes nothing for anybody, and the model is told to say nothing then."""
    return made_of(
        Path(tmp_path_factory.mktemp("flat")) / "bank",
        gain=0.0,
        loss=0.0,
        model=MODEL.replace("control:", "otherwise: none\n      control:"),
        action=ACTION.replace("propensity: card_mail", "propensity: 0.2\n    uplift: card_mail"),
    )


def made_of(root: Path, *, gain: float, loss: float, model: str = MODEL, action: str = ACTION) -> Bank:
    rng = np.random.default_rng(1)
    made = Bank(root)
    everybody = np.arange(PEOPLE)
    visits = rng.random(PEOPLE) < 0.5
    treated = rng.random(PEOPLE) < 0.5
    buys = rng.random(PEOPLE) < 0.3 + treated * np.where(visits, gain, -loss)
    days = rng.integers(3, 15, int(buys.sum()))
    files = {
        "visit": csv_of(everybody[visits], "2026-01-15T09:00"),
        "login": csv_of(everybody, "2026-01-10T09:00"),
        "mail": csv_of(everybody[treated], "2026-03-02T08:00"),
        "kept_out": csv_of(everybody[~treated], "2026-03-02T08:00"),
        "buy": csv_of(everybody[buys], np.array([f"2026-03-{day:02}T12:00" for day in days])),
    }
    for name, content in files.items():
        made.write(f"sources/{name}.yaml", EVENT.format(name=name))
        made.write(f"data/{name}.csv", content)
    made.write("traits/visits.yaml", "measure: count\nfrom: [visit]\n")
    made.write("policies/consent.yaml", "purposes: {service: {consent: not_required}}\n")
    made.write("policies/arbitration.yaml", "offer_only_positive: true\n")
    made.write("models/card_mail.yaml", model)
    made.write("actions/card/action.yaml", action)
    made.write("actions/card/push.en.yaml", "body: Hello\n")
    made.ingest()
    refresh(made.workspace, now=NOW + timedelta(minutes=1), progress=Silent(), as_of=INSTANT)
    return made


def test_the_model_is_accepted_and_its_card_tells_how(bank: Bank) -> None:
    folder = bank.store.current_snapshot() / "models/card_mail"
    model = from_bytes((folder / "model").read_bytes())
    assert isinstance(model, UpliftModel)
    assert model.report.is_accepted, model.report.verdict
    assert model.known.treated + model.known.control == PEOPLE
    assert model.known.average is not None
    # half gain 0.3, half lose 0.1
    assert model.known.average.low < 0.1 < model.known.average.high
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "Qini coefficient" in card
    assert "![Qini curve" in card
    assert (folder / "qini.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_what_the_mail_adds_and_only_who_gains_gets_it(bank: Bank) -> None:
    with DuckDBEngine(threads=1) as engine:
        folder = bank.store.current_snapshot()
        rows = engine.rows(
            f'SELECT p.visits, MIN(p."score.card_mail"), MAX(p."score.card_mail"), COUNT(d.profile),'
            f" COUNT(*), MAX(ABS(d.P - p.\"score.card_mail\")) FROM '{folder}/profiles.parquet' AS p"
            f" LEFT JOIN '{folder}/decisions.parquet' AS d ON d.profile = p.profile GROUP BY 1 ORDER BY 1"
        )
    without, visited = rows
    assert -0.15 < without[1] <= without[2] < -0.05
    assert without[3] == 0
    assert 0.2 < visited[1] <= visited[2] < 0.4
    assert visited[3] == visited[4]
    assert visited[5] < 1e-6


def test_who_is_put_off_is_told_why_not(bank: Bank) -> None:
    with DuckDBEngine(threads=1) as engine:
        file = bank.store.current_snapshot() / "profiles.parquet"
        row = engine.rows(f"SELECT profile FROM '{file}' WHERE visits = 0 ORDER BY 1 LIMIT 1")[0]
    told = explain(bank.workspace, profile_text(row[0]), {})
    assert told.chosen == ()
    assert told.scores["score.card_mail"] < 0
    assert "not_positive" in str(told.not_chosen)


def answers(made: Bank, customers: list[str]) -> dict[str, DecideAnswer]:
    """Serve the bank in this process, and decide for some customers."""
    found: dict[str, DecideAnswer] = {}

    async def served() -> None:
        async with open_server(made.root, lambda: INSTANT, Silent(), {}) as server:
            for customer in customers:
                found[customer] = answer = await server.decide(DecideRequest(identity={"crm": customer}))
                account = await server.explain(answer.decision_id)
                assert account is not None
                assert account.notes == ()  # decided again it comes out the same
                assert [each.P for each in account.chosen] == [each.factors.P for each in answer.actions]

    asyncio.run(served())
    return found


def scores_of(made: Bank) -> dict[str, float | None]:
    """Return what the batch says that the mail adds, by customer."""
    with Vault(made.root / ".tilltal/vault", {}) as vault:
        names = {vault.pseudonymiser.token("crm", f"C-{one}"): f"C-{one}" for one in range(PEOPLE)}
    folder = made.store.current_snapshot()
    with DuckDBEngine(threads=1) as engine:
        rows = engine.rows(f"SELECT profile, \"score.card_mail\" FROM '{folder}/profiles.parquet'")
    return {names[profile]: score for profile, score in rows if profile in names}


def test_a_server_decides_by_what_the_mail_adds_as_the_batch_does(bank: Bank) -> None:
    scores = scores_of(bank)
    gaining = [name for name, score in scores.items() if score is not None and score > 0][:20]
    losing = [name for name, score in scores.items() if score is not None and score < 0][:20]
    assert gaining
    assert losing
    told = answers(bank, gaining + losing)
    for name in gaining:
        (only,) = told[name].actions
        score = scores[name]
        assert score is not None
        assert score == only.factors.P
        assert only.priority == round(score * 100, 9)
    assert all(told[name].actions == () for name in losing)


def test_an_action_that_asks_the_experiment_first_is_decided_by_it(
    bank: Bank, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The propensity of before is not asked where the experiment says what the mail adds."""
    other = Bank(tmp_path_factory.mktemp("asked") / "bank")
    shutil.copytree(bank.root, other.root, dirs_exist_ok=True)
    text = ACTION.replace("propensity: card_mail", "propensity: 0.9\n    uplift: card_mail")
    other.write("actions/card/action.yaml", text)
    scores = scores_of(bank)
    name, score = next((name, score) for name, score in scores.items() if score is not None and score > 0)
    (only,) = answers(other, [name])[name].actions
    assert score == only.factors.P
    assert only.reasons[-1] == "P is what a contact adds, by the experiment behind the model card_mail"


def test_where_no_effect_was_found_the_propensity_stays_and_that_is_said(flat: Bank) -> None:
    model = from_bytes((flat.store.current_snapshot() / "models/card_mail/model").read_bytes())
    assert not model.report.is_accepted
    assert "no effect found" in model.report.verdict
    assert "propensities stay" in model.report.verdict
    scores = scores_of(flat)
    assert set(scores.values()) == {None}
    (only,) = answers(flat, ["C-1"])["C-1"].actions
    assert only.factors.P == 0.2
    assert only.reasons[-2:] == (
        "the model card_mail found no effect: P is the probability of a yes, not what a contact adds",
        "P is assumed, not predicted",
    )
    with DuckDBEngine(threads=1) as engine:
        shown = engine.rows(f"SELECT DISTINCT P FROM '{flat.store.current_snapshot()}/decisions.parquet'")
    assert shown == [(0.2,)]
