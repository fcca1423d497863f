"""How fast a core is while something is measured on it: a small known piece of work, again and again.

A core of a rented machine is often half of one: whoever has the other half takes caches and turns from it,
and processor time then tells of that load as well as of ours. The piece takes its own processor time, so
what it waits for its turn does not count; it costs the core half a percent.

    python -m benchmarks.pace CORE      # prints microseconds of processor time, ten times a second
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 15_000
PAUSE_SECONDS = 0.1


def piece() -> float:
    """Do the piece; return its microseconds of processor time."""
    began, total = time.thread_time_ns(), 0
    for number in range(ROUNDS):
        total += number & 7
    return (time.thread_time_ns() - began) / 1000


class Pace:
    """Measures a core from another process until it is stopped."""

    def __init__(self, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.pace", str(core)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._seen: list[float] = []

    def mean(self) -> float:
        """Return the mean microseconds of a piece since the last call; NaN where there was none."""
        fresh = [float(line) for line in (self._output.read() or b"").split()]
        self._seen += fresh
        return statistics.fmean(fresh) if fresh else float("nan")

    def best(self) -> float:
        """Return what a piece takes where nobody disturbs: the fastest twentieth of all so far."""
        return sorted(self._seen)[len(self._seen) // 20]

    def stop(self) -> None:
        """Measure no more."""
        self._process.kill()
        self._process.wait()
        self._output.close()


def main() -> None:
    """Print the times of pieces on a core until stopped."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            print(f"{piece():.1f}", flush=True)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
