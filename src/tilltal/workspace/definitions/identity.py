"""`identity.yaml`: which identifiers there are and when two belong to one person.

The semantics are those of the acceptance cases: see docs/explanation/identity.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, DurationText, Names


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
        int | None,
        Meta(description="With so many customers a value identifies nobody. Of devices 100 unless stated."),
    ] = None
    limit: Limit | None = None


class Correction(Definition, frozen=True, kw_only=True):
    """A person's decision about the graph. Exactly one of the keys."""

    revoke: Annotated[str | None, Meta(description="An observation, `source:message id`, withdrawn.")] = None
    forbid: Annotated[tuple[str, str] | None, Meta(description="Two identifiers that are never one.")] = None
    same_as: Annotated[tuple[str, str] | None, Meta(description="Two unique values that are one.")] = None
    reason: str = ""


Comparison = Literal["name", "date", "number", "postcode", "email", "exact"]


class Linking(Definition, frozen=True, kw_only=True):
    """How records without a common identifier are found to be of one person.

    Fields are those of record sources, also the ones labelled `identity`. Differences of case, accents,
    spaces and signs never count.
    """

    compare: Annotated[
        dict[str, Comparison],
        Meta(
            description="Field → how. name: spelled alike (streets and places, too); date: a slip, or parts "
            "that agree; number: a slip; postcode: a slip or the same beginning; email: the same before @, "
            "or alike; exact."
        ),
    ]
    blocking: Annotated[
        tuple[Names, ...],
        Meta(
            description="Only records that agree on all fields of one of these lists are compared; `field:3` "
            "is the beginning of three letters."
        ),
    ]
    sources: Annotated[
        Names, Meta(description="Record sources, the most trusted first; absent: all with such fields.")
    ] = ()
    auto_link: Annotated[
        float, Meta(ge=0.5, lt=1, description="Probability at which records are linked without a look.")
    ] = 0.999
    review: Annotated[
        float, Meta(gt=0, lt=1, description="Probability at which a person is asked; below, nothing is.")
    ] = 0.9
    max_block: Annotated[
        int, Meta(ge=2, description="A value of a blocking list with more records than that finds nobody.")
    ] = 100
    max_records: Annotated[
        int, Meta(ge=2, description="More records than that are never linked to one person.")
    ] = 8


def blocking_part(text: str) -> tuple[str, int | None]:
    """Read a part of a blocking list: a field, and how many letters of it (None: all).

    Raises:
        ValueError: if what follows the colon is no whole number from 1 to 99.
    """
    name, colon, letters = text.partition(":")
    if not colon:
        return name, None
    if not re.fullmatch("[1-9][0-9]?", letters):
        raise ValueError(f"{text!r} says no number of letters; write one such as '{name}:3'")
    return name, int(letters)


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
    linking: Annotated[
        Linking | None, Meta(description="Find records of one person that share no identifier.")
    ] = None
