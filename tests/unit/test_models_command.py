"""`tilltal models`: what the operational store has of adaptive models, shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.commands import Commands

from tilltal.core.operational import Writes
from tilltal.engines.operational.opening import open_store
from tilltal.models.adaptive.bins import plain_bins
from tilltal.models.adaptive.team import layouts, new_team
from tilltal.rules.types import Type
from tilltal.runtime.live.places import store_place
from tilltal.workspace.definitions.actions import Adaptive, Challenger
from tilltal.workspace.load import load

FILES = {
    "tilltal.yaml": "name: bank\nchannels: [email]\nlanguages: [en]\n",
    "sources/people.yaml": (
        "kind: record\nread: {files: a.csv}\nidentities: {customer: id}\nat: at\n"
        "fields: {age: {type: integer}}\n"
    ),
    "actions/card/action.yaml": (
        "title: A\ngroup: cards\npropensity: {adaptive: {base_rate: 0.1, features: [age], "
        "challenger: {method: bayesian_logistic}}}\n"
    ),
    "actions/card/email.en.yaml": "body: Hello\n",
}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tilltal(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def teach(bank: Path) -> None:
    """Store a team that has learned that the old say yes."""
    definition = Adaptive(base_rate=0.1, features=("age",), challenger=Challenger(method="bayesian_logistic"))
    team = new_team("card/email", layouts(definition, {"age": plain_bins(Type.INTEGER)}), 0)
    for number in range(600):
        age = 70 if number % 2 else 25
        label = number % 10 in ((1, 3, 5, 7) if age == 70 else (0,))
        team.revise(team.case((age,), 0, 0), None, label, 0)

    Path(store_place(load(bank))).parent.mkdir()

    async def store() -> None:
        opened = await open_store(store_place(load(bank)))
        await opened.write(Writes(adaptive={"card/email": team.to_bytes(0)}))
        await opened.close()

    asyncio.run(store())


def test_models_that_learned_are_shown_with_their_figures(bank: Path, tilltal: Commands) -> None:
    teach(bank)
    report = tilltal("models", bank, "--json").json
    (model,) = report["models"]
    assert (model["positives"], model["negatives"]) == (300, 300)
    assert model["verdict"] == "strong" or model["verdict"] == "healthy"
    assert report["mature"] == 1
    assert report["without_evidence"] == 0
    shown = tilltal("models", bank)
    assert shown.code == 0
    assert "card/email" in shown.out
    assert "100% of the models have 200 yes or more" in shown.out


def test_one_model_is_shown_with_predictors_and_contest(bank: Path, tilltal: Commands) -> None:
    teach(bank)
    shown = tilltal("models", bank, "--model", "card/email", "--picture", bank / "models.svg")
    assert shown.code == 0
    assert "from 60 below 80" in shown.out or "from 30" in shown.out
    assert "Champion: naive_bayes" in shown.out
    assert (bank / "models.svg").read_text(encoding="utf-8").count("<circle") == 1


def test_before_anything_was_served_all_models_are_young(bank: Path, tilltal: Commands) -> None:
    (model,) = tilltal("models", bank, "--json").json["models"]
    assert (model["positives"], model["verdict"], model["latest"]) == (0, "young", None)
    assert not Path(store_place(load(bank))).exists(), "looking makes no store"


def test_an_unknown_model_is_told_with_those_there_are(bank: Path, tilltal: Commands) -> None:
    told = tilltal("models", bank, "--model", "card/mail")
    assert told.code != 0
    assert "M414" in told.err
    assert "card/email" in told.err


def test_a_challenger_must_differ(bank: Path, tilltal: Commands) -> None:
    file = bank / "actions/card/action.yaml"
    file.write_text(file.read_text().replace("bayesian_logistic", "naive_bayes"), encoding="utf-8")
    told = tilltal("check", bank)
    assert told.code == 2
    assert "W133" in told.err + told.out
