"""What taking in a CSV file costs, against DuckDB copying the same file to Parquet unread.

    python -m benchmarks.ingest                # 1M rows of 8 columns, 100,000 customers, 1 % bad rows
    python -m benchmarks.ingest --rows 100000

Both are measured in one run: CPU is user and system seconds of this process, all threads.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tilltal.core.names import literal
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.intake.ingest import ingest
from tilltal.workspace.load import load

CUSTOMERS = 100_000
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
FILES = {
    "tilltal.yaml": "name: bench\ntime_zone: Europe/Stockholm\ncurrency: SEK\n",
    "identity.yaml": (
        "namespaces:\n  - {name: crm, unique: true}\n  - {name: email, direct: true, normalise: email}\n"
    ),
    "sources/payments.yaml": """
kind: event
read: {files: payments.csv}
identities: {crm: customer, email: mail}
id: message
at: time
event: {column: kind, values: [card, atm, web]}
fields:
  amount: {type: money, required: true}
  shop: text
  count: {type: integer, minimum: 0}
""",
}
ROWS = """
SELECT 'm' || i AS message, 'K-' || (i * 7919 % {customers}) AS customer,
  'kund' || (i * 7919 % {customers}) || '@mail.example' AS mail,
  strftime(TIMESTAMP '2025-01-01' + to_seconds(i * 31 % 31536000), '%Y-%m-%d %H:%M:%S') AS time,
  ['card', 'atm', 'web'][1 + i % 3] AS kind,
  (i % 5000) || '.' || lpad(CAST(i % 100 AS VARCHAR), 2, '0') || CASE WHEN i % 100 = 0 THEN 'x' ELSE '' END
    AS amount,
  'Shop ' || (i % 500) AS shop, i % 7 AS count
FROM range({rows}) AS t(i)
"""


def measured(job: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU seconds of a job."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    job()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, cpu


def prepare(root: Path, rows: int) -> Path:
    """Write a workspace and its file."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    path = root / "payments.csv"
    with DuckDBEngine() as engine:
        query = ROWS.format(customers=CUSTOMERS, rows=rows)
        engine.run(f"COPY ({query}) TO {literal(str(path))} (HEADER)")
    return path


def copy(path: Path) -> None:
    """Copy the file to Parquet, every column as text."""
    with DuckDBEngine() as engine:
        reading = f"read_csv({literal(str(path))}, all_varchar = true, header = true)"
        target = literal(str(path.with_suffix(".parquet")))
        engine.run(f"COPY (SELECT * FROM {reading}) TO {target} (FORMAT parquet, COMPRESSION zstd)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = prepare(root, rows)
        plain = measured(lambda: copy(path))
        workspace = load(root)
        taken = measured(lambda: _ignore(ingest(workspace, None, now=NOW)))
        again = measured(lambda: _ignore(ingest(workspace, None, now=NOW)))
    table = Table("job", "wall s", "CPU s", "rows / CPU-s", "CPU ratio", title=f"{rows:,} rows, 8 columns")
    for name, (wall, cpu) in {"DuckDB copy": plain, "ingest": taken, "ingest again": again}.items():
        table.add_row(
            name, f"{wall:.1f}", f"{cpu:.1f}", f"{rows / max(cpu, 0.01):,.0f}", f"{cpu / plain[1]:.1f}"
        )
    Console().print(table)


def _ignore(_: object) -> None:
    """A job gives nothing."""


if __name__ == "__main__":
    main()
