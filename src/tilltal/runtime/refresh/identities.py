"""Who is who, as of an instant: observations in, the tables of identity out."""

from __future__ import annotations

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.core.time import sql_timestamp
from tilltal.customers.identity.bulk import resolve_table
from tilltal.customers.identity.corrections import declared
from tilltal.customers.identity.rules import compile_rules
from tilltal.customers.identity.thinning import thinned_sql
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault, store_of
from tilltal.runtime.linking.verdicts import with_verdicts
from tilltal.workspace.workspace import Workspace


def resolve_identities(engine: BatchEngine, workspace: Workspace, clock: Clock, schema: str) -> int:
    """Make the tables of identity in a schema, from what was observed by the clock's instant.

    The tables: identity_map, people, people_spine, dropped_links, shared_values. A login of tomorrow does not
    tell today whose device it is. The current schema changes.

    Returns:
        How many links were dropped.
    """
    rules = compile_rules(workspace.identity)
    with open_vault(workspace) as vault:
        pseudonyms = vault.pseudonymiser
        stated = declared(workspace.identity.corrections, rules).translated(
            lambda identifier: pseudonyms.token(identifier.namespace, identifier.value)
        )
    corrections = with_verdicts(store_of(workspace), stated)
    now = sql_timestamp(clock.now)
    engine.run("CREATE SCHEMA IF NOT EXISTS observed")
    engine.run(
        'CREATE OR REPLACE VIEW observed.observations AS SELECT observation, "at", '
        f'LEAST(last_at, {now}) AS last_at, ids FROM history.observations WHERE "at" <= {now}'
    )
    engine.run("SET search_path = 'observed'")
    resolved = resolve_table(engine.arrow(thinned_sql(rules, corrections)), rules, corrections)
    tables = {
        "identity_map": resolved.identity_map,
        "people": resolved.people,
        "dropped_links": resolved.dropped_links,
        "people_spine": resolved.spine,
        "shared_values": resolved.shared_values,
    }
    engine.run(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
    for name, table in tables.items():
        engine.register("resolved", table)
        engine.run(f"CREATE OR REPLACE TABLE {quote(schema)}.{name} AS SELECT * FROM resolved")
    return int(resolved.dropped_links.num_rows)
