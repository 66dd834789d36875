"""What one asks of a customer beside words: `is:past_due plan:starter mrr:>90`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q

from billing.models import Subscription, Tier, User
from glyphforge.errors import Refused
from glyphforge.money import THREE_DECIMAL, ZERO_DECIMAL, smallest_units

_FILTER = re.compile(r"(?P<name>is|plan|mrr):(?P<value>.*)", re.IGNORECASE)
_AMOUNT = re.compile(r"(?P<sign>>=|<=|>|<|=|)(?P<amount>[0-9]{1,12}(\.[0-9]{1,3})?)")
_LOOKUPS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "exact", "": "exact"}
# What `is:` takes, as a condition on a live subscription.
_STATES = {str(status): Q(status=status) for status in Subscription.BEST_FIRST} | {
    "canceling": Q(cancel_at_period_end=True) | Q(cancel_at__isnull=False),
    "paying": Q(price_cents__gt=0),
    "suspended": Q(user__status=User.Status.SUSPENDED),
}


@dataclass(frozen=True)
class Asked:
    """The words that are left of a search, and the condition of its filters on a live subscription, if there is one."""

    words: str
    condition: Q | None = None


def read(term: str) -> Asked:
    """Tell words and filters apart: `is:` a state, `plan:` a plan, `mrr:` what is paid a month, as >90 or <=29.50.

    An amount is in the currency of each subscription, as people write it. Raises Refused for a value that a filter does
    not take.
    """
    condition, words = Q(), []
    for part in term.split():
        if match := _FILTER.fullmatch(part):
            condition &= _CONDITIONS[match["name"].lower()](match["value"].lower())
        else:
            words.append(part)
    return Asked(" ".join(words), condition or None)


def _state(value: str) -> Q:
    if value not in _STATES:
        raise Refused(f"is:{value} is unknown. Known are {', '.join(f'is:{state}' for state in _STATES)}.")
    return _STATES[value]


def _plan(value: str) -> Q:
    if value not in Tier.values:
        raise Refused(f"plan:{value} is unknown. Known are {', '.join(f'plan:{tier}' for tier in Tier.values)}.")
    return Q(tier=value)


def _monthly(value: str) -> Q:
    match = _AMOUNT.fullmatch(value)
    if match is None:
        raise Refused(f"mrr:{value} is no amount. Write mrr:>90, mrr:>=29.50, mrr:<100 or mrr:29.")
    amount, lookup = Decimal(match["amount"]), f"price_cents__{_LOOKUPS[match['sign']]}"
    none, three = Q(currency__in=ZERO_DECIMAL), Q(currency__in=THREE_DECIMAL)
    return (
        (none & Q(**{lookup: smallest_units(amount, "jpy")}))
        | (three & Q(**{lookup: smallest_units(amount, "kwd")}))
        | (~none & ~three & Q(**{lookup: smallest_units(amount, "usd")}))
    )


_CONDITIONS: dict[str, Callable[[str], Q]] = {"is": _state, "plan": _plan, "mrr": _monthly}
