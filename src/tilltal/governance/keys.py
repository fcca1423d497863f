"""The vault's key: made once, kept in a file only its owner may read, or given by the environment.

Two keys are derived from it (HKDF-SHA256, RFC 5869): one makes pseudonyms, one seals values.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tilltal.core.errors import DataError

VARIABLE = "TILLTAL_VAULT_KEY"
_BYTES = 32


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """What is derived from the vault's key. Never shown: the representation hides both."""

    pseudonyms: bytes
    sealing: bytes

    def __repr__(self) -> str:
        return "Keys(hidden)"


def keys_of(folder: Path, environment: Mapping[str, str]) -> Keys:
    """Return the keys of a vault: from the environment, else from its file, else newly made.

    Raises:
        DataError: S341 if the key is not 64 hexadecimal digits.
        OSError: if the file cannot be read or written.
    """
    file = folder / "key"
    text = environment.get(VARIABLE, "")
    if not text:
        if not file.exists():
            _write(file, secrets.token_hex(_BYTES))
        text = file.read_text(encoding="ascii", errors="replace")
    return _derived(text.strip(), VARIABLE if VARIABLE in environment else str(file))


def keep_open_key(folder: Path, key: str) -> None:
    """Give a vault that has no key yet one that is no secret: for simulated people, never for real ones.

    With it, pseudonyms and all that is sampled by them are the same wherever the same data is simulated.

    Args:
        folder: the vault's; a key that is there stays.
        key: 64 hexadecimal digits.

    Raises:
        OSError: if the file cannot be written.
    """
    if not (folder / "key").exists():
        _write(folder / "key", key)


def _write(file: Path, key: str) -> None:
    """Write a key so that it is either whole or not there, and never replaces another."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name(f".key.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as writing:
        writing.write(key + "\n")
        writing.flush()
        os.fsync(handle)
    with suppress(FileExistsError):  # somebody else was quicker: theirs is the key
        os.link(beside, file)
    beside.unlink()


def _derived(text: str, where: str) -> Keys:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise DataError.of(
            "S341",
            f"The vault's key in {where} is not {_BYTES * 2} hexadecimal digits.",
            hint="Restore the key from its backup; another key cannot open this vault.",
        )
    return Keys(pseudonyms=_hkdf(key, b"tilltal pseudonyms", 32), sealing=_hkdf(key, b"tilltal sealing", 64))


def _hkdf(key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(key)
