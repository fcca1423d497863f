"""All benchmarks, one process each: `python -m benchmarks`, or some: `python -m benchmarks rules ingest`.

They want a quiet machine and, for the largest history, 4 GB of memory and 3 GB of disk.
"""

from __future__ import annotations

import subprocess
import sys

ALL = {
    "rules": "200 rules of five predicates on one profile",
    "identity": "a million customers resolved",
    "link": "a hundred thousand records linked one by one as a server does, against Splink in batch",
    "ingest": "a million rows of CSV against a bare copy",
    "refresh": "1M, 10M and 100M events to profiles against a six-column scan",
    "scoring": "a million customers, ten models",
    "decide": "scores, then decisions over thirty actions with reasons",
    "allocate": "an outbound run for a million customers, twenty actions, five capacities",
    "simulate": "one scenario for a million customers, two hundred actions, with all that is shown of it",
    "decide_one": "one decision over 200 actions, with adaptive models",
    "replay": "logged decisions over 200 actions, decided again and compared byte for byte",
    "serve": "events taken in over HTTP, with a million live customers",
}


def main() -> None:
    """Run the named benchmarks, or all."""
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"There is no benchmark {name!r}. Valid: {', '.join(ALL)}.")
        print(f"\n== {name}: {ALL[name]}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
