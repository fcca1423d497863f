"""Consents: what a customer allows, by purpose and channel, as columns of the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.workspace.definitions.policies import Purpose


def consent_name(purpose: str, channel: str) -> str:
    """Return the name an expression uses: `consent.<purpose>.<channel>`."""
    return f"consent.{purpose}.{channel}"


def consents_sql(
    purposes: Mapping[str, Purpose], channels: Sequence[str], *, as_of: datetime | None = None
) -> str:
    """Return a SELECT of `profile` and a BOOLEAN per purpose and channel, one row per row of `spine`.

    The latest answer for the purpose whose channel matches, or is `*`, decides; of answers at the same
    instant a refusal. No answer means no, also where only a refusal would forbid contact: the name says what
    was answered. A purpose that needs no consent is always allowed. Reads the view `consents`; with `as_of`,
    only answers given and known by then count.
    """
    columns, needed = ["spine.profile"], {}
    for purpose, terms in purposes.items():
        for channel in channels:
            name = quote(consent_name(purpose, channel))
            if terms.basis(channel) == "not_required":
                columns.append(f"TRUE AS {name}")
            else:
                needed[name] = _decision(purpose, channel)
                columns.append(f"COALESCE(answers.{name}, FALSE) AS {name}")
    listed = f"SELECT {', '.join(columns)} FROM spine"
    if not needed:
        return listed
    decided = ", ".join(f"{decision} AS {name}" for name, decision in needed.items())
    answers = f"SELECT profile, {decided} FROM consents{_known(as_of)} GROUP BY profile"
    return f"{listed}\nLEFT JOIN ({answers}) AS answers ON answers.profile = spine.profile"


def _decision(purpose: str, channel: str) -> str:
    """Return whether the answer with the greatest time, refusals last, was a yes: its number is even.

    One maximum of whole numbers instead of a sorted window: microseconds doubled, plus one for a refusal.
    """
    number = '2 * epoch_us("at") + CASE WHEN granted THEN 0 ELSE 1 END'
    matches = f"purpose = {literal(purpose)} AND channel IN ({literal(channel)}, '*')"
    return f"MAX({number}) FILTER (WHERE {matches}) % 2 = 0"


def _known(as_of: datetime | None) -> str:
    if as_of is None:
        return ""
    now = sql_timestamp(as_of)
    return f' WHERE "at" <= {now} AND received <= {now}'
