"""Every operator and function of the dialect, in one table.

The checker, the engines, the reference page and the golden tests read it. The families stand in `catalog`.
"""

from __future__ import annotations

from tilltal.rules.catalog.conditions import CHOICES, COMPARISONS, CONDITIONS
from tilltal.rules.catalog.dates import DATES
from tilltal.rules.catalog.forms import Function
from tilltal.rules.catalog.numbers import CALCULATIONS, NUMBERS
from tilltal.rules.catalog.texts import TEXTS

FAMILIES: dict[str, tuple[Function, ...]] = {
    "Conditions": CONDITIONS,
    "Comparisons": COMPARISONS,
    "Choices": CHOICES,
    "Calculations": CALCULATIONS,
    "Numbers": NUMBERS,
    "Texts": TEXTS,
    "Dates and times": DATES,
}

FUNCTIONS: dict[str, Function] = {
    function.name: function for functions in FAMILIES.values() for function in functions
}
