"""The reference page of the dialect, written from the table of functions.

python -m tilltal.rules.reference > docs/reference/dialect.md
"""

from __future__ import annotations

import sys

from tilltal.rules.catalog.forms import Function
from tilltal.rules.functions import FAMILIES

_INTRODUCTION = """# The expression dialect

<!-- Written by `python -m tilltal.rules.reference` from the table of functions: change that, not this. -->

Wherever a workspace asks for a condition or a value, you write one expression: who belongs to an audience,
when an action is eligible, what a customer is worth. It looks like the condition of a SQL query and means
exactly the same in the nightly refresh (DuckDB or Spark) and for a single customer online (Python).

```
age BETWEEN 18 AND 30 AND city IN ('Oslo', 'Bergen')
lifecycle.stage = 'Loyal' AND NOT holding.credit_card AND score.buys_card > 0.15
spend_7d * 4 > spend_30d AND consent.marketing.email
opened IS NOT NULL AND MONTHS_BETWEEN(opened, TODAY()) >= 6
CASE value.segment WHEN 'Royals' THEN 500 WHEN 'Loyals' THEN 300 ELSE 100 END
```

## Names and values

Names are attributes, traits and the segments of a customer: `age`, `spend_30d`, `lifecycle.stage`,
`consent.marketing.email`. Upper and lower case matter in names, not in words such as `AND` or in functions.
A name with spaces or signs stands in double quotes: `persona."Careful savers"`.

| type | written | note |
|---|---|---|
| text | `'Oslo'`, `'it''s'` | single quotes; a quote inside is doubled; upper and lower case matter |
| integer | `42`, `-7` | 64 bits; a result that needs more is NULL |
| number | `0.5`, `1e6` | double precision; a calculation that is not finite is NULL |
| boolean | `TRUE`, `FALSE` | a boolean name is a condition by itself: `is_known AND age > 17` |
| date | `DATE '2026-05-04'` | |
| timestamp | `TIMESTAMP '2026-05-04 09:30:00'` | in the workspace's zone, or with an offset: `+02:00`, `Z` |
| nothing | `NULL` | fits every type |

Integers may stand where numbers are wanted. No other type turns into another by itself: `age > '18'` is
refused, with a word on what to write. A field of type *any* (an untyped property of an event) is
read as the expression asks: as a number next to a number, as a text next to a text; a value of another kind
is NULL there.

## When a value is missing

A missing value is NULL. A comparison with NULL is neither true nor false but *unknown*, and only what is
certainly true makes a member. So `spend_30d < 100` leaves out customers without any spending; to include
them, say so: `COALESCE(spend_30d, 0) < 100` or `spend_30d IS NULL OR spend_30d < 100`. NOT of unknown is
unknown too; `TRUE OR` unknown is true, `FALSE AND` unknown is false.

## Which operator comes first

From tightest to loosest: sign, `* / %`, `+ -`, `||`, `IN BETWEEN LIKE`, comparisons, `IS`, `NOT`, `AND`,
`OR`. Parentheses decide otherwise. An expression has at most 40 levels; what is larger is better split into
traits and audiences with names of their own.

## What there is

Every line below is run by the tests, in Python and in the databases: the left side of `→` gives the right
side.
"""

_ENDING = """
## What there is not

No subqueries, no casts, no aggregates, no windows, no comments, no chance: an expression sees one customer
at one instant and always answers the same. Sums and counts over events are *traits*; other customers are
the business of *models* and *lookalikes*. Errors point at line and column, name what would be valid and say
what to write instead (codes D201 to D210).
"""


def page() -> str:
    """Return the page in Markdown."""
    families = (
        f"\n### {family}\n\n" + "\n".join(map(_paragraph, functions))
        for family, functions in FAMILIES.items()
    )
    return _INTRODUCTION + "".join(families) + _ENDING


def _paragraph(function: Function) -> str:
    signature = function.signature.replace(" or ", "`, `")
    examples = "\n".join(f"{expression} → {value}" for expression, value in function.examples)
    return f"**`{signature}`** {function.about} *{function.nulls}*\n\n```\n{examples}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
