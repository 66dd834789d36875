"""A customer's invoices and what comes next, as Stripe last said it: on their page whether Stripe answers or not."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.http import HttpRequest
from django.urls import reverse

from billing.admin.payment import document_link
from billing.admin.stripe_links import stripe_id
from billing.admin.stripe_mirror import invoice_badge
from billing.models import StripeCustomer, Subscription, UpcomingInvoice
from billing.stripe import last_known
from billing.stripe.last_known import OPEN_DISPUTES, LastKnown, OpenDispute
from billing.stripe.objects import Invoice
from billing.stripe.projection.rows import moment
from glyphforge.admin.columns import EMPTY
from glyphforge.money import money

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Shown = TypeVar("Shown")
# What reading an object of an unknown form raises.
ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
INVOICES = 12
LINES = 10
DISPUTE_WORDS = dict(
    zip(
        OPEN_DISPUTES,
        ("needs evidence", "evidence is under review", "inquiry, needs an answer", "inquiry, answer is under review"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Statement:
    """What the page shows of it: `invoices`, `disputes` as dictionaries for the template, `facts` as name and value."""

    invoices: list[dict[str, Any]]
    known_at: datetime | None
    facts: list[tuple[str, str]]
    disputes: list[dict[str, Any]]
    upcoming: dict[str, Any] | None
    ask_url: str


def statement(
    request: HttpRequest, customers: Iterable[StripeCustomer], live: Subscription | None, ask_url: str
) -> Statement:
    """Read it from the mirror, in one query; `live` is selected with its card and its upcoming invoice."""
    at_stripe = live if live and live.stripe_subscription_id else None
    ids = [customer.pk for customer in customers]
    known = last_known.of_customers(ids, at_stripe.stripe_subscription_id if at_stripe else None, invoices=INVOICES)
    may_open = request.user.has_perm("djstripe.view_invoice")
    return Statement(
        invoices=_each(partial(_invoice, may_open=may_open), [data for data, _ in known.invoices]),
        known_at=max((at for _, at in [*known.invoices, *known.customers]), default=None),
        facts=_facts(known, at_stripe),
        disputes=_each(_dispute, known.disputes),
        upcoming=shown(getattr(at_stripe, "upcoming_invoice", None)),
        ask_url=ask_url if at_stripe else "",
    )


def shown(upcoming: UpcomingInvoice | None) -> dict[str, Any] | None:
    """An upcoming invoice for the template; None where Stripe was never asked."""
    if upcoming is None:
        return None
    told: dict[str, Any] = {"problem": upcoming.problem, "asked_at": upcoming.asked_at, "told_at": upcoming.told_at}
    content = upcoming.content
    if not content:
        return told
    read = _each(_upcoming, [content])
    return told | (read[0] if read else {"problem": "What was kept of it cannot be read."})


def _upcoming(content: dict[str, Any]) -> dict[str, Any]:
    currency = content["currency"]
    named = [("Discount", "discount"), ("Tax", "tax"), ("Balance", "balance")]
    return {
        "lines": [(text, money(cents, currency)) for text, cents in content["lines"]],
        "more_lines": content["more_lines"],
        "sums": [(name, money(content[member], currency)) for name, member in named if content[member]],
        "to_pay": money(content["to_pay"], currency),
        "charged_at": moment(content["charged_at"]),
    }


def _each(read: Callable[[Item], Shown], items: Iterable[Item]) -> list[Shown]:
    """What each item is shown as; one of a form that nobody knows is left out, and keeps nothing else from the page."""
    shown = []
    for item in items:
        try:
            shown.append(read(item))
        except ODD:
            logger.warning("%s cannot read %r", read, item, exc_info=True)
    return shown


def _invoice(data: Invoice, *, may_open: bool) -> dict[str, Any]:
    currency = data.get("currency")
    lines = (data.get("lines") or {}).get("data") or []
    documents = (("PDF", data.get("invoice_pdf")), ("Invoice", data.get("hosted_invoice_url")))
    return {
        "number": data.get("number") or data["id"],
        "url": reverse("admin:djstripe_invoice_change", args=[data["id"]]) if may_open else "",
        "created_at": moment(data.get("created")),
        "total": money(data.get("total"), currency),
        "left": money(data.get("amount_remaining"), currency) if data.get("status") == "open" else "",
        "status": invoice_badge(data),
        "lines": [(line.get("description") or EMPTY, money(line.get("amount"), currency)) for line in lines[:LINES]],
        "more_lines": max(len(lines) - LINES, 0),
        "documents": [document_link(url, name) for name, url in documents if url],
    }


def _facts(known: LastKnown, live: Subscription | None) -> list[tuple[str, str]]:
    card = getattr(live, "charged_card", None)
    facts = [("Default card", str(card) if card and str(card) else "none is known")] if live else []
    if discounts := _discounts(known):
        facts.append(("Discount", "; ".join(discounts)))
    balances = _each(_balance, [customer for customer, _ in known.customers if customer.get("balance")])
    if known.customers:
        facts.append(("Balance", "; ".join(balances) or "nothing"))
    return facts


def _balance(customer: dict[str, Any]) -> str:
    """Stripe counts credit as negative: https://docs.stripe.com/billing/customer/balance"""
    cents = customer["balance"]
    return f"{money(abs(cents), customer.get('currency'))} {'to their credit' if cents < 0 else 'owed beside invoices'}"


def _discounts(known: LastKnown) -> list[str]:
    subscription = known.subscription[0] if known.subscription else {}
    of_customers = [customer.get("discount") for customer, _ in known.customers]
    found = [each for each in [*(subscription.get("discounts") or []), *of_customers] if isinstance(each, dict)]
    return _each(_discount, found)


def _discount(discount: dict[str, Any]) -> str:
    coupon = discount.get("coupon") or (discount.get("source") or {}).get("coupon") or {}
    if not isinstance(coupon, dict):
        return str(coupon)
    off = ""
    if coupon.get("percent_off"):
        off = f", {coupon['percent_off']:g} % off"
    elif coupon.get("amount_off"):
        off = f", {money(coupon['amount_off'], coupon.get('currency'))} off"
    ends = moment(discount.get("end"))
    return f"{coupon.get('name') or coupon.get('id') or 'coupon'}{off}{f' until {ends:%Y-%m-%d}' if ends else ''}"


def _dispute(dispute: OpenDispute) -> dict[str, Any]:
    late = dispute.due_at is not None and not dispute.is_answered and dispute.due_at <= datetime.now(UTC)
    return {
        "id": stripe_id(dispute.dispute_id),
        "amount": money(dispute.amount_cents, dispute.currency),
        "reason": dispute.reason,
        "status": DISPUTE_WORDS[dispute.status],
        "due_at": dispute.due_at,
        "is_late": late,
    }
