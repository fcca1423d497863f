"""Where a scenario's definitions come from: a folder, a commit of git, or a patch of the workspace.

Commits and patches are laid out in a folder of their own that is gone once they are read; nothing of the
workspace is touched.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tilltal.core.errors import Fault, TilltalError, WorkspaceError
from tilltal.core.names import is_name
from tilltal.decisions.simulation.experiments import EXPERIMENTS, Experiment
from tilltal.workspace import layout
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

FIRST = "now"
PATCHES = (".patch", ".diff")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Definitions under a name; those of an experiment are the first scenario's."""

    name: str
    words: str
    workspace: Workspace
    experiment: Experiment | None = None


def scenarios_of(
    workspace: Workspace, asked: Sequence[str], *, with_experiments: bool = False
) -> tuple[Scenario, ...]:
    """Return the scenarios: the workspace as it is, then those asked for, then the experiments.

    Args:
        workspace: what the others are compared with.
        asked: `NAME=SOURCE` each; the source is a folder, a commit, or a file that ends in .patch or .diff.
        with_experiments: add the impact experiments on the workspace as it is.

    Raises:
        TilltalError: C119 for a text that is none, a name twice, or a source that cannot be had; C121 for
            definitions of another kind of customer.
        WorkspaceError: with the faults of a scenario's definitions, its name before each place.
    """
    experiments = EXPERIMENTS if with_experiments else ()
    taken = {FIRST, *(each.name for each in experiments)}
    found = [Scenario(name=FIRST, words="the definitions as they are", workspace=workspace)]
    for text in asked:
        name, sign, source = text.partition("=")
        if not (sign and is_name(name) and source) or name in taken:
            raise TilltalError.of(
                "C119",
                f"--scenario {text!r} is no NAME=SOURCE, or its name is taken.",
                hint="Write one such as bold=../mybank-bold, last=HEAD~1 or bold=bold.patch.",
            )
        taken.add(name)
        found.append(Scenario(name=name, words=source, workspace=_read(workspace, name, source)))
    for one in experiments:
        found.append(Scenario(name=one.name, words=one.words, workspace=workspace, experiment=one))
    return tuple(found)


def _read(workspace: Workspace, name: str, source: str) -> Workspace:
    with _laid_out(workspace, source) as folder:
        try:
            other = usable(folder)
        except WorkspaceError as error:
            raise WorkspaceError(*(_under(name, fault) for fault in error.faults)) from error
    _refuse_other_people(workspace, other, name)
    return other


def _under(name: str, fault: Fault) -> Fault:
    place = msgspec.structs.replace(fault.place, file=f"{name}: {fault.place.file}")
    return msgspec.structs.replace(fault, place=place)


def _refuse_other_people(workspace: Workspace, other: Workspace, name: str) -> None:
    """Refuse definitions under which the snapshot's customers would be others."""
    pairs = {
        "identity.yaml": (workspace.identity, other.identity),
        "time_zone": (workspace.settings.time_zone, other.settings.time_zone),
        "currency": (workspace.currency, other.currency),
    }
    different = [part for part, (here, there) in pairs.items() if here != there]
    if different:
        raise TilltalError.of(
            "C121",
            f"The scenario {name!r} has another {' and '.join(different)}: its customers would be others.",
            hint="Try it on a copy of the workspace with a refresh of its own.",
        )


@contextmanager
def _laid_out(workspace: Workspace, source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tilltal-") as made:
        folder = Path(made) / Path(workspace.root).resolve().name
        folder.mkdir()
        if path.suffix in PATCHES:
            _patch(workspace, path, folder)
        else:
            _check_out(workspace, source, folder)
        yield folder


def _patch(workspace: Workspace, patch: Path, folder: Path) -> None:
    """Copy the definitions and apply a patch whose paths begin at the workspace or at its repository."""
    if not patch.is_file():
        raise _unreadable(str(patch), "there is no such file")
    for one in layout.find(Path(workspace.root))[0]:
        target = folder / one.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((Path(workspace.root) / one.file).read_bytes())
    depth = len(Path(_git_or_nothing(workspace, "rev-parse", "--show-prefix")).parts)
    said = ""
    for strip in dict.fromkeys((1, 1 + depth)):
        command = ["apply", f"-p{strip}", "--whitespace=nowarn", str(patch.resolve())]
        done = _git(folder, command, ceiling=folder.parent)
        if done.returncode == 0:
            return
        said = said or done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
    raise _unreadable(str(patch), f"it does not fit the workspace ({said})")


def _check_out(workspace: Workspace, commit: str, folder: Path) -> None:
    """Lay out the definitions of a commit."""
    root = Path(workspace.root)
    known = _git(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"])
    if known.returncode:
        raise _unreadable(commit, "it is no folder, no patch, and no commit of the workspace's repository")
    done = _git(root, ["archive", "--format=tar", known.stdout.decode().strip()])
    if done.returncode:
        raise _unreadable(commit, done.stderr.decode("utf-8", "replace").strip().partition("\n")[0])
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        wanted = [member for member in archive.getmembers() if member.name.endswith((".yaml", ".yml"))]
        archive.extractall(folder, members=wanted, filter="data")


def _git_or_nothing(workspace: Workspace, *command: str) -> str:
    done = _git(Path(workspace.root), list(command))
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _git(
    folder: Path, command: list[str], *, ceiling: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    own = {**os.environ, "LC_ALL": "C", **({"GIT_CEILING_DIRECTORIES": str(ceiling)} if ceiling else {})}
    try:
        return subprocess.run(  # noqa: S603 - our own words; what the user gives is one of them
            ["git", *command],  # noqa: S607 - the git that the user has
            cwd=folder,
            env=own,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise _unreadable(command[-1], "commits and patches need git, which is not installed") from error


def _unreadable(source: str, why: str) -> TilltalError:
    return TilltalError.of(
        "C119",
        f"The scenario {source!r} cannot be had: {why}.",
        hint="Write NAME=SOURCE, where the source is a folder, a commit, or a .patch file.",
    )
