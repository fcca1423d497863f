"""The part of a model card about effects: the test on held-out customers, in words, figures and a picture."""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.models.card.pictures import Picture, qini_picture
from tilltal.models.quality.evaluation import Auc
from tilltal.models.uplift.effect import Tenth
from tilltal.models.uplift.findings import Trial, Uplift


def effect_lines(known: Uplift) -> tuple[str, ...]:
    """Return what the experiment showed on average, a line each."""
    lines = [f"{known.treated:,} customers were treated, {known.control:,} kept out."]
    if known.average is not None:
        lines.append(f"Average effect: {known.average} additional answers of yes per 1,000 treated.")
    if known.assignment is not None:
        lines.append(
            f"What was known before tells who was treated with an AUC of {_short(known.assignment)}."
        )
    if known.trial is not None:
        lines += _trial_lines(known.trial)
    return tuple(lines)


def tenth_rows(tenths: Sequence[Tenth]) -> tuple[tuple[str, ...], ...]:
    """Return the rows of the table by tenths of the predicted effect, per 1,000 customers."""
    return tuple(
        (
            str(number),
            f"{tenth.treated:,}",
            f"{tenth.control:,}",
            f"{1000 * tenth.predicted:.1f}",
            "–" if tenth.effect is None else str(tenth.effect),
            f"{1000 * tenth.gain:.1f}",
        )
        for number, tenth in enumerate(tenths, start=1)
    )


TENTH_COLUMNS = ("tenth", "treated", "kept out", "predicted", "came true", "gained so far")


def effect_pictures(known: Uplift) -> tuple[Picture, ...]:
    """Return the Qini curve, where there was a test."""
    return () if known.trial is None else (qini_picture(known.trial),)


def _trial_lines(trial: Trial) -> list[str]:
    found = trial.gains
    return [
        f"Tested on {trial.rows:,} customers it had not seen.",
        f"Qini coefficient {found.qini}, area under the curve {found.auuc}, per 1,000 treated customers.",
        f"Qini of a model of who answers when treated: {found.other}; the difference: {found.over_other}.",
    ]


def _short(auc: Auc) -> str:
    return f"{auc} (0.5: not at all)"
