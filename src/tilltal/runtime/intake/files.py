"""The files of a source: found, told apart by content, opened whatever their compression and encoding."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

import msgspec
import pyarrow as pa

from tilltal.core.errors import Place, SourceError, nearest
from tilltal.workspace.definitions.sources import Csv, Read

Format = Literal["csv", "jsonl", "parquet"]
_COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".asc": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_CHUNK = 1 << 20
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONGEST_FIELD = 1 << 30
_BLANK_LINE = re.compile(rb"(?:\n|\r)(?:\r?\n|\r)[^\n\r]")


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a source; `label` is how messages and manifests name it."""

    path: Path
    label: str
    format: Format
    compression: str


def find(workspace: Path, name: str, read: Read) -> list[SourceFile]:
    """Return the files of a source in order of their names.

    Raises:
        SourceError: S301 if none is there, S302 for a folder, S303 if a file's format cannot be told.
    """
    pattern = read.files or ""
    start = Path(Path(pattern).anchor or workspace)
    paths = sorted(start.glob(pattern.removeprefix(Path(pattern).anchor)))
    if not paths:
        raise _none_found(workspace, name, pattern)
    return [_described(path, workspace, name, read) for path in paths]


def describe(path: Path, workspace: Path, name: str, read: Read) -> SourceFile:
    """Return a single file as one of the source.

    Raises:
        SourceError: S301 if it is not there, S302 for a folder, S303 if its format cannot be told.
    """
    if not path.exists():
        raise _none_found(path.parent, name, path.name)
    return _described(path, workspace, name, read)


def content_hash(file: SourceFile) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        SourceError: S302 if it may not be read.
    """
    try:
        with file.path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except PermissionError as error:
        raise SourceError.of(
            "S302",
            f"{file.label} may not be read by this user.",
            place=Place(file=file.label),
            hint="Give yourself the right to read it.",
        ) from error


def refuse_unreadable(file: SourceFile) -> None:
    """Refuse what cannot hold a single row.

    Raises:
        SourceError: S303 if its compression is broken, S309 if it is empty.
    """
    try:
        with opened(file) as content:
            is_empty = not content.read(1)
    except OSError as error:
        raise unreadable(file, str(error)) from error
    if is_empty:
        raise SourceError.of(
            "S309",
            "The file is empty.",
            place=Place(file=file.label),
            hint="Ask for it again, or remove it if there was nothing to send.",
        )


def unreadable(file: SourceFile, why: str) -> SourceError:
    """Return the error for a file that is not what its source says it is."""
    return SourceError.of(
        "S303",
        f"Cannot be read as {file.format}{f' ({file.compression})' if file.compression != 'none' else ''}: "
        f"{why.splitlines()[0] if why else 'no reason given'}",
        place=Place(file=file.label),
        hint="Check that the file arrived whole, and `read` of the source.",
    )


@contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """Open a file's bytes, decompressed."""
    with file.path.open("rb") as raw:
        if file.compression == "none":
            yield raw
            return
        with pa.input_stream(raw, compression=file.compression) as stream:
            yield cast("BinaryIO", stream)


def header(file: SourceFile, form: Csv) -> tuple[str, ...]:
    """Return the column names of a CSV file.

    Raises:
        SourceError: S303 if the first line is not text in the stated encoding, S309 if there is none.
    """
    if not form.header:
        return form.columns
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        _refuse_utf16(file, form)
        with opened(file) as content:
            encoding = "utf-8-sig" if form.encoding == "utf-8" else form.encoding
            # Rows after the header may be ill-written: they are judged one by one, later.
            text = io.TextIOWrapper(content, encoding=encoding, errors="surrogateescape", newline="")
            lines = csv.reader(text, delimiter=form.delimiter, quotechar=form.quote or None)
            names = next((names for names in lines if names), [])
            "".join(names).encode()
    except (UnicodeError, csv.Error, OSError) as error:
        raise unreadable(file, f"its first line is no header in {form.encoding}: {error}") from error
    if not any(names):
        raise SourceError.of("S309", "The file has no header.", place=Place(file=file.label))
    return tuple(one.strip() for one in names)


def to_utf8(file: SourceFile, encoding: str, target: Path, *, newlines: bool = False) -> None:
    """Write a file again as plain UTF-8; with `newlines`, all line ends become one kind.

    Raises:
        SourceError: S303 at the first byte that is none in the encoding.
    """
    errors = "surrogateescape" if newlines else "strict"
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors)
        ends = io.IncrementalNewlineDecoder(decoder, translate=newlines)
        with (
            opened(file) as content,
            target.open("w", encoding="utf-8", errors=errors, newline="") as writing,
        ):
            while chunk := content.read(_CHUNK):
                writing.write(ends.decode(chunk))
            writing.write(ends.decode(b"", final=True))
    except UnicodeError as error:
        raise unreadable(file, f"it is not written in {encoding}: {error}") from error


def blank_records(file: SourceFile, form: Csv) -> list[int]:
    """Return the positions, from 1 and without the header, of blank lines between the rows of a CSV file."""
    with opened(file) as content:
        has_any, tail = False, b""
        while not has_any and (chunk := content.read(_CHUNK)):
            has_any = bool(_BLANK_LINE.search(tail + chunk))
            tail = chunk[-3:]
    if not has_any:
        return []
    csv.field_size_limit(_LONGEST_FIELD)
    with opened(file) as content:
        text = io.TextIOWrapper(content, encoding=form.encoding, errors="replace", newline="")
        lines = csv.reader(text, delimiter=form.delimiter, quotechar=form.quote or None)
        first = 0 if form.header else 1
        return [position for position, cells in enumerate(lines, start=first) if not cells and position]


def _described(path: Path, workspace: Path, name: str, read: Read) -> SourceFile:
    label = path.relative_to(workspace).as_posix() if path.is_relative_to(workspace) else str(path)
    if path.is_dir():
        raise SourceError.of(
            "S302",
            f"Source {name} reads a folder where it needs files.",
            place=Place(file=label),
            hint=f"Write a glob such as `{label}/*.csv`.",
        )
    compression = _COMPRESSIONS.get(path.suffix.lower(), "none")
    ending = Path(path.stem).suffix if compression != "none" else path.suffix
    form = read.format or _FORMATS.get(ending.lower())
    if form is None:
        raise SourceError.of(
            "S303",
            f"The ending {ending!r} does not say what kind of file this is.",
            place=Place(file=label),
            valid=("csv", "jsonl", "parquet"),
            hint=f"State `read.format` of source {name}.",
        )
    return SourceFile(path=path, label=label, format=form, compression=compression)


def _none_found(workspace: Path, name: str, pattern: str) -> SourceError:
    folder = (workspace / pattern).parent
    present = [path.name for path in folder.glob("*")] if folder.is_dir() else []
    return SourceError.of(
        "S301",
        f"Source {name} reads {pattern!r}, and no file is called so.",
        place=Place(file=str(folder)),
        valid=nearest(Path(pattern).name, present),
        hint="" if present else "The folder is empty or not there.",
    )


def _refuse_utf16(file: SourceFile, form: Csv) -> None:
    with opened(file) as content:
        start = content.read(2)
    if start in _UTF16_MARKS and form.encoding == "utf-8":
        raise SourceError.of(
            "S303",
            "The file is written in UTF-16, and its source says UTF-8.",
            place=Place(file=file.label),
            hint="Set `read.csv.encoding: utf-16`.",
        )
