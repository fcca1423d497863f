"""What one thread of a server has freed is there for the others."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

REPLACED = """
import re, sys, threading
from pathlib import Path
from tilltal.cli.server import _share_one_heap

def megabytes():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

if sys.argv[1] == "one":
    _share_one_heap()
held, begun = [], megabytes()
reading = threading.Thread(target=lambda: held.extend(b"x" * (2400 + n % 200) for n in range(40_000)))
reading.start()
reading.join()
read = megabytes() - begun
for place in range(len(held)):
    held[place] = b"y" * (2400 + 7 * place % 200)
print((megabytes() - begun) / read)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have one heap, or another way")
def test_what_a_thread_read_in_is_replaced_and_not_added_to() -> None:
    def grown(heaps: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", REPLACED, heaps], capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    assert grown("one") < 1.3
    assert grown("many") > 1.6  # else this says nothing
