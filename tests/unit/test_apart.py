"""Work in a process of its own: its errors come back, and it ends with whoever began it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tilltal.core.errors import EngineError
from tilltal.runtime.live.history.apart import apart

_ROOT = Path(__file__).resolve().parents[2]


def tell(place: Path, text: str) -> None:
    """Write who does it, whether it stands back, and a text."""
    stands_back = os.nice(0) > 0 or os.sched_getscheduler(0) == os.SCHED_IDLE
    place.write_text(f"{os.getpid()} {stands_back} {text}", encoding="utf-8")


def refuse(code: str) -> None:
    """Give up."""
    raise EngineError.of(code, "Nothing " * 50_000, hint="Wait.")


def die() -> None:
    """End without a word."""
    os._exit(7)


def tell_and_wait(place: Path) -> None:
    """Write who does it, and go on for ever."""
    tell(place, "waits")
    time.sleep(600)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def pid_in(place: Path) -> int:
    """Wait until a process told who it is."""
    for _ in range(600):
        if place.exists() and place.read_text().endswith("waits"):
            return int(place.read_text().split()[0])
        time.sleep(0.05)
    raise AssertionError("nobody told")


def gone(pid: int) -> bool:
    """Wait until a process is gone."""
    for _ in range(200):
        if not lives(pid):
            return True
        time.sleep(0.05)
    return False


def test_it_is_done_elsewhere_and_leaves_the_machine_to_others(tmp_path: Path) -> None:
    asyncio.run(apart(tell, tmp_path / "told", text="hello"))
    pid, stands_back, text = (tmp_path / "told").read_text().split()
    assert int(pid) != os.getpid()
    assert (stands_back, text) == ("True", "hello")


def test_errors_come_back_whole() -> None:
    with pytest.raises(EngineError) as refused:
        asyncio.run(apart(refuse, "E501"))
    (fault,) = refused.value.faults
    assert (fault.code, fault.hint) == ("E501", "Wait.")
    assert len(fault.message) == 50_000 * len("Nothing ")


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(OSError, match="exit code 7"):
        asyncio.run(apart(die))


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc who lives")
def test_it_ends_with_whoever_is_cancelled(tmp_path: Path) -> None:
    async def cancelled() -> int:
        task = asyncio.create_task(apart(tell_and_wait, tmp_path / "told"))
        pid = await asyncio.to_thread(pid_in, tmp_path / "told")
        os.kill(pid, signal.SIGINT)  # Ctrl-C reaches all of a terminal
        await asyncio.sleep(0.2)
        assert lives(pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert gone(asyncio.run(cancelled()))


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc who lives")
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "told"
    code = (
        "import asyncio, pathlib\n"
        "from tests.unit.test_apart import apart, tell_and_wait\n"
        f"asyncio.run(apart(tell_and_wait, pathlib.Path({str(place)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT) as parent:
        pid = pid_in(place)
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)
