"""Checks `linking` of identity.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.definitions.identity import Linking, blocking_part

_FEWEST = 2


def check_linking(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of what links records; none where nothing does."""
    linking = scope.workspace.identity.linking
    if linking is None:
        return
    at = At(scope.workspace, "identity.yaml")
    records = [name for name, source in scope.workspace.sources.items() if source.kind == "record"]
    yield from at.all_known("record source", linking.sources, records, "linking", "sources")
    fields = {field for name in records for field in scope.workspace.sources[name].fields}
    for name in linking.compare:
        yield from at.unknown("record field", name, fields, "linking", "compare", name)
    if len(linking.compare) < _FEWEST:
        message = f"`compare` needs at least {_FEWEST} fields: one alone tells nobody apart."
        yield at.fault("W121", message, "linking", "compare")
    if linking.review > linking.auto_link:
        yield at.fault("W114", "`review` must not be above `auto_link`.", "linking", "review")
    yield from _blocking(at, linking)


def _blocking(at: At, linking: Linking) -> Iterator[Fault]:
    if not linking.blocking:
        yield at.fault("W121", "`blocking` needs at least one list.", "linking", "blocking")
    lists: list[set[str]] = []
    for number, parts in enumerate(linking.blocking):
        path = ("linking", "blocking", number)
        if not parts:
            yield at.fault("W121", "A blocking list needs at least one field.", *path)
        names = [part.partition(":")[0] for part in parts]
        for index, part in enumerate(parts):
            yield from at.unknown("compared field", names[index], linking.compare, *path, index)
            yield from at.readable(part, blocking_part, *path, index)
        lists.append(set(names))
    for name in linking.compare:
        if lists and all(name in names for names in lists):
            message = f"Every blocking list holds {name!r}, so what it is worth cannot be learned."
            yield at.fault("W121", message, "linking", "blocking", hint="Add a list without it.")
