"""The command about models that learn while they serve: `tilltal models`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json
from tilltal.models.adaptive.health import MATURE
from tilltal.models.adaptive.report import AdaptiveReport, ContestReport, ModelReport, PredictorReport
from tilltal.runtime.answers.models import model_named, report_models
from tilltal.workspace.check import usable


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(models)


def models(
    workspace: Folder,
    model: Annotated[
        str | None, typer.Option(help="Only this one, with its predictors: ACTION/CHANNEL.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="File for a picture (.svg): share of yes by AUC.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how the models that learn from responses are."""
    report = report_models(usable(workspace), datetime.now(UTC), picture)
    if model is not None:
        found = model_named(report, model)
        if as_json:
            console.show_json(found)
        else:
            show_model(found)
    elif as_json:
        console.show_json(report)
    else:
        show_models(report)
    if picture is not None and not as_json:
        console.out.print(f"Wrote {picture}")


def show_models(report: AdaptiveReport) -> None:
    """Print a line for each model, and what is to be watched."""
    if not report.models:
        console.out.print("No action learns from responses: none has `propensity: {adaptive: ...}`.")
        return
    console.show_table(
        "Models that learn",
        ("model", "method", "yes", "no", "share of yes", "AUC", "ECE", "lift", "maturity", "it is"),
        [_line(each) for each in report.models],
    )
    console.out.print(
        f"\n{report.mature:.0%} of the models have {MATURE} yes or more; "
        f"{report.without_evidence:.0%} of the actions have too few to tell. "
        "AUC, ECE and lift (of the best tenth) are those of the latest answers."
    )
    for each in report.models:
        for line in each.watch:
            console.out.print(console.harmless(f"{each.name}: {line}"))


def show_model(each: ModelReport) -> None:
    """Print one model: its figures, its predictors, and who challenges whom."""
    console.show_table(
        each.name,
        ("method", "yes", "no", "share of yes", "AUC", "ECE", "lift", "maturity", "it is"),
        [_line(each)[1:]],
    )
    for line in each.watch:
        console.out.print(console.harmless(line))
    if each.latest is not None and each.latest.lift:
        lifts = "  ".join(f"{lift:.2f}" for lift in each.latest.lift)
        console.out.print(f"\nLift by tenth, the best first: {lifts}")
    console.show_table(
        "\nPredictors",
        ("predictor", "AUC", "used", "PSI", "drift", "why not"),
        [_predictor(one) for one in each.predictors],
    )
    for one in each.predictors:
        if one.groups:
            console.show_table(
                f"\n{one.name}",
                ("values", "yes", "no", "adds"),
                [(group.holds, group.yes, group.no, f"{group.contribution:+.3f}") for group in one.groups],
            )
    if each.contest is not None:
        _show_contest(each.contest)


def _show_contest(contest: ContestReport) -> None:
    shares = ", ".join(
        f"{method} {share:.0%}" for method, share in zip(contest.methods, contest.shares, strict=True)
    )
    console.out.print(f"\nChampion: {contest.champion}. Decisions are served by {shares}.")
    for standing in contest.standings:
        if standing.cases:
            console.out.print(
                f"The log loss of {contest.methods[standing.challenger]} is lower by {standing.mean:.4f} "
                f"({standing.low:.4f} to {standing.high:.4f}) on {standing.cases:,} answers."
            )


def _line(each: ModelReport) -> tuple[object, ...]:
    latest = each.latest
    return (
        each.name,
        each.method,
        round(each.positives),
        round(each.negatives),
        f"{each.rate:.1%}",
        None if latest is None or latest.auc is None else f"{latest.auc:.3f}",
        None if latest is None else f"{latest.ece:.3f}",
        None if latest is None or not latest.lift else f"{latest.lift[0]:.2f}",
        f"{each.maturity:.0%}",
        each.verdict,
    )


def _predictor(one: PredictorReport) -> tuple[object, ...]:
    return (
        one.name,
        None if one.auc is None else f"{one.auc:.3f}",
        one.is_active,
        None if one.drift is None else f"{one.drift.psi:.3f}",
        None if one.drift is None else one.drift.verdict,
        one.reason,
    )
