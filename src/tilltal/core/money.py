"""Money: whole minor units inside, major units in expressions and on screen."""

from __future__ import annotations

# ISO 4217 currencies whose exponent is not 2.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def minor_per_major(currency: str) -> int:
    """Return how many minor units make one major unit: 100 for SEK, 1 for JPY, 1,000 for KWD."""
    return int(10 ** _EXPONENTS.get(currency.upper(), 2))
