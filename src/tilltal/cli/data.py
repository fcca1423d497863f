"""Commands about data: ingest, quarantine, refresh."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import AsOf, Folder, Json, instant
from tilltal.runtime.intake import correction
from tilltal.runtime.intake.ingest import IngestError, IngestReport, open_vault, reingest, store_of
from tilltal.runtime.intake.ingest import ingest as take_in
from tilltal.runtime.intake.quarantine import entries, one, opened
from tilltal.runtime.live.intake.second_look import look_again, refused_by
from tilltal.runtime.refresh.manifest import Manifest
from tilltal.runtime.refresh.run import refresh as compute
from tilltal.workspace.check import usable

_SHOWN = 20

quarantine = typer.Typer(rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(ingest)
    app.command()(refresh)
    app.add_typer(
        quarantine, name="quarantine", help="Rows that broke their contract: list, show, export, retry."
    )


def ingest(
    workspace: Folder,
    sources: Annotated[list[str] | None, typer.Argument(help="Names of sources; else all.")] = None,
    as_json: Json = False,
) -> None:
    """Take in new files and queries; what broke its contract goes to quarantine."""
    loaded = usable(workspace)
    try:
        with console.progress(quiet=as_json) as bar:
            report = take_in(loaded, sources or None, bar, now=datetime.now(UTC))
    except IngestError as error:
        if as_json:
            console.show_json({"files": error.report.files, "faults": error.faults})
            raise typer.Exit(error.exit_code) from error
        show_report(error.report, workspace)
        raise
    if as_json:
        console.show_json(report)
    else:
        show_report(report, workspace)


def refresh(
    workspace: Folder,
    as_of: AsOf = None,
    train: Annotated[bool, typer.Option("--train", help="Learn models and personas anew.")] = False,
    as_json: Json = False,
) -> None:
    """Compute everything for all customers, as of one instant, and swap it in."""
    loaded = usable(workspace)
    with console.progress(quiet=as_json) as bar:
        manifest = compute(
            loaded, now=datetime.now(UTC), progress=bar, as_of=instant(as_of, loaded), retrain=train
        )
    if as_json:
        console.show_json(manifest)
    else:
        show_manifest(manifest)


def show_report(report: IngestReport, workspace: Path) -> None:
    """Print what came of each source."""
    rows: dict[str, list[float]] = {}
    for file in report.files:
        sums = rows.setdefault(file.source, [0, 0, 0, 0, 0, 0.0])
        counts = (1, file.rows, file.taken, file.duplicate, file.quarantined, file.seconds)
        rows[file.source] = [total + count for total, count in zip(sums, counts, strict=True)]
    console.show_table(
        "Ingested",
        ("source", "files", "rows", "taken in", "known already", "quarantined", "seconds"),
        [(source, *map(int, sums[:-1]), f"{sums[-1]:.1f}") for source, sums in rows.items()],
    )
    if report.quarantined:
        waiting = "1 row is" if report.quarantined == 1 else f"{report.quarantined:,} rows are"
        folder = shlex.quote(str(workspace))
        console.out.print(f"{waiting} in quarantine: {console.program()} quarantine list {folder} shows why.")
    elif not report.taken:
        console.out.print("There is nothing new.")


def show_manifest(manifest: Manifest) -> None:
    """Print what a refresh made and how long it took."""
    console.show_table(
        f"{manifest.name} as of {manifest.as_of}",
        ("step", "seconds", "CPU seconds"),
        [(step.name, f"{step.seconds:.1f}", f"{step.cpu_seconds:.1f}") for step in manifest.steps],
    )
    console.out.print(
        f"{manifest.profiles:,} profiles, {manifest.customers:,} of them known; "
        f"{manifest.dropped_links:,} links dropped; {len(manifest.trained)} models trained."
    )
    if manifest.base_rates:
        console.out.print(f"No better than the base rate, which is used: {', '.join(manifest.base_rates)}.")
    console.show_faults(manifest.warnings, as_json=False)


@quarantine.command("list")
def list_rows(
    workspace: Folder,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All rows, not only the first {_SHOWN}.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List rows in quarantine with file, row and reasons."""
    loaded = usable(workspace)
    if source is not None:
        refused_by(loaded, source)
    found = entries(store_of(loaded), source)
    with open_vault(loaded) as vault:
        shown = found if everything or as_json else found[:_SHOWN]
        rows = [(entry, opened(vault, entry).reasons) for entry in shown]
    if as_json:
        console.show_json(
            [
                {
                    "id": entry.id,
                    "source": entry.source,
                    "file": entry.file,
                    "row": entry.row,
                    "codes": entry.codes,
                    "reasons": reasons,
                }
                for entry, reasons in rows
            ]
        )
        return
    console.show_table(
        f"{len(found):,} rows in quarantine",
        ("id", "source", "file", "row", "reason"),
        [(entry.id, entry.source, entry.file, entry.row, " ".join(reasons)) for entry, reasons in rows],
    )
    if len(shown) < len(found):
        console.out.print(f"The first {len(shown)} are shown; --all shows the others, too.")


@quarantine.command("show")
def show_row(
    workspace: Folder, entry: Annotated[str, typer.Argument(help="Id of a row.")], as_json: Json = False
) -> None:
    """Show one row as it came, with its reasons."""
    loaded = usable(workspace)
    found = one(store_of(loaded), entry)
    with open_vault(loaded) as vault:
        content = opened(vault, found)
    if as_json:
        told = {"id": found.id, "source": found.source, "file": found.file, "row": found.row}
        console.show_json({**told, "reasons": content.reasons, "raw": content.raw})
        return
    console.out.print(f"{found.source}, {found.file}, row {found.row}")
    for reason in content.reasons:
        console.out.print(console.harmless(f"  {reason}"))
    console.out.print(console.harmless(content.raw))


@quarantine.command("export")
def export_rows(
    workspace: Folder,
    source: Annotated[str, typer.Argument(help="Name of the source.")],
    target: Annotated[Path, typer.Argument(help="File to write, in the source's own format.")],
    as_json: Json = False,
) -> None:
    """Write a source's rows in quarantine to a file, to be corrected there. It holds personal data."""
    loaded = usable(workspace)
    definition = refused_by(loaded, source)
    with open_vault(loaded) as vault:
        made = correction.export(store_of(loaded), vault, source, definition, target)
    if as_json:
        console.show_json({"files": [str(file) for file in made]})
        return
    given = shlex.join(["tilltal", "quarantine", "retry", str(workspace), source, str(made[0])])
    console.out.print(f"Wrote {', '.join(map(str, made))}. Correct it, then: {given}")


@quarantine.command("retry")
def retry_rows(
    workspace: Folder,
    source: Annotated[str, typer.Argument(help="Name of the source.")],
    file: Annotated[
        Path | None, typer.Argument(help="The corrected file; else all rows as they are.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take corrected rows in again; those that pass leave the quarantine."""
    loaded = usable(workspace)
    with console.progress(quiet=as_json) as bar:
        if refused_by(loaded, source).read.collector is not None:
            report = IngestReport(files=(look_again(loaded, source, file, datetime.now(UTC)),))
        else:
            report = reingest(loaded, source, file, bar, now=datetime.now(UTC))
    if as_json:
        console.show_json(report)
    else:
        show_report(report, workspace)
