"""ADBC as a way in: any database with a driver, read as Arrow and written to Parquet batch by batch."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tilltal.core.errors import SourceError


def copy_query(options: Mapping[str, str], query: str, target: Path) -> int:
    """Run a query through an ADBC driver and write its rows to a Parquet file; returns how many.

    `options` holds `driver` (an installed package such as `adbc_driver_sqlite`, or a shared library), `uri`,
    and whatever else the driver asks for.

    Raises:
        SourceError: S308 if the driver is missing or refuses.
    """
    rows = 0
    try:
        with _connected(options) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            batches = cursor.fetch_record_batch()
            with pq.ParquetWriter(target, batches.schema, compression="lz4") as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    rows += batch.num_rows
    except (OSError, SourceError):
        raise
    except Exception as error:  # drivers raise their own classes, and Arrow its own
        raise SourceError.of(
            "S308",
            f"The ADBC driver {options.get('driver', '')!r} could not run the query: {error}",
            hint="Check `adbc` and `query` of the source.",
        ) from error
    return rows


def _connected(options: Mapping[str, str]) -> Any:
    driver, uri = options.get("driver", ""), options.get("uri")
    rest = {key: value for key, value in options.items() if key not in ("driver", "uri")}
    try:
        manager = importlib.import_module("adbc_driver_manager.dbapi")
    except ImportError as error:
        raise SourceError.of(
            "S308",
            "Reading through ADBC needs the extra tilltal[adbc].",
            hint="Run `pip install 'tilltal[adbc]'`, and install the driver of your database.",
        ) from error
    if driver.isidentifier() and importlib.util.find_spec(driver):
        package = importlib.import_module(f"{driver}.dbapi")
        return package.connect(uri, db_kwargs=rest) if rest else package.connect(uri)
    return manager.connect(driver=driver, uri=uri, db_kwargs=rest)
