"""Whose something is that a ticket names, by the mirror's tables: all by index.

Each function returns ids of Stripe customers, at most `limit`. An id or number may be cut: `text` is its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Upper
from djstripe import models

# What names a customer itself, by the beginning of its ids.
WITH_CUSTOMER = {
    "ch": models.Charge,
    "cs": models.Session,
    "in": models.Invoice,
    "pm": models.PaymentMethod,
    "py": models.Charge,
}
DISPUTES = frozenset({"dp", "du"})
KINDS = WITH_CUSTOMER.keys() | DISPUTES
NUMBER = Upper(KeyTextTransform("number", "stripe_data"))
# As the indexes have it; the key of the details is the type's name.
LAST4_OF_METHOD = RawSQL("(stripe_data -> (stripe_data ->> 'type') ->> 'last4')", ())
LAST4_OF_CHARGE = RawSQL(
    "(stripe_data -> 'payment_method_details' -> (stripe_data #>> '{payment_method_details,type}') ->> 'last4')", ()
)


def by_id(text: str, limit: int) -> list[str]:
    """Of an invoice, a payment method, a checkout session, a charge or a dispute."""
    prefix = text.partition("_")[0]
    if prefix in DISPUTES:
        disputes = models.Dispute.objects.filter(id__startswith=text).order_by("id")
        charges = list(disputes.values_list("charge_id", flat=True)[:limit])
        return _customers(models.Charge.objects.filter(id__in=charges), limit)
    model = WITH_CUSTOMER.get(prefix)
    return _customers(model.objects.filter(id__startswith=text), limit) if model else []


def by_number(text: str, limit: int, *, is_cut: bool) -> list[str]:
    """Of an invoice by its printed number, or of a charge by that of its receipt; case does not matter."""
    invoices = _customers(with_number(models.Invoice.objects.all(), text, is_cut=is_cut), limit)
    receipts = models.Charge.objects.filter(stripe_data__receipt_number__isnull=False)
    receipts = receipts.alias(receipt=KeyTextTransform("receipt_number", "stripe_data")).filter(receipt=text)
    return _first([*invoices, *_customers(receipts, limit)], limit)


def by_last4(digits: str, limit: int) -> list[str]:
    """Of who has a card or bank account with these last digits, or paid with one."""
    methods = models.PaymentMethod.objects.alias(last4=LAST4_OF_METHOD).filter(last4=digits)
    charges = models.Charge.objects.alias(last4=LAST4_OF_CHARGE).filter(last4=digits)
    return _first([*_customers(methods, limit), *_customers(charges, limit)], limit)


def with_number(invoices: QuerySet[models.Invoice], text: str, *, is_cut: bool = True) -> QuerySet[models.Invoice]:
    """Those of the invoices whose printed number is `text`, or begins with a cut one; case does not matter."""
    return invoices.alias(number=NUMBER).filter(**{"number__startswith" if is_cut else "number": text.upper()})


def _customers(rows: QuerySet[Any], limit: int) -> list[str]:
    ids = rows.filter(customer_id__isnull=False).order_by().values_list("customer_id", flat=True)
    return _first(ids[:limit], limit)


def _first(ids: Iterable[str], limit: int) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(ids))[:limit]
