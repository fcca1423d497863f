"""Commands that keep what there is: backup, restore, compact."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json
from tilltal.runtime.live.history.compaction import compact_now
from tilltal.runtime.storage.backup import BackedUp, back_up
from tilltal.runtime.storage.restoring import restore as make_again
from tilltal.workspace.check import usable
from tilltal.workspace.load import load


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(backup)
    app.command()(restore)
    app.command()(compact)


def backup(
    workspace: Folder,
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    without_vault: Annotated[bool, typer.Option("--without-vault", help="Leave the vault out.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a workspace to a folder, with sums, also while a server runs."""
    loaded = load(workspace)
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with console.progress(quiet=as_json) as bar:
        made = back_up(loaded, target, created, bar, with_vault=not without_vault)
    if as_json:
        console.show_json(made)
        return
    _show(made, f"{made.folder} holds")
    if made.operational == "postgresql":
        console.out.print(
            "The operational store is in PostgreSQL and not in the backup: copy it with "
            "`pg_dump --format=custom`, before this command, and keep the two together."
        )
    if made.has_key:
        console.out.print("The vault and its key are in the backup: guard it as you guard the vault.")
    elif made.has_vault:
        console.out.print("The vault is in the backup, its key is not: keep TILLTAL_VAULT_KEY elsewhere.")
    else:
        console.out.print("The vault is not in the backup: without it nobody can be recognised again.")


def restore(
    backup: Annotated[Path, typer.Argument(help="Folder that `tilltal backup` made.")],
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Folder to make.")],
    as_json: Json = False,
) -> None:
    """Make a workspace from a backup, once every file was found as it was written."""
    with console.progress(quiet=as_json) as bar:
        made = make_again(backup, workspace, bar)
    if as_json:
        console.show_json(made)
        return
    _show(made, f"{made.folder} has")
    if made.operational == "postgresql":
        console.out.print(
            "The operational store is in PostgreSQL: restore it with `pg_restore` from the dump that "
            "belongs to this backup, before you serve."
        )
    if not made.has_vault:
        console.out.print("The vault was not in the backup: put it in its place before anything else.")
    elif not made.has_key:
        console.out.print("The vault's key was not in the backup: set TILLTAL_VAULT_KEY.")


def compact(workspace: Folder, as_json: Json = False) -> None:
    """Move the rows of a server's log to Parquet now; a running server does so by itself."""
    moved = compact_now(usable(workspace), datetime.now(UTC))
    if as_json:
        console.show_json({"moved": moved})
    else:
        console.out.print(f"{moved:,} rows moved." if moved else "There is nothing to move.")


def _show(made: BackedUp, begin: str) -> None:
    console.out.print(f"{begin} {made.files:,} files, {made.bytes / 1e6:,.1f} MB.")
