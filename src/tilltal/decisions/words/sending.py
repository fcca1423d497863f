"""Saying when a message is sent, and why then."""

from __future__ import annotations

from tilltal.decisions.sending.choosing import Planned
from tilltal.decisions.words.catalogue import Words


def said(planned: Planned, words: Words) -> str:
    """Say at which hour of the customer's day a message is sent, and why then.

    >>> from tilltal.decisions.words.en import WORDS
    >>> said(Planned(0, 23, "first_allowed"), WORDS)
    'sent at 23–00, the first hour allowed: nothing is known of when customers are there'
    """
    texts = {
        "own_rhythm": words.own_rhythm,
        "population_rhythm": words.population_rhythm,
        "first_allowed": words.first_allowed,
    }
    return texts[planned.because].format(hours=f"{planned.hour:02}–{(planned.hour + 1) % 24:02}")
