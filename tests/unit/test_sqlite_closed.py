"""A store that is closed answers nothing, whatever it has in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tilltal.core.errors import EngineError
from tilltal.core.operational import Owned, State, Writes
from tilltal.engines.sqlite import open_sqlite


def test_a_closed_store_tells_nothing_from_memory(tmp_path: Path) -> None:
    async def main() -> None:
        store = await open_sqlite(tmp_path / "live.db")
        await store.write(Writes(states=[State(1, b"state")], owners={7: (Owned(7, 0, None, 1),)}))
        for _ in range(2):
            assert await store.whose([7], 5) == (1, State(1, b"state"))
        await store.close()
        with pytest.raises(EngineError, match="closed"):
            await store.whose([7], 5)

    asyncio.run(main())
