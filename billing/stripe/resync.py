"""Bring everything of one customer in line with Stripe, as healing and support's "sync now" do."""

from __future__ import annotations

from django.db import transaction

from billing.stripe import customer_lock, gateway, mirror
from billing.stripe.errors import MissingError
from billing.stripe.follow import follow_customer
from billing.stripe.projection import payments, subscriptions


def resync(customer_id: str) -> None:
    """Fetch a customer, its subscriptions, invoices and charges, and project them.

    One transaction a page, each under the customer's lock, so that events are not kept waiting.
    Raises the errors of :mod:`billing.stripe.errors`; what was done until then stays.
    """
    with transaction.atomic():
        customer_lock.take(customer_id)
        follow_customer(customer_id)
    _pages(customer_id, "subscription", status="all")
    _pages(customer_id, "invoice")
    _pages(customer_id, "charge")


def _pages(customer_id: str, kind: str, **filters: str) -> None:
    after: dict[str, str] = {}
    more = True
    while more:
        with transaction.atomic():
            customer_lock.take(customer_id)
            items, more = gateway.page(kind, customer=customer_id, **filters, **after)
            for item in items:
                project(kind, item)
        if items:
            after = {"starting_after": items[-1]["id"]}


def project(kind: str, item: dict[str, object]) -> None:
    """Mirror and project one fetched object; the caller holds the customer's lock."""
    data = mirror.store(item)
    if kind == "subscription":
        subscriptions.project(data)
    elif kind == "invoice":
        payments.link_invoice(data)
    elif kind == "charge":
        if data.get("disputed") and not mirror.charge_disputes(data["id"]):
            fetch_disputes(data["id"])
        payments.project(data)


def fetch_disputes(charge_id: str) -> None:
    """Mirror the disputes of a charge, which itself does not say how they ended."""
    try:
        for dispute in gateway.every("dispute", charge=charge_id):
            mirror.store(dispute)
    except MissingError:
        # Counted as lost until an event of the dispute says otherwise.
        return
