"""Records of made-up people with known truth, corrupted after the method of FEBRL's generator.

Christen, "Probabilistic data generation for deduplication and data linkage" (IDEAL 2005): originals from
frequency tables, duplicates by typing errors (insert, delete, substitute, transpose), missing values and
outdated ones. Names are syllables, so they are nobody's.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import accumulate

import msgspec

from tilltal.workspace.definitions.identity import Linking

LINKING = Linking(
    compare={
        "given_name": "name",
        "family_name": "name",
        "birth_date": "date",
        "street": "name",
        "postcode": "postcode",
        "phone": "number",
        "email": "email",
    },
    blocking=(
        ("birth_date", "family_name:1"),
        ("birth_date", "given_name:1"),
        ("phone",),
        ("email",),
        ("family_name", "postcode"),
        ("given_name", "street"),
    ),
)

_HEADS = (
    "ba",
    "ve",
    "lin",
    "sto",
    "ka",
    "mir",
    "ol",
    "tre",
    "nys",
    "hal",
    "ro",
    "em",
    "vi",
    "sal",
    "dor",
    "ge",
)
_TAILS = ("a", "en", "sson", "berg", "is", "o", "lund", "ia", "mar", "ek", "rik", "stad")
_ENDS = ("gatan", "gränd", "stigen", "torget", "backen")
_LETTERS = "abcdefghijklmnopqrstuvwxyzåäö"
_FIRST_DAY = date(1930, 1, 1)


class Person(msgspec.Struct, frozen=True):
    """A record and who it is truly of."""

    truth: int
    told: dict[str, str]


class _Names:
    """Names with frequencies like those of a country: few common, many rare."""

    def __init__(self, source: random.Random, count: int, parts: int, flatness: float) -> None:
        self._source = source
        made: dict[str, None] = {}
        while len(made) < count:
            heads = "".join(source.choice(_HEADS) for _ in range(parts))
            made[heads + source.choice(_TAILS)] = None
        self._names = list(made)
        self._cumulated = list(accumulate(1 / (rank + flatness) for rank in range(count)))

    def draw(self) -> str:
        return self._source.choices(self._names, cum_weights=self._cumulated)[0]


def people(records: int, seed: int, duplicates: float = 0.4) -> list[Person]:
    """Return so many records in random order; a share of them are further records of earlier people."""
    source = random.Random(seed)
    given, family = _Names(source, 800, 2, 5), _Names(source, 8_000, 3, 20)
    streets = [f"{_Names(source, 1, 2, 1).draw()}{source.choice(_ENDS)}" for _ in range(4_000)]
    made: list[Person] = []
    while len(made) < records:
        truth = len(made)
        original = _original(source, given, family, streets)
        made.append(Person(truth, _told(source, original)))
        while source.random() < duplicates and len(made) < records:
            made.append(Person(truth, _told(source, _aged(source, original, streets))))
    source.shuffle(made)
    return made


def _original(source: random.Random, given: _Names, family: _Names, streets: list[str]) -> dict[str, str]:
    first, last = given.draw(), family.draw()
    number = source.choice(["", "", str(source.randint(1, 99))])
    born = _FIRST_DAY + timedelta(days=source.randrange(27_000))
    return {
        "given_name": first,
        "family_name": last,
        "birth_date": born.isoformat(),
        "street": f"{source.choice(streets)} {source.randint(1, 80)}",
        "postcode": f"{source.randint(100, 499)}{source.randint(10, 59)}",
        "phone": f"07{source.randrange(10**8):08d}",
        "email": f"{first}.{last}{number}@post{source.randint(1, 9)}.se",
    }


def _aged(source: random.Random, original: dict[str, str], streets: list[str]) -> dict[str, str]:
    """Return what is true at another time: some moved, some have another telephone."""
    now = dict(original)
    if source.random() < 0.15:
        now["street"] = f"{source.choice(streets)} {source.randint(1, 80)}"
        now["postcode"] = f"{source.randint(100, 499)}{source.randint(10, 59)}"
    if source.random() < 0.15:
        now["phone"] = f"07{source.randrange(10**8):08d}"
    return now


def _told(source: random.Random, true: dict[str, str]) -> dict[str, str]:
    """Return a record as it was written down: values missing, a slip in some."""
    missing = {"birth_date": 0.03, "street": 0.1, "postcode": 0.05, "phone": 0.25, "email": 0.35}
    told = {name: value for name, value in true.items() if source.random() >= missing.get(name, 0.01)}
    for name in told:
        if source.random() < 0.08:
            told[name] = slip(source, told[name])
    return told


def slip(source: random.Random, text: str) -> str:
    """Return a text with one typing error."""
    at = source.randrange(len(text))
    letter = source.choice("0123456789" if text[at].isdigit() else _LETTERS)
    return source.choice(
        (
            text[:at] + letter + text[at:],
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at + 1 :],
            text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
        )
    )
