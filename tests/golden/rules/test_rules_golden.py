"""Every operator and function against golden rows, in DuckDB and in Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.expression import parse
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.python import to_python
from tilltal.rules.sql import to_sql

sys.path.insert(0, str(Path(__file__).parent))
from rows import CLOCK, SCHEMA, VALUES, column, golden_rows
