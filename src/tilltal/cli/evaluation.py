"""The command that says what another policy would have earned: `tilltal evaluate`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Json
from tilltal.models.offpolicy.evaluation import Evaluation
from tilltal.runtime.answers.evaluating import evaluate_file
from tilltal.runtime.live.answers.judging import Judged, evaluate_logged
from tilltal.runtime.progress import Progress
from tilltal.workspace.check import usable

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help=(
            "A workspace: its definitions are judged by what its server decided. Or CSV or Parquet, one row"
            " per decision: action, reward, probability, new.<action> for each action; optionally customer,"
            " logged.<action> and feature.<name>."
        ),
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(evaluate)


def evaluate(
    file: File,
    seed: Annotated[int, typer.Option(help="Of the division that models rewards.", min=0)] = 1,
    as_json: Json = False,
) -> None:
    """Estimate what a new policy would have earned, from decisions logged with their probabilities."""
    with console.progress(quiet=as_json) as bar:
        bar.start("evaluating", None)
        judged = _of_server(file, seed, bar) if file.is_dir() else None
        found = evaluate_file(file, seed=seed) if judged is None else judged.evaluation
    if as_json:
        left_out = {} if judged is None else {"young": judged.young, "lacking": judged.lacking}
        console.show_json({"verdict": found.verdict, "evaluation": found, "left_out": left_out})
    else:
        show_evaluation(found)
        _show_left_out(judged)


def _of_server(root: Path, seed: int, bar: Progress) -> Judged:
    return asyncio.run(evaluate_logged(usable(root), datetime.now(UTC), seed, bar))


def _show_left_out(judged: Judged | None) -> None:
    if judged is not None and judged.young:
        console.out.print(f"{judged.young:,} decisions may still be answered and were left out.")
    if judged is not None and judged.lacking:
        names = ", ".join(judged.names)
        said = (
            f"{judged.lacking:,} decisions were left out, for the log lacks what was not read then: {names}."
        )
        console.out.print(console.harmless(said))


def show_evaluation(found: Evaluation) -> None:
    """Print the sentence, the estimators and how far the log covers the new policy."""
    console.out.print(console.harmless(found.verdict))
    console.show_table(
        "Reward per decision, with 95 % intervals",
        ("estimator", "value", "from", "to", "gain", "from", "to"),
        [
            (
                one.method,
                *(f"{each:.4g}" for each in (one.value.value, one.value.low, one.value.high)),
                *(f"{each:+.4g}" for each in (one.gain.value, one.gain.low, one.gain.high)),
            )
            for one in found.values
        ],
    )
    overlap = found.overlap
    console.out.print(
        f"{overlap.rows:,} decisions, worth {overlap.effective:,.0f} of the new policy's own; the heaviest"
        f" has {100 * overlap.largest_share:.2g} % of all weight; mean weight {overlap.mean_weight:.3f}"
        f" ± {overlap.mean_weight_error:.3f} (1 is right)."
    )
