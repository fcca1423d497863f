"""`identity.yaml`: which identifiers there are and when two belong to one person.

The semantics are those of the acceptance cases: see docs/explanation/identity.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText


class Limit(Definition, frozen=True, kw_only=True):
    """At most `count` new values of a namespace per person within a span; `ever` = any span."""

    count: Annotated[int, Meta(ge=1)]
    within: DurationText = "ever"


class Namespace(Definition, frozen=True, kw_only=True):
    """A kind of identifier. The order in the file is the priority, first = highest."""

    name: str
    kind: Literal["person", "device"] = "person"
    unique: Annotated[bool, Meta(description="A person has at most one value.")] = False
    direct: Annotated[bool, Meta(description="Says who the person is: kept in the vault only.")] = False
    normalise: Annotated[
        Literal["none", "email", "phone", "national_id"],
        Meta(description="e-mail: lower case; phone: E.164; national_id: digits and check sum."),
    ] = "none"
    region: Annotated[str | None, Meta(description="Country of phones and national ids, such as SE.")] = None
    shared_after: Annotated[
        int | None, Meta(description="With so many customers a value identifies nobody.")
    ] = None
    limit: Limit | None = None


class Correction(Definition, frozen=True, kw_only=True):
    """A person's decision about the graph. Exactly one of the keys."""

    revoke: Annotated[str | None, Meta(description="An observation, `source:message id`, withdrawn.")] = None
    forbid: Annotated[tuple[str, str] | None, Meta(description="Two identifiers that are never one.")] = None
    same_as: Annotated[tuple[str, str] | None, Meta(description="Two unique values that are one.")] = None
    reason: str = ""


BLOCKED = (
    "[0-]*", "-1", "null", "none", "nil", "nan", "undefined", "unknown", "anonymous", "guest", "true",
    "false", r"\[object object\]",
)  # fmt: skip


class Identity(Definition, frozen=True, kw_only=True):
    """The rules of the identity graph."""

    namespaces: tuple[Namespace, ...]
    blocked_values: Annotated[
        tuple[str, ...], Meta(description="Patterns over the whole value, ignoring case.")
    ] = BLOCKED
    person_links: Literal["first_wins", "latest_wins"] = "first_wins"
    device_bridges_people: bool = False
    max_ids_per_person: int | None = None
    anonymous_owner: Literal["last_login_before", "current_holder"] = "last_login_before"
    anonymous_vouch: DurationText | None = None
    anonymous_lookback: DurationText | None = None
    corrections: tuple[Correction, ...] = ()
