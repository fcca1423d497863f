"""Lookalikes in a refresh: fetch the features, ask `customers.lookalikes`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.customers.audiences import PREFIX
from tilltal.customers.lookalikes import lookalikes
from tilltal.rules.types import Type
from tilltal.workspace.names import matching
from tilltal.workspace.workspace import Workspace

_USABLE = (Type.BOOLEAN, Type.INTEGER, Type.NUMBER)


def lookalike_table(
    engine: BatchEngine, workspace: Workspace, schema: Mapping[str, Type], name: str, relation: str
) -> pa.Table:
    """Return `profile` and `audience.<name>`; nobody, where the audience to resemble is too small."""
    definition = workspace.audiences[name].lookalike
    if definition is None:
        raise DataError.of("P364", f"The audience {name!r} is no lookalike.")
    usable = [each for each, kind in schema.items() if kind in _USABLE]
    features = matching(definition.features or ("*",), usable)
    seed = quote(PREFIX + definition.of)
    columns = ", ".join(f"CAST({quote(each)} AS DOUBLE) AS f{i}" for i, each in enumerate(features))
    table = engine.arrow(
        f"SELECT profile, {seed} AS is_member, {columns} FROM {relation} WHERE is_known ORDER BY profile"
    )
    matrix = np.empty((table.num_rows, len(features)))
    for index in range(len(features)):
        matrix[:, index] = table.column(f"f{index}").fill_null(np.nan).to_numpy()
    is_member = np.asarray(table.column("is_member").to_numpy(zero_copy_only=False), dtype=bool)
    try:
        found = lookalikes(matrix, is_member, at_least=definition.similarity, size=definition.size)
    except DataError:  # too few to resemble is an empty audience, not a failed refresh
        found = np.zeros(table.num_rows, dtype=bool)
    return pa.table({"profile": table.column("profile"), PREFIX + name: found})
