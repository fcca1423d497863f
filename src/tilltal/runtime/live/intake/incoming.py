"""From a row of a source's contract to a message with tokens: pseudonyms are made here, and nowhere else.

Direct identifiers and personal fields go to the vault before the message can be acknowledged; everything
after this module knows tokens only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date

import msgspec

from tilltal.core.instants import instant_of
from tilltal.core.operational import Identified, Logged, Observed
from tilltal.governance.normalise import Normaliser
from tilltal.governance.vault import Direct, Personal, Vault
from tilltal.runtime.live.intake.facts import body_of
from tilltal.sources.online.contract import Row
from tilltal.workspace.definitions.identity import Identity

_REMEMBERED = 200_000  # direct identifiers that the vault surely has


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A message ready for a micro-batch: its row of the log and the identifiers in it, leading one first."""

    logged: Logged
    ids: tuple[tuple[str, int], ...]
    message_id: str

    @property
    def observed(self) -> Observed | None:
        """What the message says of identity: nothing if it has one identifier only."""
        if len(self.ids) < 2:
            return None
        return Observed(f"{self.logged.source}:{self.message_id}", self.logged.at, self.ids)


class Pseudonymised(msgspec.Struct, kw_only=True):
    """The messages of a batch, what their identifiers are, and what only the vault may keep."""

    messages: list[Incoming] = []
    identities: list[Identified] = []
    direct: list[Direct] = []
    personal: list[Personal] = []


class Desk:
    """Turns rows into messages under one vault and one definition of identity."""

    def __init__(self, identity: Identity, vault: Vault, today: date) -> None:
        self._direct = frozenset(namespace.name for namespace in identity.namespaces if namespace.direct)
        self._normalise = Normaliser(identity, today).one
        self._token = vault.pseudonymiser.token
        self._vault = vault
        self._kept: OrderedDict[int, None] = OrderedDict()

    def token(self, namespace: str, text: str) -> int | None:
        """Return the token of an identifier as somebody writes it; None if it says nobody.

        Raises:
            KeyError: for a namespace that identity.yaml does not declare.
        """
        value = self._normalise(namespace, text)
        return None if value is None else self._token(namespace, value)

    def direct(self, tokens: Sequence[int]) -> list[str]:
        """Return direct identifiers in clear; for who has the scope to see them."""
        found = (self._vault.reveal(token) for token in tokens)
        return [one.value for one in found if one is not None]

    def take(self, row: Row, made: Pseudonymised) -> bool:
        """Add a row with tokens in the place of identifiers; False if none of them says who it is."""
        usable: dict[tuple[str, int], None] = {}
        for namespace, text in row.identities:
            value = self._normalise(namespace, text)
            if value is not None:
                token = self._token(namespace, value)
                usable[namespace, token] = None
                is_direct = namespace in self._direct
                made.identities.append(Identified(token, namespace, None if is_direct else value))
                if is_direct and token not in self._kept:
                    made.direct.append(Direct(token=token, namespace=namespace, value=value))
        if not usable:
            return False
        ids = tuple(usable)
        leading = ids[0][1]
        if row.personal:
            self._note_personal(row, leading, made)
        at, received = row.at, row.received
        logged = Logged(
            event_id=row.event_id,
            token=leading,
            ids=(leading,) if len(ids) == 1 else tuple([token for _, token in ids]),
            kind=row.kind,
            name=row.name,
            source=row.source,
            at=at if at < received else received,  # a clock that is a little ahead means now
            received=received,
            body=body_of(row.message_id, row.fields),
        )
        made.messages.append(Incoming(logged=logged, ids=ids, message_id=row.message_id))
        return True

    def keep_secrets(self, made: Pseudonymised) -> None:
        """Give the vault its share, durably."""
        if made.direct:
            self._vault.keep_direct(made.direct)
            for one in made.direct:
                self._kept[one.token] = None
            while len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
        if made.personal:
            self._vault.keep_personal(made.personal)

    def _note_personal(self, row: Row, token: int, made: Pseudonymised) -> None:
        made.personal += [
            Personal(token=token, source=row.source, field=field, at=_written(row.at), value=value)
            for field, value in row.personal.items()
        ]


def _written(at: int) -> str:
    """Return an instant as the vault compares it: the text of a naive UTC timestamp."""
    return str(instant_of(at).replace(tzinfo=None))
