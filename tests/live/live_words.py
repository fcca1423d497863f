"""A small bank whose definitions use everything and whose sources all come from the collector."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tests.live_bank import FILES as FILE_BANK

IDENTITY: Mapping[str, Any] = {
    "namespaces": [
        {"name": "crm", "kind": "person", "unique": True},
        {"name": "email", "kind": "person", "direct": True, "normalise": "email", "shared_after": 3},
        {"name": "device", "kind": "device"},
    ],
}
RULES: Sequence[Mapping[str, Any]] = (
    {},
    {"anonymous_vouch": "2 days", "anonymous_lookback": "1 day"},
    {"anonymous_owner": "current_holder"},
    {"person_links": "latest_wins", "device_bridges_people": True, "max_ids_per_person": 4},
)
"""Rules of identity to live by, one at a time."""

ONE_EMAIL: Mapping[str, Any] = {
    "namespaces": [
        {"name": "crm", "kind": "person", "unique": True},
        {"name": "email", "kind": "person", "direct": True, "normalise": "email", "unique": True},
        {"name": "device", "kind": "device"},
    ],
}
FACTS = {
    "traits/big_buys.yaml": "{measure: count, from: [buy], where: amount > 10}",
    "traits/week.yaml": "{measure: sum, of: pieces, from: [buy, look], window: 7 days}",
    "audiences/big_buyers.yaml": "condition: big_buys >= 2 OR week > 3",
}
OTHER_FACTS = {
    **FACTS,
    "traits/big_buys.yaml": "{measure: count, from: [look], where: pieces > 1}",
    "traits/week.yaml": "{measure: sum, of: pieces, from: [buy, look], window: 9 hours}",
}
"""Definitions beside those of the bank, which ask for other facts of the past."""

_IDS = "identities: {crm: userId, email: traits.email, device: anonymousId}"
SOURCES = {
    "sources/buys.yaml": f"""
        kind: event
        read: {{collector: [track], event: [Buy]}}
        {_IDS}
        event: buy
        fields:
          amount: {{type: money, column: properties.amount}}
          price: {{type: number, column: properties.price}}
          pieces: {{type: integer, column: properties.pieces}}
          city: {{type: text, column: properties.city}}
          open: {{type: boolean, column: properties.open}}
          due: {{type: date, column: properties.due}}
          seen: {{type: timestamp, column: properties.seen}}
          thing: {{type: any, column: properties.thing}}
        """,
    "sources/looks.yaml": f"""
        kind: event
        read: {{collector: [track], event: [Look]}}
        {_IDS}
        event: look
        fields:
          amount: {{type: money, column: properties.amount}}
          pieces: {{type: integer, column: properties.pieces}}
          city: {{type: text, column: properties.city}}
        """,
    "sources/notices.yaml": f"""
        kind: event
        read: {{collector: [track]}}
        {_IDS}
        event: {{column: event, map: {{Opened: open, Left: leave, Stayed: stay, Closed: close}}}}
        """,
    "sources/crm.yaml": f"""
        kind: record
        read: {{collector: [identify]}}
        {_IDS}
        fields:
          town: {{type: text, column: traits.town}}
          income: {{type: money, column: traits.income}}
          birth: {{type: date, column: traits.birth}}
          rank: {{type: number, column: traits.rank}}
          met: {{type: timestamp, column: traits.met}}
        """,
    "sources/web.yaml": f"""
        kind: record
        read: {{collector: [page]}}
        {_IDS}
        fields:
          town: {{type: text, column: properties.town}}
          income: {{type: money, column: properties.income}}
          rank: {{type: number, column: properties.rank}}
          is_dark: {{type: boolean, column: properties.is_dark}}
        """,
    "sources/held.yaml": f"""
        kind: holding
        read: {{collector: [track], event: [Held]}}
        {_IDS}
        product: {{column: properties.product, values: [card, loan, savings]}}
        opened: properties.opened
        closed: properties.closed
        """,
    "sources/answers.yaml": f"""
        kind: consent
        read: {{collector: [track], event: [Answered]}}
        {_IDS}
        purpose: {{column: properties.purpose, values: [ads, tips]}}
        channel: {{column: properties.channel, values: ['*', push, email]}}
        granted: properties.granted
        """,
}


def write_workspace(root: Path, rules: Mapping[str, Any]) -> None:
    """Write the bank's definitions, with some rules of identity and no corrections."""
    for file, text in {**FILE_BANK, **SOURCES}.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    write_identity(root, rules, ())


def write_identity(root: Path, rules: Mapping[str, Any], corrections: Sequence[Mapping[str, Any]]) -> None:
    """Write identity.yaml anew."""
    whole = {**IDENTITY, **rules, "corrections": list(corrections)}
    (root / "identity.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
