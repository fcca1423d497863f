"""Shadow prices in words: what one more unit of a limit is worth, what a minimum costs."""

from __future__ import annotations

from tilltal.decisions.allocation.shortfalls import Shortfall


def worth_of_one_more(
    name: str, unit: str, price: float, limit: float, used: float, money: str, *, is_spent: bool = False
) -> str:
    """Say what one more unit of a resource is worth.

    Args:
        name: the resource.
        unit: what it is counted in, one of it: `hour`.
        price: its shadow price, in money per unit.
        limit: how much of it there is.
        used: how much the allocation uses.
        money: what prices are in: `SEK`.
        is_spent: the resource is the money itself, and values are less of what contacts cost.

    >>> worth_of_one_more("call_hours", "hour", 412.5, 400, 400, "SEK")
    'One more hour of call_hours is worth 412.50 SEK.'
    >>> worth_of_one_more("sms", "message", 0.0, 1000, 250, "SEK")
    'More of sms is worth nothing: 750 of 1,000 (message) are left over.'
    >>> worth_of_one_more("budget", "SEK", 1.4, 3000, 2999.5, "SEK", is_spent=True)
    'One more SEK of budget brings 1.40 SEK beyond what it costs.'
    """
    if price > 0 and is_spent:
        return f"One more {unit} of {name} brings {_amount(price)} {money} beyond what it costs."
    if price > 0:
        return f"One more {unit} of {name} is worth {_amount(price)} {money}."
    if used < limit:
        left = f"{limit - used:,.10g} of {limit:,.10g} ({unit}) are left over"
        return f"More of {name} is worth nothing: {left}."
    return f"More of {name} is worth nothing: it is just enough."


def cost_of_last(name: str, price: float, at_least: int, money: str) -> str:
    """Say what the last contact of a minimum costs, in what better use it keeps from.

    >>> cost_of_last("savings", 3.2, 500, "SEK")
    'The last of at least 500 contacts for savings costs 3.20 SEK of other value.'
    >>> cost_of_last("savings", 0.0, 500, "SEK")
    'At least 500 contacts for savings cost nothing: they are made anyway.'
    """
    if price > 0:
        asked = f"at least {at_least:,} contacts for {name}"
        return f"The last of {asked} costs {_amount(price)} {money} of other value."
    return f"At least {at_least:,} contacts for {name} cost nothing: they are made anyway."


def missed(shortfall: Shortfall) -> str:
    """Say that a minimum could not be met, and why.

    >>> missed(Shortfall(minimum="card", at_least=900, reached=12, reason="Only 12 customers are eligible."))
    'At least 900 contacts for card cannot be met; 12 are. Only 12 customers are eligible.'
    """
    return (
        f"At least {shortfall.at_least:,} contacts for {shortfall.minimum} cannot be met; "
        f"{shortfall.reached:,} are. {shortfall.reason}"
    )


def _amount(price: float) -> str:
    """Write money with two decimals, small prices with more: two digits that say something.

    >>> _amount(1234.5), _amount(0.00321)
    ('1,234.50', '0.0032')
    """
    return f"{price:,.2f}" if price >= 0.1 else f"{price:.2g}"
