"""Make a demo bank: the example workspace with simulated data, in a folder of the user's choice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from tilltal.core.errors import Place, WorkspaceError
from tilltal.demo.simulate import Simulated, simulate
from tilltal.governance.keys import keep_open_key
from tilltal.runtime.progress import Progress
from tilltal.workspace.definitions.settings import Store

_RECORD = Path("data") / "truth" / "simulated.json"
_NOT_COPIED = (".tilltal", "data", "report", "__pycache__")


def workspace_source() -> Path:
    """Return the folder of the example workspace: beside this module, or in the checkout.

    Raises:
        WorkspaceError: W101 if the installation lacks it.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "nordbank", here.parents[2] / "examples" / "nordbank"):
        if (folder / "tilltal.yaml").is_file():
            return folder
    raise WorkspaceError.of(
        "W101", "This installation lacks the example workspace nordbank.", hint="Install tilltal again."
    )


def prepare(
    target: Path,
    customers: int = 20_000,
    months: int = 24,
    seed: int = 1,
    progress: Progress | None = None,
) -> Simulated:
    """Copy the workspace nordbank into `target` and simulate its data there.

    A folder that already holds the same bank is left as it is. The vault's key follows from the seed too, so
    that the whole demo is the same each time; everybody can know it, so no real person may come in here.

    Args:
        target: a folder that is empty, absent, or holds the same demo bank.
        customers: how many customers the bank has ever had, at least 1.
        months: whole months of data, at least 1.
        seed: the same seed gives the same data.
        progress: told of each chunk of customers.

    Raises:
        WorkspaceError: W150 if the folder holds something else.
        ValueError: for no customers, no months or a negative seed.
    """
    earlier = _earlier(target)
    if earlier is not None and (earlier.customers, earlier.months, earlier.seed) == (customers, months, seed):
        return earlier
    _refuse_other(target)
    shutil.copytree(
        workspace_source(), target, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True
    )
    keep_open_key(target / Store().vault, open_key(seed))
    done = simulate(target, customers=customers, months=months, seed=seed, progress=progress)
    (target / _RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(done)))
    return done


def open_key(seed: int) -> str:
    """Return the key of a demo bank's vault: 64 hexadecimal digits, no secret."""
    return hashlib.sha256(f"tilltal demo bank, seed {seed}: no secret".encode()).hexdigest()


def _earlier(target: Path) -> Simulated | None:
    """Return what was simulated here before; the record is written last, so half a bank has none."""
    try:
        return msgspec.json.decode((target / _RECORD).read_bytes(), type=Simulated)
    except (OSError, msgspec.DecodeError):
        return None


def _refuse_other(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = "The folder is not empty, and does not hold this demo bank."
        hint = "Choose another folder, or remove this one."
        raise WorkspaceError.of("W150", message, place=Place(file=str(target)), hint=hint)
