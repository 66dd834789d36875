"""What staff ask Stripe to do, against a local Stripe."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.models import Payment, Subscription, UnmatchedCustomer, User
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from tests.support.admin_pages import CONFIRMED, row_page
from tests.support.event_stream import deliver_new

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


@pytest.fixture
def subscription(signup: recordings.Recording) -> Subscription:
    return Subscription.objects.get(stripe_subscription_id__isnull=False)


def test_cancellation_and_its_end_change_our_row_by_stripes_event(
    lead: Client, subscription: Subscription, world: StripeWorld
) -> None:
    lead.post(row_page(subscription, "cancel"), CONFIRMED | {"when": "period_end"})
    subscription.refresh_from_db()
    assert not subscription.cancel_at_period_end
    deliver_new(world)
    subscription.refresh_from_db()
    assert subscription.cancel_at_period_end

    lead.post(row_page(subscription, "resume"), CONFIRMED)
    deliver_new(world)
    subscription.refresh_from_db()
    assert not subscription.cancel_at_period_end
    assert AuditEntry.objects.filter(reason="Ticket 4711", action__in=["cancel_at_period_end", "resume"]).count() == 2


def test_part_of_a_payment_is_refunded(lead: Client, subscription: Subscription, world: StripeWorld) -> None:
    payment = Payment.objects.get()
    lead.post(row_page(payment, "refund"), CONFIRMED | {"amount": "10.00"})
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.refunded_cents, payment.status) == (1000, "partially_refunded")


@pytest.mark.parametrize("email", ["", "nobody", "second@example.com"])
def test_second_customer_of_one_address_is_created_under_another(
    lead: Client, subscription: Subscription, world: StripeWorld, feed: Callable[..., Any], email: str
) -> None:
    first = world.objects[str(subscription.user.stripe_customer_id)]
    world.put(first | {"id": "cus_second", "metadata": {}})
    feed([world.emit("customer.created", world.objects["cus_second"])])
    lead.post(row_page(UnmatchedCustomer.objects.get(), "create_customer"), CONFIRMED | {"email": email})
    created = "@" in email
    assert User.objects.count() == 1 + created
    assert UnmatchedCustomer.objects.exists() is not created
    assert world.objects["cus_second"]["email"] == (email if created else first["email"])


def test_customer_is_synced_from_stripe(lead: Client, subscription: Subscription) -> None:
    Subscription.objects.filter(pk=subscription.pk).update(price_cents=1)
    lead.post(row_page(subscription.user, "sync"), CONFIRMED)
    subscription.refresh_from_db()
    assert subscription.price_cents > 1


@pytest.mark.parametrize("amount", ["1e30", "0", "-1", "10.001", "NaN", "all"])
def test_no_nonsense_is_refunded(lead: Client, subscription: Subscription, world: StripeWorld, amount: str) -> None:
    known = len(world.events)
    response = lead.post(row_page(Payment.objects.get(), "refund"), CONFIRMED | {"amount": amount})
    assert response.status_code == 200
    assert response.context["form"].errors["amount"]
    assert len(world.events) == known


def dispute_of(payment: Payment, world: StripeWorld, **values: Any) -> None:
    """Stripe tells of a dispute about the payment."""
    charge = world.objects[str(payment.stripe_charge_id)]
    charge["disputed"] = True
    dispute = {
        "id": "du_1", "object": "dispute", "amount": 900, "charge": charge["id"], "created": charge["created"] + 60,
        "currency": "usd", "livemode": False, "metadata": {}, "payment_intent": None, "reason": "general",
        "balance_transactions": [], "evidence": {}, "evidence_details": {},
    } | values  # fmt: skip
    world.put(dispute)
    world.emit("charge.dispute.created", dispute)
    deliver_new(world)


def test_page_of_a_payment_shows_what_moved_and_what_is_left(
    lead: Client, subscription: Subscription, world: StripeWorld
) -> None:
    payment = Payment.objects.get()
    dispute_of(payment, world, status="lost")
    page = lead.get(row_page(payment, "change")).content.decode()
    for shown in ("du_1", "-9.00 USD", "20.00 USD", "Disputed", "Paid"):
        assert shown in page
    lead.post(row_page(payment, "refund"), CONFIRMED)
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.refunded_cents, payment.left_cents) == (2000, 0)


@pytest.mark.parametrize("refundable", [True, False])
def test_inquiry_is_shown_with_its_deadline_and_closed_by_a_refund_where_stripe_lets(
    lead: Client, subscription: Subscription, world: StripeWorld, refundable: bool
) -> None:
    payment = Payment.objects.get()
    due = {"due_by": 1_796_644_288}
    dispute_of(
        payment, world, status="warning_needs_response", amount=2900, evidence_details=due,
        is_charge_refundable=refundable,
    )  # fmt: skip
    page = lead.get(row_page(payment, "change")).content.decode()
    assert "2026-12-07" in page
    assert ("a refund closes it" in page) is refundable
    lead.post(row_page(payment, "refund"), CONFIRMED)
    deliver_new(world)
    payment.refresh_from_db()
    assert payment.refunded_cents == (2900 if refundable else 0)
