"""`policies/contact.yaml`: when, how often, and after what a customer may be contacted."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names, Spoken

Some = str | Names | None
ClockText = Annotated[str, Meta(description="Local time of day, such as `21:00`.")]

OUTCOMES = ("impression", "click", "accept", "reject", "conversion", "dismiss", "ignored")
OUTBOUND = ("email", "sms", "push", "call", "letter", "webhook")
PARTS = ("action", "group", "issue", "channel", "purpose")


class AppliesTo(Definition, frozen=True, kw_only=True):
    """Narrows a rule to contacts, each part to one name or several; what is not stated matches everything."""

    action: Some = None
    group: Some = None
    issue: Some = None
    channel: Some = None
    purpose: Some = None

    def allowed(self, part: str) -> Names | None:
        """Return the names one of PARTS is narrowed to, or None if it is not."""
        stated: Some = getattr(self, part)
        return (stated,) if isinstance(stated, str) else stated


class Keep(Definition, frozen=True, kw_only=True):
    """Keeps the last `slots` of a cap for what matters: of lower priority, a contact sees fewer."""

    min_priority: Annotated[float, Meta(description="From this priority on, all of the limit is open.")]
    slots: Annotated[int, Meta(ge=0)]


class Cap(Definition, frozen=True, kw_only=True):
    """At most `limit` contacts in a window. Exactly one of `rolling` and `calendar`."""

    name: str
    limit: Annotated[int, Meta(ge=0)]
    rolling: DurationText | None = None
    calendar: Annotated[
        Literal["day", "week", "month"] | None,
        Meta(description="In the customer's time zone; weeks begin on Monday."),
    ] = None
    applies_to: AppliesTo = AppliesTo()
    each: Annotated[Names, Meta(description="Count separately per channel, group or action.")] = ()
    keep: Keep | None = None
    words: Spoken = {}

    def limit_for(self, priority: float) -> int:
        """Return the limit that a contact of a priority sees."""
        if self.keep is None or priority >= self.keep.min_priority:
            return self.limit
        return self.limit - self.keep.slots


class CoolDown(Definition, frozen=True, kw_only=True):
    """Silence after `times` outcomes: from the last one on, for so long, in the scope of its contact."""

    name: str
    outcome: Annotated[
        str, Meta(description="A kind of response, `ignored`, or a kind that `outcomes` gives an event type.")
    ]
    times: Annotated[int, Meta(ge=1)] = 1
    within: Annotated[
        DurationText | None,
        Meta(description="The first and the last of `times` are less than this apart; any time if absent."),
    ] = None
    scope: Annotated[
        Literal["action", "group", "channel", "all"],
        Meta(description="What falls silent: what the outcome's contact shares with the next one."),
    ] = "action"
    for_: Annotated[DurationText, Meta(description="How long, from the last outcome.")]
    applies_to: AppliesTo = AppliesTo()
    words: Spoken = {}


class QuietHours(Definition, frozen=True, kw_only=True):
    """No contact from a local time until, not including, another; over midnight if `from` is the later."""

    from_: ClockText
    to: ClockText
    applies_to: AppliesTo = AppliesTo()


class Holdout(Definition, frozen=True, kw_only=True):
    """A share of customers who are left alone, always the same ones, to measure what contacts are worth."""

    name: str
    share: Annotated[float, Meta(ge=0, le=1)]
    applies_to: AppliesTo = AppliesTo()
    words: Spoken = {}


class Contact(Definition, frozen=True, kw_only=True):
    """`policies/contact.yaml`. Contacts made elsewhere are events of the types `events`."""

    caps: tuple[Cap, ...] = ()
    cooldowns: tuple[CoolDown, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = ()
    holdouts: tuple[Holdout, ...] = ()
    reservation_ttl: Annotated[
        DurationText | None,
        Meta(description="A reservation that nobody commits lapses after this; never if absent."),
    ] = None
    reserve: Annotated[
        Names,
        Meta(
            description="Channels in which a decision of the server reserves what it shows, where caps or "
            "cool-downs count; in others a contact counts when a response says it was seen."
        ),
    ] = OUTBOUND
    priorities: Annotated[
        dict[str, float], Meta(description="Purpose → priority of its contacts; 0 if absent.")
    ] = {}
    time_zone: Annotated[
        str | None,
        Meta(
            description="Text of the profile that holds the customer's IANA time zone. Where it is missing "
            "or unknown, the workspace's counts."
        ),
    ] = None
    events: Annotated[
        Names, Meta(description="Event types that are contacts; with the text fields `action` and `channel`.")
    ] = ()
    outcomes: Annotated[
        dict[str, str],
        Meta(description="Event type → the outcome it is; with the text fields `action` and `channel`."),
    ] = {}
    default_channel: str = "email"
