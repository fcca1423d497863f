"""Verdict: does the effect differ between customers, and does the model know how? A sentence either way."""

from __future__ import annotations

from typing import Literal

from tilltal.models.uplift.qini import Gains, Interval

_UNIT = "additional answers of yes per 1,000 treated"


def weakness(gains: Gains) -> str:
    """Say why a model's order of customers is not used, or nothing.

    It is used where its Qini coefficient on customers it has not seen excludes zero, and is no lower than
    that of a model of who answers when treated, which needs no experiment.
    """
    if not gains.qini.is_above_zero:
        return (
            "no effect found: how the effect differs between customers is not distinguishable from noise "
            f"(Qini {gains.qini} {_UNIT})"
        )
    if gains.over_other.value < 0:
        return (
            f"no effect found beyond the response model: its Qini is {gains.other}, that of the uplift model"
            f" {gains.qini} {_UNIT}"
        )
    return ""


def rejected(why: str, average: Interval | None, otherwise: Literal["average", "none"] = "average") -> str:
    """Return the verdict where everybody gets the average effect, or none if that is wanted."""
    if average is None:
        return f"{why}: nothing is known, and nobody gets an effect"
    if average.low <= 0 <= average.high:
        noise = "which is not distinguishable from none either"
    else:
        noise = "which is distinguishable from none"
    if otherwise == "none":
        return f"{why}: propensities stay; the average effect is {average} {_UNIT}, {noise}"
    return f"{why}: everybody has the average effect, {average} {_UNIT}, {noise}"


def accepted(gains: Gains, average: Interval | None, tested: int) -> str:
    """Return the verdict for an accepted model."""
    return (
        f"accepted: on {tested:,} customers it had not seen its Qini is {gains.qini} {_UNIT}, that of the"
        f" response model {gains.other}; the average effect is {average}"
    )
