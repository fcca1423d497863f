"""A server without HTTP on a clock of our own, beside what a refresh makes of its log at the same instant."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.live.live_words import write_identity, write_workspace

from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore
from tilltal.customers.identity.online.resolver import owner_at
from tilltal.decisions.single import as_row
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import IngestReport, ingest, open_vault
from tilltal.runtime.live.contract import Collected, Message
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.history.catching_up import CatchUp
from tilltal.runtime.live.history.compaction import compact, hot_tables
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.history.remaking import Remaking, tidy
from tilltal.runtime.live.history.taking_over import TakeOver
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.reference import bare_reference
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.sweeping import Sweep
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.personas import PersonaMemory
from tilltal.runtime.refresh.profiles import ProfileBuilder
from tilltal.runtime.refresh.views import open_history, open_views
from tilltal.workspace.definitions.sources import Read
from tilltal.workspace.graph import dependencies
from tilltal.workspace.load import load
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

T = TypeVar("T")
Row = Mapping[str, object]
_ENDLESS = 1_000_000


class HandWoken(LiveServer):
    """A server whose sweep is run by hand."""

    async def _wake(self) -> None:
        """Leave the sweep to `wake`."""

    async def wake(self) -> None:
        """Bring everybody up to the clock whose time has come."""
        while await self._wake_portion():
            pass


class Seen(msgspec.Struct, frozen=True):
    """What there is at an instant: values by profile, and the owner of each token that has one."""

    profiles: Mapping[int, Row]
    owners: Mapping[int, int]


class LiveBank:
    """A workspace, its server, and its batch."""

    def __init__(self, root: Path, place: str, rules: Mapping[str, Any], start: datetime, key: int) -> None:
        """Found a bank.

        Args:
            root: an empty folder.
            place: of a new operational store.
            rules: of identity.
            start: what the clock shows.
            key: of the vault: decides the order of tokens, and so of ties.
        """
        self.now = start
        self._root, self._place, self._rules = root, place, rules
        self._loop = asyncio.new_event_loop()
        self._stack = ExitStack()
        self._tokens: set[int] = set()
        self._numbers = itertools.count(1)
        write_workspace(root, rules)
        self._workspace = load(root)
        vault = root / self._workspace.settings.store.vault
        vault.mkdir(parents=True)
        (vault / "key").write_text(f"{key:064x}\n", encoding="ascii")
        self._vault = self._stack.enter_context(open_vault(self._workspace))
        self._past_engine = self._stack.enter_context(DuckDBEngine(threads=1))
        self._engine = self._stack.enter_context(DuckDBEngine(threads=1))
        self._open()

    def close(self) -> None:
        """Let go of everything."""
        self._run(self._server.close())
        self._loop.close()
        self._stack.close()

    @property
    def store(self) -> OperationalStore:
        """The operational store."""
        return self._store

    @property
    def workspace(self) -> Workspace:
        """The definitions in force."""
        return self._workspace

    def in_force(self) -> tuple[InForce, Applier]:
        """Return the definitions in force, compiled, and who writes by them."""
        return self._server.force, self._server.applier

    @property
    def audiences(self) -> tuple[str, ...]:
        """The names of all audiences."""
        return self._server.force.program.audience_names

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        """Wait for something."""
        return self._run(asked)

    def send(self, documents: Sequence[Mapping[str, Any]]) -> Collected:
        """Let one call bring messages, now."""
        messages = [
            Message(
                index=index,
                type=one["type"],
                message_id=one["messageId"],
                user_id=one.get("userId"),
                anonymous_id=one.get("anonymousId"),
                timestamp=one["timestamp"],
                document=one,
            )
            for index, one in enumerate(documents)
        ]
        collected = self._run(self._server.collect(messages, self.now))
        self._tokens |= {token for row in self._run(self._rows()) for token in row}
        return collected

    def ingest(self, documents: Sequence[Mapping[str, Any]]) -> IngestReport:
        """Let files bring messages, in place of the collector; the server is to catch up with them."""
        router = self._server.force.reception._router
        lines: dict[str, list[bytes]] = {}
        for one in documents:
            routed = router.route(one["type"], one)
            assert isinstance(routed, list), routed
            line = msgspec.json.encode({**one, "receivedAt": self.now})
            for contract in routed:
                lines.setdefault(contract.name, []).append(line)
        folder = self._root / "files" / str(next(self._numbers))
        folder.mkdir(parents=True)
        for name, found in lines.items():
            (folder / f"{name}.jsonl").write_bytes(b"\n".join(found) + b"\n")
        report = ingest(_with_files(self._workspace, folder), sorted(lines), now=self.now)
        for path in files_of(self._workspace).accepted("identities"):
            self._tokens |= {row[0] for row in self._engine.rows(f"SELECT token FROM '{path}'")}
        return report

    def catch_up(self, portions: int = _ENDLESS) -> None:
        """Let the server take in some portions of ingested files, or all."""
        while portions and self._run(self._catching.portion()):
            portions -= 1

    def wake(self) -> None:
        """Wake whose time has come."""
        self._run(self._server.wake())

    def restart(self) -> None:
        """Close the server and open it again."""
        self._run(self._server.close())
        self._open()

    def compact(self) -> int:
        """Move the log to Parquet."""
        return self._run(compact(self._store, self._workspace, files_of(self._workspace), self.now))

    def correct(self, corrections: Sequence[Mapping[str, Any]]) -> None:
        """Put other corrections in force."""
        write_identity(self._root, self._rules, corrections)
        self._workspace = load(self._root)
        self._run(self._server.take_up(self._force()))

    def redefine(
        self,
        rules: Mapping[str, Any],
        files: Mapping[str, str],
        meanwhile: Sequence[Callable[[], object]] = (),
    ) -> None:
        """Put other definitions in force as a server does that goes on serving: things happen meanwhile.

        Corrections end. Files without text are removed.
        """
        self.begin_remaking(rules, files)
        for happen in meanwhile:
            happen()
        self.end_remaking()

    def begin_remaking(self, rules: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Write other definitions and begin to make customers by them; those before stay in force."""
        self._rules = rules
        write_identity(self._root, rules, ())
        for file, text in files.items():
            (self._root / file).parent.mkdir(parents=True, exist_ok=True)
            (self._root / file).write_text(text, encoding="utf-8")
            if not text:
                (self._root / file).unlink()
        self._other = load(self._root)
        reference = bare_reference(self._other)
        force = in_force(self._other, reference, self._vault, {}, micros(self.now))
        self._may_swap = asyncio.Event()
        self._remaking = self._loop.create_task(self._remade(force))

    async def _remade(self, force: InForce) -> None:
        async def put_in_force(swap: Callable[[], Awaitable[None]]) -> None:
            await self._may_swap.wait()
            await swap()
            self._server.replace(force)

        if self._server.force.made_by != force.made_by:
            await Remaking(self._store, force, {}, lambda: self.now, rest=0).run(put_in_force)
        await self._server.take_up(force)

    def end_remaking(self) -> None:
        """Let the other definitions take effect, and everybody hear of it."""
        self._may_swap.set()
        self._run(self._remaking)
        self._workspace = self._other
        self._run(self._swept())

    def break_off(self) -> None:
        """End as a crash would, in the middle of a remaking, and begin again with the definitions before."""
        self._remaking.cancel()
        with suppress(asyncio.CancelledError):
            self._run(self._remaking)
        self.restart()

    async def _swept(self) -> None:
        edition = self._server.force.program.edition
        while not await Sweep(self._server, self._store, lambda: self.now).portion(edition, {}):
            pass
        await tidy(self._store, lambda: self.now)

    def live(self) -> Seen:
        """Return what the server says."""
        return self._run(self._live(self._store, self._server.force))

    def taken_over(self, place: str) -> Seen:
        """Return what a server says that begins anew with the same history and log."""
        return self._run(self._taken_over(place))

    def batch(self) -> Seen:
        """Return what a refresh says."""
        engine, workspace = self._engine, self._workspace
        clock = Clock(self.now, workspace.zone)
        open_history(engine, workspace, files_of(workspace), self._run(self._hot()))
        resolve_identities(engine, workspace, clock, "history")
        open_views(engine, workspace, clock, "present")
        nodes = [node for node in dependencies(workspace) if not node.startswith("action.")]
        memory = PersonaMemory(may_learn=False)
        builder = ProfileBuilder(engine, workspace, clock, memory, Silent(), None)
        builder.build("profiles", frozenset(nodes) - {"micro_segments"})
        schema = profile_schema(workspace)
        rows = engine.arrow("SELECT * FROM profiles").to_pylist()
        profiles = {int(row["profile"]): dict(as_row(row, schema)) for row in rows}
        return Seen(profiles, self._batch_owners())

    def members(self) -> dict[str, dict[int, int]]:
        """Return audience → profile → since, as stored."""
        return {name: dict(self._run(self._store.members(name, limit=_ENDLESS))) for name in self.audiences}

    def _batch_owners(self) -> dict[int, int]:
        engine = self._engine
        now = f"make_timestamp({micros(self.now)})"
        spine = {row[0] for row in engine.rows("SELECT profile FROM spine")}
        held = engine.rows(
            "SELECT identity, profile FROM history.identity_map "
            f"WHERE valid_from <= {now} AND (valid_to IS NULL OR {now} < valid_to)"
        )
        owners = {one: one for one in spine}
        owners.update({token: profile for token, profile in held if profile in spine})
        return owners

    def _run(self, asked: Awaitable[T]) -> T:
        return self._loop.run_until_complete(asked)

    def _open(self) -> None:
        self._run(self._opened())

    async def _opened(self) -> None:
        self._store = await open_store(self._place)
        force = self._force()
        workspace = self._workspace
        files = files_of(workspace)
        past = Past(self._past_engine, workspace, files)
        self._server = HandWoken(self._store, force, SetAside(files, self._vault), past, lambda: self.now)
        await self._server.start()
        self._catching = CatchUp(
            self._store,
            files,
            past,
            self.in_force,
            self._server.feed.notify,
            lambda: self.now,
            size=3,
        )

    def _force(self) -> InForce:
        reference = bare_reference(self._workspace)
        return in_force(self._workspace, reference, self._vault, {}, micros(self.now))

    async def _hot(self) -> dict[str, Any]:
        return await hot_tables(self._store, self._workspace, files_of(self._workspace))

    async def _rows(self) -> list[tuple[int, ...]]:
        return [row.ids for row in await self._store.log_after(0, _ENDLESS)]

    async def _taken_over(self, place: str) -> Seen:
        force = self._force()
        target = await open_store(place)
        try:
            with DuckDBEngine(threads=1) as engine:
                files, hot = files_of(self._workspace), await self._hot()
                over = TakeOver(engine, self._workspace, files, force.program, force.identity, {}, hot)
                await over.run(target, Clock(self.now, self._workspace.zone), Silent())
            return await self._live(target, force)
        finally:
            await target.close()

    async def _live(self, store: OperationalStore, force: InForce) -> Seen:
        clock = Clock(self.now, self._workspace.zone)
        states = await store.states(self._tokens)
        spans = await store.owners(self._tokens)
        at = micros(self.now)
        owners = {token: owner for token, own in spans.items() if (owner := owner_at(own, at)) is not None}
        program = force.program
        profiles = {
            profile: program.values(program.decode(state.data), clock) for profile, state in states.items()
        }
        return Seen(profiles, owners)


def _with_files(workspace: Workspace, folder: Path) -> Workspace:
    """Return definitions whose sources read the messages of the collector from files."""
    sources = {
        name: msgspec.structs.replace(source, read=Read(files=str(folder / f"{name}.jsonl")), max_rejects=0.0)
        for name, source in workspace.sources.items()
    }
    return msgspec.structs.replace(workspace, sources=sources)


def differences(live: Seen, batch: Seen) -> list[tuple[object, ...]]:
    """Return what differs: profiles, owners, cells."""
    found: list[tuple[object, ...]] = [
        ("profile", profile, "live" if profile in live.profiles else "batch")
        for profile in live.profiles.keys() ^ batch.profiles.keys()
    ]
    found += [
        ("owner", token, live.owners.get(token), batch.owners.get(token))
        for token in live.owners.keys() | batch.owners.keys()
        if live.owners.get(token) != batch.owners.get(token)
    ]
    for profile in live.profiles.keys() & batch.profiles.keys():
        mine, theirs = live.profiles[profile], batch.profiles[profile]
        names: Iterable[str] = sorted(mine)
        found += [
            (profile, name, mine[name], theirs[name])
            for name in names
            if not is_same(mine[name], theirs[name])
        ]
    return found


def cells(seen: Seen) -> int:
    """Return how many values there are."""
    return sum(len(row) for row in seen.profiles.values()) + len(seen.owners)


def is_same(live: object, batch: object) -> bool:
    """True for equal values of one type; numbers may differ by rounding."""
    if isinstance(live, float | int) and isinstance(batch, float | int) and type(live) is not bool:
        return type(batch) is not bool and math.isclose(live, batch, rel_tol=1e-9, abs_tol=1e-9)
    return type(live) is type(batch) and live == batch
