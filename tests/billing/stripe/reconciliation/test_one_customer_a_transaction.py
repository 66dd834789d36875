"""A customer is repaired by itself: not even a kill, or a Stripe that hangs, takes another one along."""

import copy
import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from billing.models import ReconciliationRun, Subscription
from billing.services import reconciliation
from billing.stripe import gateway
from billing.stripe.events import inbox, processing
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)
FORK = multiprocessing.get_context("fork")
WHO = {"actor": "ada", "reason": "routine"}
CUSTOMERS = ("cus_a", "cus_b", "cus_c")


@pytest.fixture
def sold(world: StripeWorld) -> StripeWorld:
    """Three customers of one price at Stripe, none of whom is here."""
    recording = recordings.load("signup_paid")
    world.add(recording)
    world.events.clear()
    originals = {
        kind: next(item for item in world.objects.values() if item["object"] == kind)
        for kind in ("customer", "subscription")
    }
    for customer_id in CUSTOMERS:
        customer = copy.deepcopy(originals["customer"])
        customer |= {"id": customer_id, "email": f"{customer_id}@example.com", "metadata": {}}
        subscription = copy.deepcopy(originals["subscription"])
        subscription |= {"id": f"sub_{customer_id}", "customer": customer_id, "latest_invoice": None}
        for item in subscription["items"]["data"]:
            item |= {"id": f"si_{customer_id}", "subscription": subscription["id"]}
        world.put(customer)
        world.put(subscription)
    for kind in ("customer", "subscription"):
        world.forget(originals[kind]["id"])
    for kind in ("charge", "invoice", "payment_intent"):
        for item in [item for item in world.objects.values() if item["object"] == kind]:
            world.forget(item["id"])
    return world


def here() -> set[str]:
    """The customers whose subscription is here and paid."""
    rows = Subscription.objects.filter(stripe_subscription_id__isnull=False)
    return {str(row.stripe_subscription_id).removeprefix("sub_") for row in rows}


def reconcile() -> None:
    connections.close_all()
    gateway.configure()  # a session of its own, not the parent's socket
    reconciliation.run(repair=True, **WHO)


@pytest.mark.parametrize("victim", CUSTOMERS)
def test_kill_loses_only_the_customer_at_work_and_the_next_run_begins_at_once(
    sold: StripeWorld, stripe_server: StripeServer, victim: str
) -> None:
    reached, never = threading.Event(), threading.Event()

    def hang(method: str, path: str) -> None:
        if path == f"/v1/customers/{victim}":
            reached.set()
            never.wait(PATIENCE_SECONDS)

    stripe_server.intercept = hang  # type: ignore[assignment]
    connections.close_all()
    worker = FORK.Process(target=reconcile, daemon=True)
    worker.start()
    assert reached.wait(PATIENCE_SECONDS)
    worker.kill()
    worker.join()
    never.set()
    before = {customer for customer in CUSTOMERS if customer < victim}
    assert here() == before

    stripe_server.intercept = None
    run = reconciliation.run(repair=True, **WHO)
    assert (run.status, run.pk) == ("finished", ReconciliationRun.objects.get().pk)
    assert here() == set(CUSTOMERS)
    assert not run.differences.filter(status="open").exists()


@pytest.fixture
def hanging(sold: StripeWorld, stripe_server: StripeServer) -> Iterator[threading.Event]:
    """A reconciliation that repairs `cus_a` and waits for Stripe; the event lets it go on."""
    reached, released = threading.Event(), threading.Event()

    def hang(method: str, path: str) -> None:
        # Of the customer's last object: whatever a longer transaction would have written is written.
        if path == "/v1/payment_methods/pm_slow":
            reached.set()
            released.wait(PATIENCE_SECONDS)

    method = {"id": "pm_slow", "object": "payment_method", "type": "card", "customer": None, "created": 1}
    sold.put(method | {"livemode": False})
    charge: dict[str, Any] = {
        "id": "ch_slow",
        "object": "charge",
        "amount": 1,
        "currency": "usd",
        "status": "succeeded",
        "created": 1_790_000_000,
        "customer": "cus_a",
        "payment_method": "pm_slow",
        "livemode": False,
        "captured": True,
        "paid": True,
    }
    sold.put(charge)
    stripe_server.intercept = hang  # type: ignore[assignment]

    def work() -> None:
        try:
            reconciliation.run(repair=True, **WHO)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    assert reached.wait(PATIENCE_SECONDS)
    yield released
    released.set()
    thread.join(PATIENCE_SECONDS)


def test_other_customers_of_the_same_product_wait_for_nobody(sold: StripeWorld, hanging: threading.Event) -> None:
    assert here() == {"cus_a"}
    for customer_id in ("cus_b", "cus_c"):
        for kind, object_id in (("customer", customer_id), ("customer.subscription", f"sub_{customer_id}")):
            event = sold.emit(f"{kind}.created", sold.objects[object_id])
            inbox.store(event)
            assert processing.process(event["id"]) == "processed"
    assert here() == set(CUSTOMERS)
    assert not hanging.is_set()
