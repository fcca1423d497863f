"""Numbers and names as people read them. Spaces inside a figure do not break."""

from __future__ import annotations

import re
from datetime import date

from tilltal.insight.report.data import Unit

SPACE = "\u202f"  # narrow, does not break
_MINUS, _DASH = "\u2212", "–"
_WINDOW = re.compile(r"_(\d+)(d|h|min|mo)\Z")
_UNITS = {"d": "day", "h": "hour", "min": "minute", "mo": "month"}
_CHANNELS = {"email": "E-mail", "sms": "SMS", "popup": "Pop-up", "call": "Call centre"}
_DIMENSIONS = {
    "lifecycle.stage": "Lifecycle stage",
    "value.segment": "Value segment",
    "value.income": "Income class",
    "value.affinity": "Affinity class",
    "persona.name": "Persona",
}


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with spaces between thousands.

    >>> number(1234567).split("\u202f"), number(-3.14159, 2), number(None)
    (['1', '234', '567'], '−3.14', '–')
    """
    if value is None or value != value:
        return _DASH
    text = f"{abs(value):,.{digits}f}".replace(",", SPACE)
    is_zero = not any(digit in "123456789" for digit in text)
    return text if value >= 0 or is_zero else _MINUS + text


def figure(value: float | None) -> str:
    """Write a measured number with the digits that say something: none above 100, one above 10, else two.

    >>> figure(1234.5).split("\u202f"), figure(12.34), figure(0.5), figure(3.0)
    (['1', '234'], '12.3', '0.5', '3')
    """
    if value is None or value != value:
        return _DASH
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = number(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(value: float | None) -> str:
    """Write a share as per cent: whole in the middle, one digit towards 0 and 100 %, two below 0.1 %.

    >>> [share(v).replace("\u202f", " ") for v in (0.341, 0.0532, 0.0004, 0.0, 1.0, 0.984, 0.9996)]
    ['34 %', '5.3 %', '0.04 %', '0 %', '100 %', '98.4 %', '>99.9 %']
    """
    if value is None or value != value:
        return _DASH
    per_cent = 100 * value
    if 99.95 <= per_cent < 100:
        return f">99.9{SPACE}%"
    is_middle = 9.95 <= abs(per_cent) < 90 or per_cent in (0, 100)
    digits = 0 if is_middle else 1 if abs(per_cent) >= 0.095 else 2
    return f"{number(per_cent, digits)}{SPACE}%"


def rough(value: float | None) -> str:
    """Write a share for a dense table: whole per cents, a dash for nothing.

    >>> [rough(v).replace("\u202f", " ") for v in (0.0, 0.004, 0.055, 0.996, 1.0)]
    ['–', '<1 %', '6 %', '>99 %', '100 %']
    """
    if not value:
        return _DASH
    if value < 0.01:
        return f"<1{SPACE}%"
    return f">99{SPACE}%" if 0.99 < value < 1 else f"{number(100 * value)}{SPACE}%"


def money(value: float | None, currency: str) -> str:
    """Write an amount: whole, with the currency; from a hundred thousand in thousands or millions.

    >>> [money(v, "SEK").replace("\u202f", " ") for v in (950.4, 99_999, 1_234_567, 2_500_000_000)]
    ['950 SEK', '99 999 SEK', '1.23 million SEK', '2.5 billion SEK']
    """
    if value is None or value != value:
        return _DASH
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{figure(value / size)}{SPACE}{word} {currency}"
    digits = 0 if abs(value) >= 10 or value == round(value) else 2
    return f"{number(value, digits)}{SPACE}{currency}"


def in_unit(value: float | None, unit: Unit, currency: str, period: str) -> str:
    """Write a key figure in its unit."""
    if value is None:
        return _DASH
    if unit == "share":
        return share(value)
    if unit == "money":
        return money(value, currency)
    return number(value) if unit == "count" else f"{figure(value)} {period}s"


def name(text: str) -> str:
    """Write a definition's name as words, its window last.

    >>> name("card_spend_90d"), name("holding.fund"), name("Kungliga"), name("value.income")
    ('Card spend, 90 days', 'Holding: fund', 'Kungliga', 'Income class')
    """
    if text in _DIMENSIONS:
        return _DIMENSIONS[text]
    found = _WINDOW.search(text)
    words = (text[: found.start()] if found else text).replace("_", " ").replace(".", ": ").strip()
    if found:
        count, unit = int(found[1]), _UNITS[found[2]]
        words += f", {count} {unit}{'' if count == 1 else 's'}"
    return words[:1].upper() + words[1:]


def inline(text: str) -> str:
    """Write a definition's name as words within a sentence.

    >>> inline("card_spend_90d")
    'card spend, 90 days'
    """
    words = name(text)
    return words if text[:1].isupper() else words[:1].lower() + words[1:]


def channel(text: str) -> str:
    """Write a channel's name.

    >>> channel("email"), channel("branch")
    ('E-mail', 'Branch')
    """
    return _CHANNELS.get(text, name(text))


def by_channel(text: str) -> str:
    """Write a channel's name within a sentence.

    >>> by_channel("email"), by_channel("sms")
    ('e-mail', 'SMS')
    """
    words = channel(text)
    return words if words.isupper() else words.lower()


def dimension(text: str) -> str:
    """Write a dimension's name.

    >>> dimension("persona.name"), dimension("home_town")
    ('Persona', 'Home town')
    """
    return name(text)


def segment(text: str) -> str:
    """Write a segment's name; those without one are said to be so.

    >>> segment("-"), segment("savings_account")
    ('None', 'Savings account')
    """
    return "None" if text in ("-", _DASH) else name(text)


def day(value: date) -> str:
    """Write a date.

    >>> day(date(2026, 1, 5))
    '5 January 2026'
    """
    return f"{value.day} {value:%B %Y}"


def month(value: date) -> str:
    """Write a month.

    >>> month(date(2026, 1, 5))
    'Jan 2026'
    """
    return f"{value:%b %Y}"


def period(value: date, kind: str) -> str:
    """Write the period that begins on a date.

    >>> [period(date(2026, 4, 1), kind) for kind in ("month", "quarter", "year")]
    ['Apr 2026', 'Q2 2026', '2026']
    """
    if kind == "quarter":
        return f"Q{(value.month + 2) // 3} {value.year}"
    return str(value.year) if kind == "year" else month(value)


def count(value: int, one: str, many: str = "") -> str:
    """Write a number of things.

    >>> count(1, "customer"), count(2, "customer"), count(0, "penny", "pennies")
    ('1 customer', '2 customers', '0 pennies')
    """
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def listing(words: list[str]) -> str:
    """Join words as a sentence does.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
