"""History as views: what the pure packages read, as of an instant.

Two layers. `history."..."` shows the accepted Parquet files with the fields of today's definitions; the
views of docs/explanation/data.md stand on it in a schema of their own per instant, with profiles in place of
tokens and only what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tilltal.core.names import literal, quote
from tilltal.core.ports import BatchEngine
from tilltal.core.time import sql_timestamp
from tilltal.rules.clock import Clock
from tilltal.runtime.storage.store import Store
from tilltal.sources.clock import to_utc
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

SQL_TYPES: dict[FieldType, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "money": "BIGINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "any": "VARCHAR",
}
_EVENT = {"event_id": "UUID", "at": "TIMESTAMP", "received": "TIMESTAMP", "source": "VARCHAR"}
_RECORD = {"event_id": "UUID", "at": "TIMESTAMP", "received": "TIMESTAMP"}
_HOLDING = {
    "received": "TIMESTAMP",
    "source": "VARCHAR",
    "product": "VARCHAR",
    "opened": "DATE",
    "closed": "DATE",
}
_CONSENT = {
    "at": "TIMESTAMP",
    "received": "TIMESTAMP",
    "purpose": "VARCHAR",
    "channel": "VARCHAR",
    "granted": "BOOLEAN",
}
_OBSERVATION = {
    "observation": "VARCHAR",
    "at": "TIMESTAMP",
    "last_at": "TIMESTAMP",
    "ids": "STRUCT(namespace VARCHAR, token BIGINT)[]",
}

Columns = Mapping[str, str]  # column → SQL type


def open_history(
    engine: BatchEngine, workspace: Workspace, store: Store, hot: Mapping[str, pa.Table] | None = None
) -> None:
    """Make the views of schema `history`: one per event type and record source, holdings, consents, ids.

    What the definitions name and no file has yet is an empty view; a field that older files lack is NULL, and
    so is a value of a field's earlier type that today's cannot hold.

    Args:
        engine: to make them in.
        workspace: says which there are.
        store: its files.
        hot: by view, rows of a server's log that no file has yet.
    """
    engine.run("CREATE SCHEMA IF NOT EXISTS history")
    files, rest = store.views(), hot or {}
    for view, columns in declared_views(workspace).items():
        known = files.get(view, [])
        select = _from_files(engine, known, columns) if known else _empty(columns)
        if view in rest:
            engine.register(f"hot {view}", rest[view])
            select = f"{select} UNION ALL BY NAME {_from_table(f'hot {view}', rest[view], columns)}"
        engine.run(f"CREATE OR REPLACE VIEW history.{quote(view_name(view))} AS {select}")


def open_views(
    engine: BatchEngine,
    workspace: Workspace,
    clock: Clock,
    schema: str,
    sample: str = "TRUE",
    *,
    identity: str = "history",
    with_tokens: bool = False,
) -> None:
    """Make the views of data.md as of an instant, in a schema of their own, which becomes the current one.

    Rows of values that identify nobody, and of devices while nobody held them, are left out.

    Args:
        engine: with the views of `open_history`.
        workspace: to know event types and sources.
        clock: the instant; later events, and those that arrived later, are not there.
        schema: its name; made anew.
        sample: condition over `profile`, to look at part of the customers only.
        identity: schema of the tables of identity, made as of the same instant.
        with_tokens: keep the column `identity`, the row's own token, beside `profile`.
    """
    engine.run(f"DROP SCHEMA IF EXISTS {quote(schema)} CASCADE")
    engine.run(f"CREATE SCHEMA {quote(schema)}")
    engine.run(f"SET search_path = {literal(schema)}")
    tables = (f"{identity}.identity_map", f"{identity}.shared_values")
    is_mapped = any(engine.rows(f"SELECT 1 FROM {table} LIMIT 1") for table in tables)
    now = sql_timestamp(clock.now)
    for view in declared_views(workspace):
        name, kind = view_name(view), view.split("/")[0]
        if kind in ("observations", "identities"):
            continue
        known = f"received <= {now}" + (f' AND "at" <= {now}' if kind != "holdings" else "")
        # a holding is seen as its day begins, or when it is told of if that is before
        opened = f"LEAST({to_utc('CAST(e.opened AS TIMESTAMP)', clock.zone)}, e.received)"
        moment = opened if kind == "holdings" else 'e."at"'
        rows = _of_profiles(name, moment, is_mapped, identity, with_tokens=with_tokens)
        engine.run(f"CREATE VIEW {quote(name)} AS SELECT * FROM ({rows}) WHERE {known} AND ({sample})")
    # who was first seen later is not there either: a training row must not know of a customer to come
    engine.run(
        f"CREATE VIEW spine AS SELECT profile, is_known FROM {identity}.people_spine "
        f"WHERE first_seen <= {now} AND ({sample})"
    )


def event_span(engine: BatchEngine, workspace: Workspace) -> tuple[datetime | None, datetime | None]:
    """Return the first and the latest event time of all events in UTC; None where there are none."""
    parts = [f'SELECT "at" FROM history.{quote("event." + name)}' for name in event_fields(workspace)]
    if not parts:
        return None, None
    first, latest = engine.rows(f'SELECT min("at"), max("at") FROM ({" UNION ALL ".join(parts)})')[0]
    return _aware(first), _aware(latest)


def _aware(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)


def declared_views(workspace: Workspace) -> dict[str, Columns]:
    """Return each view of history with its columns, the tokens' `identity` aside."""
    views: dict[str, Columns] = {
        f"events/{name}": {**_EVENT, **{field: SQL_TYPES[kind] for field, kind in fields.items()}}
        for name, fields in event_fields(workspace).items()
    }
    for name, source in workspace.sources.items():
        if source.kind == "record":
            fields = {field: SQL_TYPES[kind] for field, kind in kept_fields(source).items()}
            views[f"records/{name}"] = {**_RECORD, **fields}
    views |= {"holdings": _HOLDING, "consents": _CONSENT, "observations": _OBSERVATION}
    return views


def view_name(view: str) -> str:
    """`events/login` → `event.login`, `records/crm` → `record.crm`; others keep their name."""
    return view.replace("events/", "event.").replace("records/", "record.")


def _from_files(engine: BatchEngine, files: list[Path], columns: Columns) -> str:
    """Return what files hold with the types of today; those of the same types are read at once.

    A common type is not always one that all values can be read as: a number is no date.
    """
    listed = ", ".join(literal(str(file)) for file in files)
    alike: dict[frozenset[tuple[str, str, str]], list[Path]] = {}
    types: dict[str, set[tuple[str, str, str]]] = {str(file): set() for file in files}
    query = f"SELECT file_name, name, type, logical_type FROM parquet_schema([{listed}])"
    for file, name, kind, logical in engine.rows(query):
        if name in columns:
            types[file].add((name, str(kind), str(logical)))
    for file, found in types.items():
        alike.setdefault(frozenset(found), []).append(Path(file))
    return " UNION ALL BY NAME ".join(_from_alike(engine, group, columns) for group in alike.values())


def _from_alike(engine: BatchEngine, files: list[Path], columns: Columns) -> str:
    listed = ", ".join(literal(str(file)) for file in files)
    read = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    present = {row[0] for row in engine.rows(f"DESCRIBE SELECT * FROM {read}")}
    kept = ["identity"] if "identity" in present else []
    kept += [
        f"TRY_CAST({quote(name)} AS {kind}) AS {quote(name)}"
        if name in present
        else f"CAST(NULL AS {kind}) AS {quote(name)}"
        for name, kind in columns.items()
    ]
    return f"SELECT {', '.join(kept)} FROM {read}"


def _from_table(name: str, table: pa.Table, columns: Columns) -> str:
    """Return what a table holds with the types of the files."""
    kept = ["identity"] if "identity" in table.column_names else []
    kept += [f"TRY_CAST({quote(column)} AS {kind}) AS {quote(column)}" for column, kind in columns.items()]
    return f"SELECT {', '.join(kept)} FROM {quote(name)}"


def _empty(columns: Columns) -> str:
    typed = ["CAST(NULL AS BIGINT) AS identity"]
    typed += [f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in columns.items()]
    return f"SELECT {', '.join(typed)} WHERE FALSE"


def _of_profiles(name: str, moment: str, is_mapped: bool, identity: str, *, with_tokens: bool) -> str:
    """Put the profile in place of the token; a token that is not mapped is its own profile."""
    relation = f"history.{quote(name)}"
    if not is_mapped:
        kept = "*" if with_tokens else "* EXCLUDE (identity)"
        return f"SELECT identity AS profile, {kept} FROM {relation}"
    kept = "e.*" if with_tokens else "e.* EXCLUDE (identity)"
    return (
        f"SELECT COALESCE(m.profile, e.identity) AS profile, {kept} "
        f"FROM {relation} AS e LEFT JOIN {identity}.identity_map AS m ON m.identity = e.identity "
        f"AND m.valid_from <= {moment} AND (m.valid_to IS NULL OR {moment} < m.valid_to) "
        f"WHERE COALESCE(m.profile, e.identity) IN (SELECT profile FROM {identity}.people_spine)"
    )
