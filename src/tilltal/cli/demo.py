"""The demo: a simulated bank, from raw files to the next best action for every customer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.customers import show_decisions
from tilltal.cli.data import show_manifest, show_report
from tilltal.cli.options import Json
from tilltal.demo.demo import prepare
from tilltal.demo.worth.run import Trial, measure
from tilltal.insight.report.worth import COLUMNS, WorthView, conclusion, shown
from tilltal.runtime.answers.decide import decisions_of
from tilltal.runtime.answers.report import write_report
from tilltal.runtime.answers.studies import keep_study
from tilltal.runtime.intake.ingest import ingest
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(demo)


def demo(
    target: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    customers: Annotated[int, typer.Option(min=100, max=1_000_000, help="How many customers.")] = 20_000,
    months: Annotated[int, typer.Option(min=6, max=60, help="How many months of history.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed makes another bank.")] = 1,
    worth_customers: Annotated[
        int, typer.Option(min=0, max=10_000, help="Customers to compare strategies on; 0 = no comparison.")
    ] = 600,
    worth_months: Annotated[int, typer.Option(min=1, max=12, help="Months to compare them over.")] = 3,
    as_json: Json = False,
) -> None:
    """Simulate a Nordic bank, run the whole funnel on its raw files, and show what each step is worth."""
    with console.progress(quiet=as_json) as bar:
        prepare(target, customers=customers, months=months, seed=seed, progress=bar)
        workspace = usable(target)
        ingested = ingest(workspace, None, bar, now=datetime.now(UTC))
        manifest = refresh(workspace, now=datetime.now(UTC), progress=bar)
        decisions = decisions_of(workspace)
        trial = Trial(str(target), customers, months, seed, worth_customers, worth_months)
        worth = measure(trial, bar) if worth_customers else None
        if worth is not None:
            keep_study(workspace, worth)
        page = write_report(workspace)
    if as_json:
        told = {
            "ingested": ingested, "refreshed": manifest, "decisions": decisions, "worth": worth,
            "report": str(page),
        }  # fmt: skip
        console.show_json(told)
        return
    show_report(ingested, target)
    show_manifest(manifest)
    show_decisions(decisions, workspace.currency)
    if worth is not None:
        show_worth(worth, workspace.currency)
    console.out.print(f"\nThe report: {page}")
    somebody = decisions.example or "CUSTOMER"
    console.out.print(f"Why does somebody get what? {console.program()} explain {target} {somebody}")


def show_worth(view: WorthView, currency: str) -> None:
    """Print what each step is worth, with 95 % intervals."""
    console.out.print()
    rows = [
        (step.name, *("{} ({})".format(*shown(step, field, decimals)) for field, _, decimals in COLUMNS[1:5]))
        for step in view.steps
    ]
    title = f"What each step is worth: {view.customers:,} customers, {view.months} months, {currency}"
    console.show_table(title, ("", *(heading for _, heading, _ in COLUMNS[1:5])), rows)
    console.out.print(conclusion(view))
