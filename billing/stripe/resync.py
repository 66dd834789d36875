"""Bring everything of one customer in line with Stripe, as repairing and support's "sync now" do."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from billing.stripe import customer_lock, gateway, mirror
from billing.stripe.errors import MissingError, PermanentError, UnlinkedCustomerError
from billing.stripe.events.handlers import handle_customer
from billing.stripe.projection import payments, subscriptions


def resync(customer_id: str) -> None:
    """Fetch a customer, its subscriptions, invoices and charges, and project them.

    One transaction a page, each under the customer's lock, so that events are not kept waiting.
    What needs a person does not stop the rest: the first such error is raised in the end. Raises the errors of
    `billing.stripe.errors`; what was done until then stays.
    """
    problems: list[PermanentError] = []
    try:
        with transaction.atomic():
            customer_lock.acquire(customer_id)
            handle_customer(customer_id)
    except (MissingError, UnlinkedCustomerError):
        raise  # nobody whose the rest could be
    except PermanentError as error:
        problems.append(error)
    problems += _pages(customer_id, "subscription", status="all")
    problems += _pages(customer_id, "invoice")
    problems += _pages(customer_id, "charge")
    if problems:
        raise problems[0]


def _pages(customer_id: str, kind: str, **filters: Any) -> list[PermanentError]:
    problems: list[PermanentError] = []
    after: dict[str, Any] = {}
    more = True
    while more:
        with transaction.atomic():
            customer_lock.acquire(customer_id)
            items, more = gateway.page(kind, customer=customer_id, **filters, **after)
            for item in items:
                try:
                    project(kind, item)
                except PermanentError as error:
                    problems.append(error)
        if items:
            after = {"starting_after": items[-1]["id"]}
    return problems


def project(kind: str, item: dict[str, object]) -> None:
    """Mirror and project one fetched object; the caller holds the customer's lock.

    `kind` is subscription, invoice or charge; of a disputed charge the disputes are fetched first.
    """
    data = mirror.store(item)
    if kind == "subscription":
        subscriptions.project(data)
    elif kind == "invoice":
        payments.link_invoice(data)
    elif kind == "charge":
        if data.get("disputed"):
            for dispute in gateway.disputes(data["id"]):
                mirror.store(dispute)
        payments.project(data)
