"""Stripe's amounts are integers of a currency's smallest unit: https://docs.stripe.com/currencies

`*_cents` holds such an integer, whatever the currency.
"""

from decimal import Decimal

EMPTY = "\N{EN DASH}"

# ISK and UGX have no smaller unit either, but Stripe keeps on counting them in hundredths.
ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])


def decimals(currency: str) -> int:
    """How many decimals an amount in the currency has."""
    code = currency.lower()
    return 0 if code in ZERO_DECIMAL else 3 if code in THREE_DECIMAL else 2


def units(cents: int, currency: str) -> Decimal:
    """The amount as people write it: 2900 `usd` are 29.00."""
    return Decimal(cents).scaleb(-decimals(currency))


def smallest_units(amount: Decimal, currency: str) -> int:
    """The amount as Stripe counts it; decimals that the currency does not have are cut off."""
    return int(amount.scaleb(decimals(currency)))


def money(cents: int | None, currency: str | None = "usd", *, short: bool = False) -> str:
    """Say an amount in the currency's smallest unit for people: `1,234.50 USD`; a dash for none.

    `short` is for headlines, in whole units: `$1,235`, `-€20`, `1,200 CHF`.
    """
    if cents is None:
        return EMPTY
    code = currency or "usd"
    if not short:
        return f"{units(cents, code):,} {code.upper()}"
    symbol = {"usd": "$", "eur": "€", "gbp": "£"}.get(code, "")
    amount = f"{'-' if cents < 0 else ''}{symbol}{abs(units(cents, code)):,.0f}"
    return amount if symbol else f"{amount} {code.upper()}"
