"""Charges as payments: one row a charge, whatever happens to it."""

from typing import Any

import pytest

from billing.demo.stripe_world import StripeWorld
from billing.models import Payment
from tests.billing.stripe.story import Story

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(world: StripeWorld) -> Story:
    return Story(world).signed_up()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "succeeded"),
        ({"status": "failed", "failure_message": "Your card was declined."}, "failed"),
        ({"status": "pending"}, "pending"),
        ({"captured": False, "amount_captured": 0}, "pending"),
        ({"amount_refunded": 100}, "partially_refunded"),
        ({"amount_refunded": 2900, "refunded": True}, "refunded"),
        ({"disputed": True}, "disputed"),
        ({"disputed": True, "amount_refunded": 100}, "disputed"),
        ({"disputed": True, "status": "failed"}, "failed"),
    ],
)
def test_status_follows_the_charge(story: Story, changes: dict[str, Any], status: str) -> None:
    story.charge.update(changes)
    assert story.announce("charge.updated", story.charge) == "processed"
    assert story.payment.status == status
    assert (story.payment.paid_at is None) == (status in ("failed", "pending"))


def dispute(story: Story, status: str) -> dict[str, Any]:
    recorded = {
        "id": "du_1",
        "object": "dispute",
        "amount": story.charge["amount"],
        "balance_transactions": [],
        "charge": story.charge["id"],
        "created": story.charge["created"] + 10,
        "currency": "usd",
        "livemode": False,
        "metadata": {},
        "payment_intent": None,
        "reason": "fraudulent",
        "status": status,
    }
    story.world.put(recorded)
    return recorded


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("lost", "disputed"), ("won", "succeeded"), ("warning_closed", "succeeded"), ("under_review", "disputed")],
)
@pytest.mark.parametrize("first", ["charge", "dispute"])
def test_dispute_is_decided_by_its_own_status(story: Story, outcome: str, status: str, first: str) -> None:
    story.charge["disputed"] = True
    closed = dispute(story, outcome)
    events = [("charge.dispute.closed", closed), ("charge.updated", story.charge)]
    for event_type, item in events if first == "dispute" else reversed(events):
        assert story.announce(event_type, item) == "processed"
    assert story.payment.status == status


def test_refunds_in_parts_add_up(story: Story) -> None:
    for amount in (100, 400, 2400):
        story.world.refund({"charge": story.charge["id"], "amount": str(amount)})
        for event in story.world.events[-2:]:
            assert story.deliver(event) == "processed"
    assert (story.payment.status, story.payment.refunded_cents) == ("refunded", 2900)


def payments_of(story: Story, **payment: Any) -> dict[str, Any]:
    member = {"object": "invoice_payment", "invoice": story.invoice["id"], "payment": payment}
    return {"object": "list", "has_more": False, "data": [member]}


@pytest.mark.parametrize("first", ["charge", "invoice"])
@pytest.mark.parametrize("by", ["payment_intent", "charge"])
def test_payment_learns_of_its_invoice_in_either_order(world: StripeWorld, first: str, by: str) -> None:
    story = Story(world)
    story.charge["payment_intent"] = "pi_1" if by == "payment_intent" else None
    paid_by = {"type": by, by: "pi_1" if by == "payment_intent" else story.charge["id"]}
    story.invoice["payments"] = payments_of(story, **paid_by)
    events = [("charge.succeeded", story.charge), ("invoice.paid", story.invoice)]
    for event_type, item in events if first == "charge" else reversed(events):
        assert story.announce(event_type, item) == "processed"
    assert story.payment.stripe_invoice_id == story.invoice["id"]
    assert story.payment.invoice_url == story.invoice["hosted_invoice_url"]


def test_event_of_an_invoice_payment_is_about_its_invoice(story: Story) -> None:
    story.charge["payment_intent"] = "pi_1"
    story.announce("charge.updated", story.charge)
    story.invoice["payments"] = payments_of(story, type="payment_intent", payment_intent="pi_1")
    item = {"id": "inpay_1", "object": "invoice_payment", "invoice": story.invoice["id"]}
    assert story.announce("invoice_payment.paid", item) == "processed"
    assert story.payment.stripe_invoice_id == story.invoice["id"]


def test_charge_of_an_older_version_names_its_invoice(story: Story) -> None:
    story.charge["invoice"] = story.invoice["id"]
    story.announce("charge.updated", story.charge)
    assert story.payment.stripe_invoice_id == story.invoice["id"]


@pytest.mark.parametrize("total", [0, -1500])
def test_invoice_without_a_charge_is_no_payment(story: Story, total: int) -> None:
    other = story.copy_of(story.invoice, id="in_other", total=total, amount_due=0, amount_paid=0)
    for event_type in ("invoice.created", "invoice.finalized", "invoice.paid"):
        assert story.announce(event_type, other) == "processed"
    assert Payment.objects.count() == 1


def test_credit_note_follows_its_invoice(story: Story) -> None:
    note = {"id": "cn_1", "object": "credit_note", "invoice": story.invoice["id"], "customer": story.customer["id"]}
    assert story.announce("credit_note.created", note) == "processed"
    assert story.payment.status == "succeeded"


def test_deleted_draft_is_gone_and_stays_gone(story: Story) -> None:
    draft = story.copy_of(story.invoice, id="in_draft", status="draft")
    story.announce("invoice.created", draft)
    story.world.forget("in_draft")
    assert story.announce("invoice.deleted", draft) == "processed"
    assert story.announce("invoice.updated", draft) == "processed"


def test_charge_of_no_customer_is_not_ours(story: Story) -> None:
    guest = story.copy_of(story.charge, id="ch_guest", customer=None)
    assert story.announce("charge.succeeded", guest) == "processed"
    assert not Payment.objects.filter(stripe_charge_id="ch_guest").exists()


def test_refund_of_a_balance_changes_no_payment(story: Story) -> None:
    refund = {"id": "re_1", "object": "refund", "charge": None, "amount": 5}
    assert story.announce("refund.created", refund) == "processed"


def test_zero_decimal_currency_is_kept_in_its_own_unit(story: Story) -> None:
    story.charge.update(currency="jpy", amount=500, amount_captured=500)
    story.announce("charge.updated", story.charge)
    assert (story.payment.amount_cents, story.payment.currency) == (500, "jpy")


def test_huge_metadata_and_foreign_names_pass(story: Story) -> None:
    story.charge["metadata"] = {f"ключ_{n}": "値" * 500 for n in range(50)}
    assert story.announce("charge.updated", story.charge) == "processed"
