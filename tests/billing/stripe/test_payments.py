"""Charges as payments: one row a charge, whatever happens to it."""

from typing import Any

import pytest

from billing.demo import recordings
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
        ({"captured": False, "amount_captured": 0, "amount_refunded": 2900, "refunded": True}, "failed"),
    ],
)
def test_status_follows_the_charge(story: Story, changes: dict[str, Any], status: str) -> None:
    story.charge.update(changes)
    assert story.announce("charge.updated", story.charge) == "processed"
    assert story.payment.status == status
    assert (story.payment.paid_at is None) == (status in ("failed", "pending"))


def test_released_authorization_was_never_charged(story: Story) -> None:
    story.charge.update(captured=False, amount_captured=0, amount_refunded=2900, refunded=True)
    story.announce("charge.expired", story.charge)
    assert (story.payment.refunded_cents, story.payment.paid_at) == (0, None)
    assert "released" in str(story.payment.failure_message)


@pytest.mark.parametrize(("refunded", "left"), [(900, 0), (1100, 200), (2900, 2000)])
def test_only_what_was_captured_counts(story: Story, refunded: int, left: int) -> None:
    """Of $29 authorized $20 were captured: Stripe counts the other $9 as refunded."""
    story.charge.update(amount_captured=2000, amount_refunded=refunded)
    story.announce("charge.captured", story.charge)
    assert (story.payment.amount_cents, story.payment.refunded_cents) == (2000, left)
    assert story.payment.status == {0: "succeeded", 200: "partially_refunded", 2000: "refunded"}[left]


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


@pytest.mark.parametrize("event", ["created", "updated", "funds_withdrawn", "funds_reinstated", "closed"])
def test_every_event_of_a_dispute_is_about_its_charge(story: Story, event: str) -> None:
    story.charge["disputed"] = True
    status = "won" if event in ("funds_reinstated", "closed") else "needs_response"
    assert story.announce(f"charge.dispute.{event}", dispute(story, status)) == "processed"
    assert story.payment.status == ("succeeded" if status == "won" else "disputed")


@pytest.mark.parametrize("event", ["refund.created", "refund.updated", "charge.refund.updated", "charge.refunded"])
def test_every_event_of_a_refund_is_about_its_charge(story: Story, event: str) -> None:
    story.world.refund({"charge": story.charge["id"], "amount": "100"})
    refund = story.world.events[-2]["data"]["object"]
    assert story.announce(event, story.charge if event == "charge.refunded" else refund) == "processed"
    assert (story.payment.status, story.payment.refunded_cents) == ("partially_refunded", 100)


def test_failed_refund_leaves_the_payment_as_it_was(story: Story) -> None:
    story.world.refund({"charge": story.charge["id"], "amount": "100"})
    for event in story.world.events[-2:]:
        story.deliver(event)
    story.charge.update(amount_refunded=0)
    refund = story.world.events[-2]["data"]["object"] | {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    assert story.announce("refund.failed", refund) == "processed"
    assert (story.payment.status, story.payment.refunded_cents) == ("succeeded", 0)


@pytest.mark.parametrize("event", ["created", "requires_action", "canceled"])
def test_payment_intent_without_a_charge_is_no_payment(story: Story, event: str) -> None:
    known = recordings.load("many_customers").objects.values()
    intent = next(item for item in known if item["object"] == "payment_intent")
    intent = intent | {"id": "pi_open", "customer": story.customer["id"], "latest_charge": None, "payment_method": None}
    story.world.put(intent)
    assert story.announce(f"payment_intent.{event}", intent) == "processed"
    assert Payment.objects.count() == 1


def test_payment_method_that_left_its_customer_changes_nothing(story: Story) -> None:
    method = story.copy_of(story.world.objects[story.charge["payment_method"]], id="pm_left", customer=None)
    assert story.announce("payment_method.detached", method) == "processed"
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("paid_by", [None, {"type": "payment_record", "payment_record": "payrec_1"}])
def test_invoice_that_was_paid_elsewhere_is_no_payment(story: Story, paid_by: dict[str, Any] | None) -> None:
    """By bank transfer, say, and marked as paid by hand: Stripe charged nothing."""
    other = story.copy_of(story.invoice, id="in_other", status="paid", amount_paid=2900, amount_paid_off_stripe=2900)
    if paid_by:
        other["payments"] = payments_of(story, **paid_by)
    assert story.announce("invoice.paid", other) == "processed"
    assert Payment.objects.count() == 1


def test_open_invoice_sent_to_the_customer_is_no_payment(story: Story) -> None:
    other = story.copy_of(story.invoice, id="in_other", status="open", collection_method="send_invoice", amount_paid=0)
    for event_type in ("invoice.finalized", "invoice.sent", "invoice.overdue"):
        assert story.announce(event_type, other) == "processed"
    assert Payment.objects.count() == 1


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
