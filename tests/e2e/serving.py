"""A small shop served by the real server: its workspace, the process, and calls to it.

`forking.py` is a second way to start the same server: a process that has imported everything forks one, so
that hundreds of starts take minutes instead of hours.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
import msgspec
from tests.commands import run

SCOPES = ("collect", "decide", "read", "read-identity", "admin")
TILLTAL = (sys.executable, "-c", "from tilltal.cli.main import main; main()")
FORKING = Path(__file__).with_name("forking.py")

_ACTION = """
    title: {title}
    group: service
    issue: care
    purpose: service
    propensity: {propensity}
    value: {value}
    """
FILES = {
    "identity.yaml": """
        namespaces:
          - {name: crm, unique: true}
          - {name: email, direct: true, normalise: email}
          - {name: device, kind: device}
        """,
    "sources/deeds.yaml": """
        kind: event
        read: {collector: [track]}
        identities: {crm: userId, device: anonymousId}
        event: {column: event, values: [purchase, look]}
        fields:
          amount: {type: money, column: properties.amount}
          number: {type: integer, column: properties.number}
        """,
    "sources/views.yaml": """
        kind: event
        read: {collector: [page, screen]}
        identities: {crm: userId, device: anonymousId}
        event: view
        fields: {name: {type: text}}
        """,
    "sources/people.yaml": """
        kind: record
        read: {collector: [identify]}
        identities: {crm: userId, device: anonymousId, email: traits.email}
        fields: {plan: {type: text, column: traits.plan}}
        """,
    "sources/aliases.yaml": """
        kind: event
        read: {collector: [alias]}
        identities: {crm: userId, device: previousId}
        event: alias
        """,
    "sources/groups.yaml": """
        kind: record
        read: {collector: [group]}
        identities: {crm: userId}
        fields: {company: {type: text, column: groupId}}
        """,
    "traits/purchases.yaml": "{measure: count, from: [purchase]}",
    "traits/spend.yaml": "{measure: sum, of: amount, from: [purchase]}",
    "traits/last_number.yaml": "{measure: max, of: number, from: [purchase]}",
    "traits/views.yaml": "{measure: count, from: [view]}",
    "audiences/buyers.yaml": "condition: purchases >= 1",
    "audiences/even.yaml": "condition: purchases % 2 = 0 AND purchases >= 1",
    "policies/consent.yaml": "purposes: {service: {consent: not_required}}",
    "actions/hello/action.yaml": _ACTION.format(title="Hello", propensity=0.1, value=1),
    "actions/hello/push.en.yaml": "{title: Hello, body: Good to see you.}",
    "actions/thanks/action.yaml": _ACTION.format(title="Thank you", propensity=0.5, value=10)
    + "eligibility: [{name: has_bought, when: audience.buyers}]",
    "actions/thanks/push.en.yaml": "{title: Thank you, body: For buying here.}",
}
_SETTINGS = """
    name: shop
    time_zone: Europe/Stockholm
    currency: SEK
    channels: [push, email]
    store: {{operational: "{operational}"}}
    server:
      fallback: [hello]
      budget_ms: 20000
    """


class Shop:
    """A workspace whose definitions use each type of message."""

    def __init__(self, root: Path, operational: str = ".tilltal/live.sqlite", settings: str = "") -> None:
        """Write it; `settings` are more lines of `server` in tilltal.yaml."""
        self.root = root
        for file, text in FILES.items():
            self.write(file, text)
        head = textwrap.dedent(_SETTINGS.format(operational=operational))
        self.write("tilltal.yaml", head + textwrap.indent(textwrap.dedent(settings), "  "))

    def write(self, file: str, text: str) -> None:
        """Write a definition, in one step."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(textwrap.dedent(text), encoding="utf-8")
        fresh.rename(path)

    def key(self) -> str:
        """Make an API key with every scope, as an operator does."""
        options = [word for scope in SCOPES for word in ("--scope", scope)]
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert run("keys", "create", self.root, "tests", *options, "--json") == 0
        secret = msgspec.json.decode(printed.getvalue())["secret"]
        assert isinstance(secret, str)
        return secret


class Started(Protocol):
    """A process that was started."""

    pid: int

    def wait(self, timeout: float) -> int:
        """Return its exit code when it has ended; negative: by which signal."""


class Forked:
    """A process that the forking one started."""

    def __init__(self, mother: Forking, pid: int) -> None:
        self._mother = mother
        self.pid = pid

    def wait(self, timeout: float) -> int:
        """Return its exit code."""
        del timeout  # the forking process itself gives up after a minute
        return int(self._mother.say({"wait": self.pid}))


class Forking:
    """A process that has imported the server and forks it whenever told."""

    def __init__(self, folder: Path) -> None:
        shop = Shop(folder / "shop")
        self._process = subprocess.Popen(
            [sys.executable, str(FORKING), str(shop.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._read() != "ready":
            self.close()
            raise AssertionError("the forking process does not start; its standard error tells why")

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Fork a server."""
        asked = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        return Forked(self, int(self.say(asked)))

    def say(self, asked: object) -> str:
        """Ask for something and return the answer."""
        assert self._process.stdin
        self._process.stdin.write(msgspec.json.encode(asked).decode() + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it."""
        self._process.communicate("", timeout=10)

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


class Server:
    """A server process over a shop; the same port every time it starts."""

    def __init__(
        self,
        shop: Shop,
        key: str,
        *,
        forking: Forking | None = None,
        environment: Mapping[str, str] = {},
    ) -> None:
        self.shop = shop
        self.key = key
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = shop.root.parent / f"server-{self.port}.log"
        self._forking = forking
        self._environment = dict(environment)
        self._process: Started | None = None
        self._client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()
        self._client.close()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process
        return self._process.pid

    def start(self, *, wait: bool = True) -> float:
        """Start it; return after how many seconds it was ready."""
        began = time.monotonic()
        arguments = ["serve", str(self.shop.root), "--port", str(self.port)]
        if self._forking is not None:
            self._process = self._forking.start(arguments, self._environment, self.log)
        else:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*TILLTAL, *arguments],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment},
                )
        if wait:
            self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait for /readyz to say 200."""
        until(lambda: self.readiness() == 200, seconds, lambda: f"the server is not ready:\n{self.logged()}")

    def readiness(self) -> int:
        """Return what /readyz says; 0 if nobody listens."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def kill(self) -> None:
        """End the process as a failure of the machine would."""
        assert self._process
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def stop(self, seconds: float = 30) -> tuple[int, float]:
        """Ask the process to end; return its exit code and the seconds it took."""
        assert self._process
        began = time.monotonic()
        os.kill(self._process.pid, signal.SIGTERM)
        code = self._process.wait(seconds)
        self._process = None
        return code, time.monotonic() - began

    def logged(self) -> str:
        """Return what the process printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    # -- calls -------------------------------------------------------------------------------------------

    def get(self, path: str, **parameters: Any) -> Any:
        """GET, with the key."""
        answer = self._client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: object) -> Any:
        """POST JSON, with the key."""
        answer = self._client.post(path, content=msgspec.json.encode(body))
        answer.raise_for_status()
        return answer.json()

    def send(self, *messages: Mapping[str, object]) -> Any:
        """Send messages in one batch."""
        return self.post("/v1/batch", {"batch": messages})

    def profile(self, value: str, namespace: str = "crm") -> Any:
        """Return a customer, or None."""
        answer = self._client.get(f"/v1/profiles/{namespace}/{value}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def traits(self, value: str, namespace: str = "crm") -> Mapping[str, Any]:
        """Return a customer's traits; none of somebody unknown."""
        found = self.profile(value, namespace)
        return found["traits"] if found else {}

    def timeline(self, value: str, namespace: str = "crm") -> list[Any]:
        """Return everything that happened to a customer, latest first."""
        entries: list[Any] = []
        before: dict[str, str] = {}
        while True:
            page = self.get(f"/v1/profiles/{namespace}/{value}/timeline", limit=1000, **before)
            entries += page["entries"]
            if page["next_before"] is None:
                return entries
            before = {"before": page["next_before"]}

    def decide(self, value: str, namespace: str = "crm", count: int = 1) -> Any:
        """Return a decision."""
        asked = {"identity": {namespace: value}, "channel": "push", "count": count}
        return self.post("/v1/decide", asked)

    def members(self, audience: str) -> dict[str, str]:
        """Return profile → since of an audience's members."""
        found: dict[str, str] = {}
        after: dict[str, str] = {}
        while True:
            page = self.get(f"/v1/audiences/{audience}/members", limit=10_000, **after)
            found.update((one["profile"], one["since"]) for one in page["members"])
            if page["next_after"] is None:
                return found
            after = {"after": page["next_after"]}

    def changes(self, is_last: Callable[[Any], bool], after: int = 0) -> list[Any]:
        """Return changes after a position as the stream tells them, up to a certain one."""
        found: list[Any] = []
        with self._client.stream("GET", "/v1/changes", params={"after": after}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    found.append(msgspec.json.decode(line.removeprefix("data: ")))
                    if is_last(found[-1]):
                        break
        return found


def purchase(number: int, customer: str, **more: object) -> dict[str, object]:
    """Return a message whose id tells its number."""
    return {
        "type": "track",
        "event": "purchase",
        "userId": customer,
        "messageId": f"purchase-{number}",
        "properties": {"amount": 10, "number": number},
        **more,
    }


def until(condition: Callable[[], object], seconds: float, said: Callable[[], str] = str) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: if it is not so in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, said() or "it did not happen in time"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def forking_process(folder: Path) -> Iterator[Forking]:
    """Run a forking process for the block; a folder of its own, in which it warms up."""
    found = Forking(folder)
    try:
        yield found
    finally:
        found.close()
