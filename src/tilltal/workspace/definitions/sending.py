"""`policies/sending.yaml`: when what is decided is sent."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names


class Sending(Definition, frozen=True, kw_only=True):
    """`policies/sending.yaml`: the moment is chosen by each customer's own rhythm. Without it: at once."""

    channels: Annotated[
        Names,
        Meta(description="Channels whose moment is chosen, such as `push` and `email`; in others it is now."),
    ] = ()
    events: Annotated[
        Names,
        Meta(description="Event types that tell when a customer is there: logins, clicks, purchases."),
    ] = ()
    days: Annotated[
        int, Meta(ge=1, le=366, description="So many days of them make the rhythm, today included.")
    ] = 60
    horizon: Annotated[
        DurationText,
        Meta(description="How long a message may wait for its moment; an hour to a week."),
    ] = "24 hours"
