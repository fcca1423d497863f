"""A server of its own for a case: a workspace of files, a clock set by hand, the API called as over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tests.api.real import SCOPES, RealApi

from tilltal.api.app import create_app
from tilltal.core.instants import micros
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.contract import Message
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.reference import bare_reference
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.workspace.load import load

T = TypeVar("T")
Files = Mapping[str, object]  # path in the workspace → what is written there as YAML


class CaseServer:
    """A server that `now` tells the time."""

    def __init__(self, files: Files, start: datetime, place: str | None = None, key: int = 0) -> None:
        """Serve a workspace from a store: a new one in SQLite unless `place` is an address of PostgreSQL.

        Servers of the same `key` give identifiers the same tokens, so they may share a store.
        """
        self.now = start
        self._loop = asyncio.new_event_loop()
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self.root = Path(tempfile.mkdtemp(prefix="tilltal-case-"))
        self._stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.write(files)
        workspace = load(self.root)
        if key:
            vault = self.root / workspace.settings.store.vault
            vault.mkdir(parents=True)
            (vault / "key").write_text(f"{key:064x}\n", encoding="ascii")
        self._vault = self._stack.enter_context(open_vault(workspace, os.environ))
        engine = self._stack.enter_context(DuckDBEngine(threads=1))
        kept = files_of(workspace)
        kept.root.mkdir(parents=True, exist_ok=True)
        self.store = self.wait(open_store(place or str(kept.root / "live.sqlite")))
        past = Past(engine, workspace, kept)
        aside = SetAside(kept, self._vault)
        self.server = LiveServer(self.store, self._force(), aside, past, lambda: self.now)
        self.wait(self.server.start())
        self._stack.callback(lambda: self.wait(self.server.close()))
        made = self.wait(self.server.create_key("case", SCOPES))  # type: ignore[arg-type]
        self.api = RealApi(self.server, create_app(self.server), made.secret)

    def write(self, files: Files) -> None:
        """Write definitions."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")

    def change(self, files: Files) -> None:
        """Put changed definitions in force."""
        self.write(files)
        self.wait(self.server.take_up(self._force()))

    def call(self, url: str, body: object) -> Any:
        """Send JSON and return the answer's.

        Raises:
            ValueError: if it is refused.
        """
        answer = self.wait(self.api.post(url, body))
        if answer.status != 200:
            raise ValueError(f"{url} answered {answer.status}: {answer.body.decode()}")
        return answer.json()

    def collect(self, document: Mapping[str, Any]) -> None:
        """Let a message come in, now: past the face, which takes the time of day from the machine.

        Raises:
            ValueError: if it is put into quarantine.
        """
        name = f"m{next(self._numbers)}"
        message = Message(
            index=0,
            type=document["type"],
            message_id=name,
            user_id=document["userId"],
            anonymous_id=None,
            timestamp=document.get("timestamp", self.now),
            document={**document, "messageId": name},
        )
        collected = self.wait(self.server.collect([message], self.now))
        if collected.rejected:
            raise ValueError(collected.rejected[0].reason)

    def close(self) -> None:
        """Let go of everything."""
        self._stack.close()
        self._loop.close()

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run something to its end."""
        return self._loop.run_until_complete(asked)

    def _force(self) -> InForce:
        workspace = load(self.root)
        return in_force(workspace, bare_reference(workspace), self._vault, {}, micros(self.now))
