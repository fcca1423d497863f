"""What is written in one turn of the loop goes out in one piece, in order, and before the end."""

from __future__ import annotations

import asyncio
from typing import cast

from tilltal.api.serving.protocol import _AT_ONCE, Together


class Wire:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


def wired() -> tuple[Wire, Together]:
    wire = Wire()
    return wire, Together(cast("asyncio.Transport", wire), asyncio.get_running_loop())


def test_a_head_and_its_body_are_one_piece() -> None:
    async def main() -> None:
        wire, together = wired()
        for turn in (b"1", b"2"):
            together.write(b"head")
            together.write(b"body" + turn)
            assert b"headbody" + turn not in wire.told
            await asyncio.sleep(0)
        assert wire.told == [b"headbody1", b"headbody2"]

    asyncio.run(main())


def test_much_waits_for_nothing() -> None:
    async def main() -> None:
        wire, together = wired()
        much = bytes(_AT_ONCE + 1)
        together.write(b"head")
        together.write(much)
        assert wire.told == [b"head" + much]
        await asyncio.sleep(0)
        assert wire.told == [b"head" + much]

    asyncio.run(main())


def test_all_is_sent_before_the_end_but_not_where_it_is_cut_off() -> None:
    async def main() -> None:
        wire, together = wired()
        together.write(b"last")
        together.close()
        await asyncio.sleep(0)
        assert wire.told == [b"last", "close"]
        wire, together = wired()
        together.write(b"lost")
        together.abort()
        assert wire.told == ["abort"]

    asyncio.run(main())
