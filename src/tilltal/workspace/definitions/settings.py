"""`tilltal.yaml`: the workspace's name, clock, money, and where its data lies."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names


class Store(Definition, frozen=True, kw_only=True):
    """Where state lies, relative to the workspace."""

    path: str = ".tilltal"
    vault: Annotated[str, Meta(description="Folder of the vault: direct identifiers and their key.")] = (
        ".tilltal/vault"
    )
    operational: Annotated[
        str,
        Meta(
            description="What the server lives on: a SQLite file, or `postgresql://...`; `$NAME` is read "
            "from the environment."
        ),
    ] = ".tilltal/live.sqlite"


class Engine(Definition, frozen=True, kw_only=True):
    """The batch engine and what it may use."""

    name: Literal["duckdb"] = "duckdb"
    memory_limit: str = "4GB"
    threads: int | None = None


class Webhook(Definition, frozen=True, kw_only=True):
    """Who is told over HTTP of entries, exits and transitions. Calls are signed and repeated."""

    url: str
    secret: Annotated[str, Meta(description="Environment variable that holds the secret of the signature.")]
    audiences: Annotated[Names, Meta(description="Only these audiences; empty = all.")] = ()
    changes: Annotated[
        tuple[Literal["entered", "left", "stage", "merged", "split"], ...],
        Meta(description="Which kinds of change."),
    ] = ("entered", "left", "stage")


class Placement(Definition, frozen=True, kw_only=True):
    """A place that shows decisions, such as the app's first page."""

    channel: Annotated[str, Meta(description="Whose treatments fit there.")]
    count: Annotated[int, Meta(ge=1, description="How many actions fit.")] = 1


class Recalibration(Definition, frozen=True, kw_only=True):
    """How what becomes of shown actions corrects the probabilities of models while the server runs.

    It is for actions whose propensity is a model: adaptive ones learn by themselves.
    """

    enabled: bool = True
    wait: Annotated[
        DurationText, Meta(description="What came of an impression counts after so long, yes or no.")
    ] = "7 days"
    window: Annotated[int, Meta(ge=100, description="The latest answers of a model that count.")] = 1500


class Server(Definition, frozen=True, kw_only=True):
    """What `tilltal serve` does where a request or an option says nothing."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8400
    budget_ms: Annotated[
        float, Meta(gt=0, description="Milliseconds a decision may take before the fallback is answered.")
    ] = 200
    fallback: Annotated[
        Names, Meta(description="Actions that may be answered, beside mandatory ones, when time is over.")
    ] = ()
    keep_decisions: Annotated[
        DurationText,
        Meta(description="How long decisions can be answered; then they and their responses go to Parquet."),
    ] = "P400D"
    keep_changes: Annotated[
        DurationText,
        Meta(
            description="How long entries, exits and transitions can be asked for; those that a webhook was "
            "not told of stay."
        ),
    ] = "P30D"
    memory_mb: Annotated[
        int, Meta(ge=1, description="Megabytes of customers that an embedded store keeps in memory.")
    ] = 512
    recalibration: Recalibration = Recalibration()
    placements: dict[str, Placement] = {}
    webhooks: dict[str, Webhook] = {}


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
    server: Server = Server()
