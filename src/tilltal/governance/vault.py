"""The vault: the one place where direct identifiers and names of people lie, each value sealed.

A folder of its own with the key (`key`) and a SQLite file. Values are sealed with AES-256-SIV (RFC 5297),
bound to their token, so that a sealed value moved to another row does not open. Everything else knows tokens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tilltal.core.errors import DataError, EngineError
from tilltal.governance.keys import keys_of
from tilltal.governance.pseudonyms import Pseudonymiser

_TABLES = """
CREATE TABLE IF NOT EXISTS direct (token INTEGER PRIMARY KEY, namespace TEXT NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS personal (token INTEGER, source TEXT, field TEXT, at TEXT NOT NULL,
  sealed BLOB NOT NULL, PRIMARY KEY (token, source, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proof (sealed BLOB NOT NULL);
"""
_PROOF = b"tilltal vault"


class Direct(msgspec.Struct, frozen=True, kw_only=True):
    """A direct identifier in clear."""

    token: int
    namespace: str
    value: str


class Personal(msgspec.Struct, frozen=True, kw_only=True):
    """A field labelled `identity`, in clear, as a source last told it of the holder of a token."""

    token: int
    source: str
    field: str
    at: str
    value: str


class Vault:
    """An open vault. Close it, or use it in a `with` block."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Open the vault in `folder`; its key comes from `environment` or from the folder.

        Raises:
            DataError: S341 for a malformed key, S342 for a key that is not this vault's.
            EngineError: E501 or E503 if the file cannot be opened.
        """
        keys = keys_of(folder, environment)
        self.pseudonymiser = Pseudonymiser(keys.pseudonyms)
        self._cipher = AESSIV(keys.sealing)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")  # the key must never be committed
        self._folder = folder
        with _explained(folder):
            self._database = sqlite3.connect(folder / "vault.sqlite", isolation_level=None)
            (folder / "vault.sqlite").chmod(0o600)
            self._database.executescript(f"PRAGMA synchronous = FULL; {_TABLES}")
        self._prove()

    def keep_direct(self, identifiers: Iterable[Direct]) -> None:
        """Keep direct identifiers; those known already stay as they are. All or none."""
        rows = ((one.token, one.namespace, self._seal_value(one)) for one in identifiers)
        with self._transaction() as database:
            database.executemany("INSERT OR IGNORE INTO direct VALUES (?, ?, ?)", rows)

    def keep_personal(self, values: Iterable[Personal]) -> None:
        """Keep personal fields; of one token, source and field the latest `at` stays. All or none."""
        rows = ((one.token, one.source, one.field, one.at, self._seal_value(one)) for one in values)
        with self._transaction() as database:
            database.executemany(
                "INSERT INTO personal VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET at = excluded.at, sealed = excluded.sealed WHERE excluded.at >= personal.at",
                rows,
            )

    def reveal(self, token: int) -> Direct | None:
        """Return the direct identifier behind a token, or None where the vault has none."""
        query = "SELECT namespace, sealed FROM direct WHERE token = ?"
        for namespace, sealed in self._database.execute(query, (token,)):
            value = self.unseal(sealed, _context(token, namespace)).decode()
            return Direct(token=token, namespace=namespace, value=value)
        return None

    def personal(self, token: int) -> tuple[Personal, ...]:
        """Return the personal fields known of the holder of a token, by source and field."""
        query = "SELECT source, field, at, sealed FROM personal WHERE token = ? ORDER BY source, field"
        return tuple(
            Personal(
                token=token,
                source=source,
                field=field,
                at=at,
                value=self.unseal(sealed, _context(token, f"{source}.{field}")).decode(),
            )
            for source, field, at, sealed in self._database.execute(query, (token,)).fetchall()
        )

    def seal(self, content: bytes, context: bytes) -> bytes:
        """Encrypt bytes; only `unseal` with the same context opens them."""
        return self._cipher.encrypt(content, [context])

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what `seal` gave.

        Raises:
            DataError: S342 if it was sealed under another key or context, or was tampered with.
        """
        try:
            return self._cipher.decrypt(sealed, [context])
        except InvalidTag as error:
            raise DataError.of(
                "S342",
                f"What lies in the vault {self._folder} was not sealed with its present key.",
                hint="Restore the right key: the file `key`, or the variable TILLTAL_VAULT_KEY.",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seal_value(self, one: Direct | Personal) -> bytes:
        name = one.namespace if isinstance(one, Direct) else f"{one.source}.{one.field}"
        return self.seal(one.value.encode(), _context(one.token, name))

    def _prove(self) -> None:
        """Refuse a wrong key at once: with it every person would get a second pseudonym."""
        try:
            found = self._database.execute("SELECT sealed FROM proof").fetchall()
            for (sealed,) in found:
                self.unseal(sealed, _PROOF)
            if not found:
                with self._transaction() as database:
                    database.execute("INSERT INTO proof VALUES (?)", (self.seal(_PROOF, _PROOF),))
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _explained(self._folder):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.rollback()
                raise
            self._database.execute("COMMIT")


def _context(token: int, name: str) -> bytes:
    return f"{token}|{name}".encode()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise EngineError.of(
                "E501", f"The disk of the vault {folder} is full.", hint="Free some space and run again."
            ) from error
        raise EngineError.of(
            "E503",
            f"The vault {folder} cannot be used: {error}.",
            hint="Check that vault.sqlite is a file you may write to, and restore it if damaged.",
        ) from error
