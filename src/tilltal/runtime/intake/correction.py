"""Rows out of quarantine for correction, and back in.

CSV sources get CSV, all others JSON Lines. Each row says in a first column (or key) `_quarantine` which entry
it corrects; the rest is the row as it came.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, Place, SourceError
from tilltal.governance.vault import Vault
from tilltal.runtime.intake import quarantine
from tilltal.runtime.intake.quarantine import Opened
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.sources import Csv, Source

MARK = "_quarantine"
_RAW = "_raw"
_ENTRY = "q[0-9a-f]{16}"


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """A corrected file without its marks: `entries` names the entry of each of its rows, in order."""

    path: Path
    entries: tuple[str, ...]


def export(store: Store, vault: Vault, name: str, source: Source, target: Path) -> tuple[Path, ...]:
    """Write a source's rows in quarantine to files for correction; returns the files.

    It is one file, `target`, unless rows came in CSV files of different columns: then one for each.

    Raises:
        DataError: S345 if the source has no rows in quarantine.
        OSError: if a file cannot be written.
    """
    found = [(entry.id, quarantine.opened(vault, entry)) for entry in quarantine.entries(store, name)]
    if not found:
        raise DataError.of("S345", f"Source {name} has no rows in quarantine.")
    if not any(row.columns for _, row in found):
        disk.write(target, _json_text(found).encode(), mode=0o600)
        return (target,)
    groups: dict[tuple[str, ...], list[tuple[str, Opened]]] = {}
    for entry, row in found:
        groups.setdefault(row.columns, []).append((entry, row))
    paths = []
    for number, (columns, rows) in enumerate(groups.items(), start=1):
        path = target if number == 1 else target.with_stem(f"{target.stem}-{number}")
        text = _csv_text(source.read.csv, columns, rows)
        disk.write(path, text.encode(source.read.csv.encoding, "replace"), mode=0o600)
        paths.append(path)
    return tuple(paths)


def unmarked(path: Path, source: Source, target: Path) -> Corrected:
    """Take the marks off a corrected file, so that it reads like any file of its source.

    The result is `target` with the ending of its format.

    Raises:
        SourceError: S301 if it is not there, S303 if it is no text, S346 if a row does not say which entry
            it corrects.
    """
    if not path.is_file():
        raise SourceError.of("S301", "The corrected file is not there.", place=Place(file=str(path)))
    form = source.read.csv
    try:
        with path.open(
            encoding="utf-8-sig" if form.encoding == "utf-8" else form.encoding, newline=""
        ) as file:
            text = file.read()
    except UnicodeError as error:
        raise SourceError.of("S303", f"Not {form.encoding}: {error}.", place=Place(file=str(path))) from error
    if text.lstrip().startswith("{"):
        lines, entries = _unmarked_json(text, path)
        final, encoding = target.with_suffix(".jsonl"), "utf-8"
    else:
        lines, entries = _unmarked_csv(text, form, path)
        final, encoding = target.with_suffix(".csv"), form.encoding
    with final.open("w", encoding=encoding, newline="") as file:
        file.write(lines)
    return Corrected(path=final, entries=tuple(entries))


def _csv_text(form: Csv, columns: tuple[str, ...], rows: list[tuple[str, Opened]]) -> str:
    header = io.StringIO()
    if form.header:
        writer = csv.writer(
            header, delimiter=form.delimiter, quotechar=form.quote or '"', lineterminator="\n"
        )
        writer.writerow([MARK, *columns])
    return header.getvalue() + "".join(f"{entry}{form.delimiter}{row.raw}\n" for entry, row in rows)


def _json_text(rows: list[tuple[str, Opened]]) -> str:
    return "".join(json.dumps(_marked(entry, row.raw), ensure_ascii=False) + "\n" for entry, row in rows)


def _marked(entry: str, raw: str) -> dict[str, object]:
    """A row as an object with its mark; what is no plain object goes along as text."""
    try:
        pairs = json.loads(raw, object_pairs_hook=list)
    except ValueError:
        return {MARK: entry, _RAW: raw}
    is_plain = raw.lstrip().startswith("{") and len({key for key, _ in pairs}) == len(pairs)
    return {MARK: entry, **json.loads(raw)} if is_plain else {MARK: entry, _RAW: raw}


def _unmarked_csv(text: str, form: Csv, path: Path) -> tuple[str, list[str]]:
    """Drop the first column; a line that begins with no entry continues the row before it."""
    first = re.compile(rf'"?({_ENTRY})"?{re.escape(form.delimiter)}')
    lines = text.splitlines(keepends=True)
    kept: list[str] = []
    if form.header and lines:
        mark, _, rest = lines.pop(0).partition(form.delimiter)
        if mark.strip('"') != MARK:
            raise _without_mark(path)
        kept.append(rest)
    entries: list[str] = []
    for line in lines:
        if found := first.match(line):
            entries.append(found[1])
        elif not entries and line.strip():
            raise _without_mark(path)
        kept.append(line[found.end() :] if found else line)
    return "".join(kept), entries


def _unmarked_json(text: str, path: Path) -> tuple[str, list[str]]:
    kept: list[str] = []
    entries: list[str] = []
    for line in filter(str.strip, text.split("\n")):
        try:
            row = json.loads(line)
            entries.append(row.pop(MARK))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _without_mark(path) from error
        raw = row.get(_RAW)
        kept.append(raw if isinstance(raw, str) else json.dumps(row, ensure_ascii=False))
    return "".join(line + "\n" for line in kept), entries


def _without_mark(path: Path) -> SourceError:
    return SourceError.of(
        "S346",
        f"A row does not say in its first column {MARK!r} which row in quarantine it corrects.",
        place=Place(file=str(path)),
        hint="Correct the file that `tilltal quarantine export` wrote, and leave that column as it is.",
    )
