"""A loaded workspace: every definition by its name, and where each part of it is written."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.errors import Fault, Place
from tilltal.core.time import zone_of
from tilltal.workspace.definitions.actions import Action, Treatment
from tilltal.workspace.definitions.allocation import Allocation
from tilltal.workspace.definitions.contact import Contact
from tilltal.workspace.definitions.engagement import EngagementPolicy
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.models import Model
from tilltal.workspace.definitions.policies import Arbitration, Consent, DataUse, Kpis
from tilltal.workspace.definitions.profile import Profile, Trait
from tilltal.workspace.definitions.segments import Audience, Lifecycle, MicroSegments, Personas, Value
from tilltal.workspace.definitions.sending import Sending
from tilltal.workspace.definitions.settings import Settings
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.document import Document


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """All definitions of a bank, read and shaped; whether they make sense together says `check`.

    `root` is the folder's path; `content_hash` changes with any definition, not with comments or layout.
    `treatments` holds action → (channel, language) → treatment. `faulty` are the files, or folders, that
    could not be read in whole: what they define is missing here.
    """

    root: str
    settings: Settings
    content_hash: str
    identity: Identity
    profile: Profile
    sources: dict[str, Source]
    traits: dict[str, Trait]
    audiences: dict[str, Audience]
    lifecycle: Lifecycle | None
    value: Value | None
    personas: Personas | None
    micro_segments: MicroSegments
    models: dict[str, Model]
    actions: dict[str, Action]
    treatments: dict[str, dict[tuple[str, str], Treatment]]
    arbitration: Arbitration
    consent: Consent
    contact: Contact
    data_use: DataUse
    kpis: Kpis
    documents: dict[str, Document]
    allocation: Allocation = Allocation()
    engagement: EngagementPolicy = EngagementPolicy()
    sending: Sending = Sending()
    faulty: tuple[str, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose days, weeks and months count.

        Raises:
            ValueError: if the settings name no IANA zone; `check` reports it with its place.
        """
        return zone_of(self.settings.time_zone)

    @property
    def currency(self) -> str:
        """The ISO 4217 code of all money."""
        return self.settings.currency

    def place(self, file: str, *path: str | int) -> Place:
        """Return where a part of a definition is written: `place("value.yaml", "cells", 3, "name")`.

        Where the part is not written (a default), it is the place of what holds it.
        """
        document = self.documents.get(file)
        return document.place(*path) if document else Place(file=file)

    def key_place(self, file: str, *path: str | int) -> Place:
        """Return where a key is written, for faults about the key itself."""
        document = self.documents.get(file)
        return document.key_place(*path) if document else Place(file=file)

    def place_within(self, fault: Fault, text: str, file: str, *path: str | int) -> Place:
        """Return the place in the file of a fault that counts lines and columns within a text value.

        The dialect reports places within the text it parsed, counted from 1:1; this finds the same
        character in the YAML, whatever its quoting or folding.
        """
        document = self.documents.get(file)
        if document is None or not fault.place.line:
            return self.place(file, *path)
        before = text.split("\n")[: fault.place.line - 1]
        offset = sum(len(line) + 1 for line in before) + fault.place.column - 1
        return document.place_within(min(offset, max(len(text) - 1, 0)), *path)

    def states(self, file: str, *path: str | int) -> bool:
        """True where a file states the value at `path`, False where it is a default."""
        document = self.documents.get(file)
        return document is not None and document.has(*path)
