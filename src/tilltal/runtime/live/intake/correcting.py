"""Corrections of identity as they change: whoever they concern is settled anew, once.

A mark of the operational store says which corrections its owners were found with.
"""

from __future__ import annotations

import msgspec

from tilltal.core.operational import OperationalStore, Writes
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.rules.clock import Clock
from tilltal.runtime.live.intake.applying import Applier

_MARK = "corrections"
_decode = msgspec.msgpack.Decoder(Corrections[int]).decode


def corrected(identity: OnlineIdentity) -> dict[str, bytes]:
    """Return the mark of owners that were found with the corrections in force."""
    return {_MARK: msgspec.msgpack.encode(identity.corrections)}


async def correct(store: OperationalStore, applier: Applier, identity: OnlineIdentity, clock: Clock) -> int:
    """Settle anew whom corrections concern that came or went; return how many profiles that touched.

    Raises:
        EngineError: E530 if the store cannot be reached, E531 if another process was faster: try again.
    """
    async with store.transaction() as tx:
        mark = await tx.mark(_MARK)
        earlier = _decode(mark) if mark else Corrections[int]()
        if earlier == identity.corrections:
            return 0
        touched = await applier.correct(tx, OnlineIdentity(identity.rules, earlier), clock)
        await tx.write(Writes(marks=corrected(identity)))
        return touched
