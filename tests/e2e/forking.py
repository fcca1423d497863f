"""A process that imports the server once and forks it per line of standard input: `forking.py WORKSPACE`.

Lines are JSON. `{"arguments": [...], "environment": {...}, "log": path}` is answered by the new process's id,
`{"wait": id}` by its exit code. The forked process runs `tilltal` with the arguments, as a new one would. The
workspace given is opened once, so that everything is imported that is imported late.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tilltal.api.app import create_app
from tilltal.cli.main import main
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.progress import Silent


async def warm_up(workspace: Path) -> None:
    """Open a workspace and close it."""
    async with open_server(workspace, lambda: datetime.now(UTC), Silent()) as server:
        create_app(server)


def serve(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Become a command; never returns."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(number, target)
    os.environ.update(environment)
    main(list(arguments))


def answer(asked: Mapping[str, Any]) -> int:
    """Do what a line asks."""
    if "wait" in asked:
        return os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
    pid = os.fork()
    if pid == 0:
        serve(asked["arguments"], asked["environment"], asked["log"])
    return pid


if __name__ == "__main__":
    asyncio.run(warm_up(Path(sys.argv[1])))
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        print(answer(msgspec.json.decode(line)), flush=True)
    gc.unfreeze()
