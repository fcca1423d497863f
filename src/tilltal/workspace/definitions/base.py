"""What all definitions share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Rule = Annotated[
    str, msgspec.Meta(description="A condition or value in the expression dialect, such as `age >= 18`.")
]
WindowText = Annotated[
    str,
    msgspec.Meta(description="A span that ends now: `30 minutes`, `7 days` (today included), `12 months`."),
]
DurationText = Annotated[str, msgspec.Meta(description="Elapsed time: `P7D`, `PT15M` or `7 days`.")]
Labels = Annotated[
    tuple[str, ...],
    msgspec.Meta(description="Data-use labels, such as `identity`, `sensitive`, `financial`."),
]
Names = tuple[str, ...]
Language = Literal["sv", "nb", "en", "ru"]  # in which decisions are explained
Spoken = Annotated[
    dict[Language, str],
    msgspec.Meta(description="What it is called in explanations, by language; its name if absent."),
]


def _yaml_key(name: str) -> str:
    """A field named after a Python keyword carries an underscore that the file does not."""
    return name.rstrip("_")


class Definition(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    rename=_yaml_key,
):
    """A part of a workspace, read from YAML; unknown keys are refused."""
