"""`tilltal.yaml`: the workspace's name, clock, money, and where its data lies."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition


class Store(Definition, frozen=True, kw_only=True):
    """Where state lies, relative to the workspace."""

    path: str = ".tilltal"
    vault: Annotated[str, Meta(description="Folder of the vault: direct identifiers and their key.")] = (
        ".tilltal/vault"
    )


class Engine(Definition, frozen=True, kw_only=True):
    """The batch engine and what it may use."""

    name: Literal["duckdb"] = "duckdb"
    memory_limit: str = "4GB"
    threads: int | None = None


CHANNELS = (
    "email", "sms", "push", "banner", "popup", "call", "branch", "letter", "webhook",
)  # fmt: skip


class Settings(Definition, frozen=True, kw_only=True):
    """The workspace itself."""

    name: str
    description: str = ""
    time_zone: Annotated[str, Meta(description="IANA name; days, weeks and months follow it.")] = "UTC"
    currency: Annotated[str, Meta(description="ISO 4217 code; money is kept in its minor units.")] = "EUR"
    languages: tuple[str, ...] = ("en",)
    channels: Annotated[tuple[str, ...], Meta(description="Channels that treatments may use.")] = CHANNELS
    as_of: Annotated[
        str,
        Meta(
            description="`now`, `last_event` (for historical data) or a fixed instant; the clock of refresh."
        ),
    ] = "now"
    store: Store = Store()
    engine: Engine = Engine()
