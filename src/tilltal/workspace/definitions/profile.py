"""`profile.yaml` and `traits/<name>.yaml`: attributes merged from fragments, and computed traits."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tilltal.workspace.definitions.base import Definition, Labels, Names, Rule, WindowText

Measure = Literal["count", "sum", "avg", "min", "max", "first", "last", "distinct", "recency", "exists"]


class Attribute(Definition, frozen=True, kw_only=True):
    """How the fragments of one attribute merge.

    `precedence`: the first source in `sources` that has a value; within a source the latest event time.
    `latest`: the latest event time of all sources, an explicit null clears. Messages of the collector state
    only the values they hold, so they clear nothing.
    """

    policy: Literal["latest", "precedence"] = "latest"
    sources: Annotated[Names, Meta(description="Source names, first = most trusted; empty = all.")] = ()
    labels: Labels = ()
    description: str = ""


class Profile(Definition, frozen=True, kw_only=True):
    """Merge policies; an attribute that is not named merges by `latest`."""

    attributes: dict[str, Attribute] = {}


class Trait(Definition, frozen=True, kw_only=True):
    """A computed attribute: a measure over events, or an expression over other traits and attributes.

    With `windows` it makes one per window, named `<name>_<count><d|h|min|mo>`; else one called `<name>`.
    """

    measure: Measure | None = None
    of: Annotated[str | None, Meta(description="The events' field to measure.")] = None
    from_: Annotated[Names, Meta(description="Event types; one or more.")] = ()
    where: Annotated[Rule | None, Meta(description="Condition over the event's fields.")] = None
    window: WindowText | None = None
    windows: tuple[WindowText, ...] = ()
    unit: Annotated[Literal["seconds", "minutes", "hours", "days"], Meta(description="Unit of recency.")] = (
        "days"
    )
    expression: Annotated[Rule | None, Meta(description="Instead of a measure.")] = None
    labels: Labels = ()
    description: str = ""
