"""Bring everything of one customer in line with Stripe, as repairing and support's "sync now" do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from billing.stripe import charge_history, customer_lock, gateway, mirror
from billing.stripe.errors import MissingError, PartlyDoneError, PermanentError, TransientError, UnlinkedCustomerError
from billing.stripe.events.handlers import handle_customer, project_subscription
from billing.stripe.projection import payments
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
    the first that commits. Raises MissingError and UnlinkedCustomerError, when there is nobody whose the rest could be.
    Raises TransientError when nothing was written, PartlyDoneError when something was.
    """
    return _Resync(customer_id, audit or (lambda: None)).run()


class _Resync:
    def __init__(self, customer_id: str, audit: Callable[[], None]) -> None:
        self.customer_id, self.audit = customer_id, audit
        self.is_written = False
        self.problems: list[Problem] = []
        self.broken: mirror.Broken = {}

    def run(self) -> list[Problem]:
        try:
            self._customer()
            self._pages("subscription", status="all")
            self._pages("invoice")
            self._pages("charge")
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
                        _project(kind, item)
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


def _project(kind: str, item: dict[str, object]) -> None:
    """Mirror and project one fetched object; for disputes of a charge Stripe is asked first."""
    if kind == "subscription":
        project_subscription(item)
    elif kind == "invoice":
        payments.link_invoice(mirror.store(item))
    elif kind == "charge":
        history = charge_history.complete(item)
        charge_history.store(history)
        payments.project(history)
