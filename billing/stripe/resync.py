"""Bring everything of one customer in line with Stripe, as repairing and support's "sync now" do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction

from billing.models import OpenInvoice, Payment
from billing.stripe import charge_history, customer_lock, gateway, mirror
from billing.stripe.errors import (
    ForeignError,
    MissingError,
    PartlyDoneError,
    PermanentError,
    TransientError,
    UnlinkedCustomerError,
)
from billing.stripe.events.event_object import identifier
from billing.stripe.events.handlers import (
    handle_customer,
    handle_invoice,
    project_charge,
    project_invoice,
    project_subscription,
)
from billing.stripe.projection import foreign, payments
from billing.stripe.unstorable import explained


@dataclass(frozen=True)
class Problem:
    """One object that is not in line, and why: it needs a person. `kind` is Stripe's word for it."""

    kind: str
    stripe_id: str
    error: PermanentError


def resync(customer_id: str, *, audit: Callable[[], None] | None = None) -> list[Problem]:
    """Fetch a customer, its subscriptions, invoices and charges, and project them; returns what needs a person.

    One transaction a page, each under the customer's lock, so that events are not kept waiting; `audit` is called in
    the first that commits. Of a customer who has only foreign things nothing is left here. Raises MissingError and
    UnlinkedCustomerError, when there is nobody whose the rest could be. Raises TransientError when nothing was written,
    PartlyDoneError when something was.
    """
    return _Resync(customer_id, audit or (lambda: None)).run()


class _Resync:
    def __init__(self, customer_id: str, audit: Callable[[], None]) -> None:
        self.customer_id, self.audit = customer_id, audit
        self.is_written = False
        # Of each invoice of the customer's, by id, what paid it or tried to.
        self.invoices: dict[str, frozenset[str] | None] = {}
        self.problems: list[Problem] = []
        self.broken: mirror.Broken = {}

    def run(self) -> list[Problem]:
        try:
            self._customer()
            self._pages("subscription", status="all")
            self._pages("invoice")
            self._unlisted_invoices()
            self._pages("charge")
        except ForeignError:
            foreign.dismiss(self.customer_id)
        except TransientError as error:
            if self.is_written:
                raise PartlyDoneError(str(error), error.retry_after) from error
            raise
        return self.problems

    def _transaction(self, work: Callable[[], None]) -> None:
        def once() -> None:
            before = len(self.problems)
            try:
                with transaction.atomic():
                    customer_lock.acquire(self.customer_id)
                    if not self.is_written:
                        self.audit()
                    work()
            except mirror.CatalogueMissingError:
                del self.problems[before:]  # the work is done again
                raise

        mirror.with_catalogue(once, broken=self.broken)
        self.is_written = True

    def _customer(self) -> None:
        def work() -> None:
            with explained(f"customer {self.customer_id}"):
                handle_customer(self.customer_id)

        try:
            self._transaction(work)
        except (MissingError, UnlinkedCustomerError):
            raise
        except PermanentError as error:
            self.problems.append(Problem("customer", self.customer_id, error))

    def _unlisted_invoices(self) -> None:
        """A draft may be deleted at Stripe; what is said to be owed of it is looked up by itself."""
        owed = OpenInvoice.objects.filter(subscription__stripe_customer_id=self.customer_id)
        for invoice_id in owed.exclude(stripe_invoice_id__in=self.invoices).values_list("stripe_invoice_id", flat=True):
            self._transaction(partial(handle_invoice, invoice_id))

    def _note_link(self, kind: str, data: Any) -> None:
        """Remember what an invoice says it was paid by; have a payment forget an invoice that does not name it."""
        if kind == "invoice":
            self.invoices[data["id"]] = payments.paid_by(data)
        if kind != "charge":
            return
        row = Payment.objects.filter(stripe_charge_id=data["id"], stripe_invoice_id__isnull=False).first()
        if row is None or row.stripe_invoice_id == identifier(data.get("invoice")):
            return
        ids = self.invoices.get(str(row.stripe_invoice_id), frozenset())
        if ids is not None and not ids & {data["id"], identifier(data.get("payment_intent"))}:
            payments.unlink(row)

    def _pages(self, kind: str, **filters: Any) -> None:
        after: dict[str, Any] = {}
        more = True
        items: list[Any] = []

        def work() -> None:
            nonlocal items, more
            items, more = gateway.page(kind, customer=self.customer_id, **filters, **after)
            mirror.require_catalogue(items, broken=self.broken)
            for item in items:
                try:
                    with explained(f"{kind} {item['id']}"):
                        self._note_link(kind, _project(kind, item))
                except mirror.CatalogueMissingError as error:
                    if not (broken := error.missing.keys() & self.broken.keys()):
                        raise
                    self.problems.append(Problem(kind, item["id"], self.broken[min(broken)]))
                except PermanentError as error:
                    self.problems.append(Problem(kind, item["id"], error))

        while more:
            self._transaction(work)
            if items:
                after = {"starting_after": items[-1]["id"]}


def _project(kind: str, item: dict[str, object]) -> Any:
    """Mirror and project one fetched object; for disputes of a charge Stripe is asked first. Returns its JSON."""
    if kind == "charge":
        history = charge_history.complete(item)
        project_charge(history)
        return history.charge
    if kind == "subscription":
        project_subscription(item)
        return item
    data = mirror.store(item)
    if kind == "invoice":
        project_invoice(data)
    return data
