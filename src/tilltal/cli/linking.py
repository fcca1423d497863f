"""Commands about records of one person that share no identifier: `tilltal link`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.linking import review
from tilltal.runtime.linking.queue import Case, cases
from tilltal.runtime.linking.run import link
from tilltal.workspace.check import usable

_SHOWN = 20

linking = typer.Typer(rich_markup_mode=None)

Pairs = Annotated[list[str], typer.Argument(help="Ids of pairs, as `link list` shows them.")]
States = Literal["waiting", "refused", "linked", "rejected", "all"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(
        linking,
        name="link",
        help="Records of one person without a common identifier: run, list, show, accept, reject, undo.",
    )


@linking.command("run")
def run_linking(
    workspace: Folder,
    train: Annotated[bool, typer.Option("--train", help="Learn the weights anew.")] = False,
    as_json: Json = False,
) -> None:
    """Compare all records, link what is sure, queue what a person should see."""
    loaded = usable(workspace)
    with console.progress(quiet=as_json) as bar:
        report = link(loaded, now=datetime.now(UTC), progress=bar, retrain=train)
    if as_json:
        console.show_json(report)
        return
    learned = "weights learned anew" if report.trained else "weights as before"
    console.out.print(
        f"{report.records:,} records compared, {learned}: {report.linked:,} pairs linked, "
        f"{report.waiting:,} wait for review, {report.refused:,} refused by a rule. {report.seconds:.1f} s."
    )
    if report.linked:
        console.out.print(
            "The links count from the next refresh on; a running server takes them up by itself."
        )


@linking.command("list")
def list_pairs(
    workspace: Folder,
    state: Annotated[States, typer.Option(help="Only pairs in this state.")] = "waiting",
    everything: Annotated[
        bool, typer.Option("--all", help=f"All pairs, not only the first {_SHOWN}.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List pairs by tokens, the most probable first; no personal data."""
    found = [one for one in cases(store_of(usable(workspace))) if state in ("all", one.state)]
    found.sort(key=lambda one: (-(one.probability or 0), one.id))
    if as_json:
        console.show_json(found)
        return
    shown = found if everything else found[:_SHOWN]
    _show_cases(f"{len(found):,} pairs", shown)
    if len(shown) < len(found):
        console.out.print(f"The first {len(shown)} are shown; --all shows the others, too.")


@linking.command("show")
def show_pair(
    workspace: Folder, pair: Annotated[str, typer.Argument(help="Id of a pair.")], as_json: Json = False
) -> None:
    """Show both records of a pair side by side. It shows personal data."""
    sight = review.show(usable(workspace), pair)
    if as_json:
        console.show_json(sight)
        return
    _show_cases(f"Pair {sight.case.id}", [sight.case])
    console.show_table(
        "What the records say",
        ("field", "one", "other", "agreement", "weight"),
        [(one.field, one.a, one.b, one.agreement, f"{one.weight:+.1f}") for one in sight.fields],
    )


@linking.command("accept")
def accept_pairs(workspace: Folder, pairs: Pairs, as_json: Json = False) -> None:
    """Link pairs: both are one person, as far as the rules of identity allow."""
    _tell(review.accept(usable(workspace), pairs, now=datetime.now(UTC)), "linked", as_json=as_json)


@linking.command("reject")
def reject_pairs(workspace: Folder, pairs: Pairs, as_json: Json = False) -> None:
    """Keep pairs apart: they are never proposed again, and never become one person."""
    _tell(review.reject(usable(workspace), pairs, now=datetime.now(UTC)), "rejected", as_json=as_json)


@linking.command("undo")
def undo_pairs(workspace: Folder, pairs: Pairs, as_json: Json = False) -> None:
    """Take back links and rejections; the pairs wait for review again."""
    _tell(review.undo(usable(workspace), pairs, now=datetime.now(UTC)), "undone", as_json=as_json)


def _show_cases(title: str, found: list[Case]) -> None:
    console.show_table(
        title,
        ("id", "state", "probability", "one", "other", "rule"),
        [
            (
                one.id,
                one.state,
                "–" if one.probability is None else f"{one.probability:.5f}",
                f"{one.namespace_a}:{one.a}",
                f"{one.namespace_b}:{one.b}",
                one.objection,
            )
            for one in found
        ],
    )


def _tell(done: tuple[Case, ...], word: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json(done)
        return
    what = "1 pair" if len(done) == 1 else f"{len(done)} pairs"
    console.out.print(f"{what} {word}. It counts from the next refresh on; a running server takes it up.")
