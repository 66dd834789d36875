"""Charges as payments: one row a charge, whatever happens to it."""

from typing import Any

import pytest

from billing.models import Payment
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db


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
def test_status_follows_the_charge(stream: EventStream, changes: dict[str, Any], status: str) -> None:
    stream.charge.update(changes)
    assert stream.announce("charge.updated", stream.charge) == "processed"
    assert stream.payment.status == status
    assert (stream.payment.paid_at is None) == (status in ("failed", "pending"))


def test_released_authorization_was_never_charged(stream: EventStream) -> None:
    stream.charge.update(captured=False, amount_captured=0, amount_refunded=2900, refunded=True)
    stream.announce("charge.expired", stream.charge)
    assert (stream.payment.refunded_cents, stream.payment.paid_at) == (0, None)
    assert "released" in str(stream.payment.failure_message)


@pytest.mark.parametrize(("refunded", "left"), [(900, 0), (1100, 200), (2900, 2000)])
def test_only_what_was_captured_counts(stream: EventStream, refunded: int, left: int) -> None:
    """Of $29 authorized $20 were captured: Stripe counts the other $9 as refunded."""
    stream.charge.update(amount_captured=2000, amount_refunded=refunded)
    stream.announce("charge.captured", stream.charge)
    assert (stream.payment.amount_cents, stream.payment.refunded_cents) == (2000, left)
    assert stream.payment.status == {0: "succeeded", 200: "partially_refunded", 2000: "refunded"}[left]


def dispute(stream: EventStream, status: str) -> dict[str, Any]:
    recorded = {
        "id": "du_1",
        "object": "dispute",
        "amount": stream.charge["amount"],
        "balance_transactions": [],
        "charge": stream.charge["id"],
        "created": stream.charge["created"] + 10,
        "currency": "usd",
        "livemode": False,
        "metadata": {},
        "payment_intent": None,
        "reason": "fraudulent",
        "status": status,
    }
    stream.world.put(recorded)
    return recorded


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("lost", "disputed"), ("won", "succeeded"), ("warning_closed", "succeeded"), ("under_review", "disputed")],
)
@pytest.mark.parametrize("first", ["charge", "dispute"])
def test_dispute_is_decided_by_its_own_status(stream: EventStream, outcome: str, status: str, first: str) -> None:
    stream.charge["disputed"] = True
    closed = dispute(stream, outcome)
    events = [("charge.dispute.closed", closed), ("charge.updated", stream.charge)]
    for event_type, item in events if first == "dispute" else reversed(events):
        assert stream.announce(event_type, item) == "processed"
    assert stream.payment.status == status


@pytest.mark.parametrize("event", ["created", "updated", "funds_withdrawn", "funds_reinstated", "closed"])
def test_every_event_of_a_dispute_is_about_its_charge(stream: EventStream, event: str) -> None:
    stream.charge["disputed"] = True
    status = "won" if event in ("funds_reinstated", "closed") else "needs_response"
    assert stream.announce(f"charge.dispute.{event}", dispute(stream, status)) == "processed"
    assert stream.payment.status == ("succeeded" if status == "won" else "disputed")


@pytest.mark.parametrize("event", ["refund.created", "refund.updated", "charge.refund.updated", "charge.refunded"])
def test_every_event_of_a_refund_is_about_its_charge(stream: EventStream, event: str) -> None:
    stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    refund = stream.world.events[-2]["data"]["object"]
    assert stream.announce(event, stream.charge if event == "charge.refunded" else refund) == "processed"
    assert (stream.payment.status, stream.payment.refunded_cents) == ("partially_refunded", 100)


def test_failed_refund_leaves_the_payment_as_it_was(stream: EventStream) -> None:
    stream.world.refund({"charge": stream.charge["id"], "amount": "100"})
    for event in stream.world.events[-2:]:
        stream.deliver(event)
    stream.charge.update(amount_refunded=0)
    refund = stream.world.events[-2]["data"]["object"] | {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    assert stream.announce("refund.failed", refund) == "processed"
    assert (stream.payment.status, stream.payment.refunded_cents) == ("succeeded", 0)


@pytest.mark.parametrize("event", ["created", "requires_action", "canceled"])
def test_payment_intent_without_a_charge_is_no_payment(stream: EventStream, event: str) -> None:
    known = recordings.load("many_customers").objects.values()
    intent = next(item for item in known if item["object"] == "payment_intent")
    intent = intent | {
        "id": "pi_open",
        "customer": stream.customer["id"],
        "latest_charge": None,
        "payment_method": None,
    }
    stream.world.put(intent)
    assert stream.announce(f"payment_intent.{event}", intent) == "processed"
    assert Payment.objects.count() == 1


def test_payment_method_that_left_its_customer_changes_nothing(stream: EventStream) -> None:
    method = stream.copy_of(stream.world.objects[stream.charge["payment_method"]], id="pm_left", customer=None)
    assert stream.announce("payment_method.detached", method) == "processed"
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("paid_by", [None, {"type": "payment_record", "payment_record": "payrec_1"}])
def test_invoice_that_was_paid_elsewhere_is_a_payment_without_a_charge(
    stream: EventStream, paid_by: dict[str, Any] | None
) -> None:
    """By bank transfer, say, and marked as paid by hand: Stripe charged nothing."""
    other = stream.copy_of(stream.invoice, id="in_other", status="paid", amount_paid=2900, amount_paid_off_stripe=2900)
    if paid_by:
        other["payments"] = payments_of(stream, **paid_by)
    assert stream.announce("invoice.paid", other) == "processed"
    elsewhere = Payment.objects.get(stripe_charge_id=None)
    assert (elsewhere.paid_out_of_band, elsewhere.amount_cents, elsewhere.status) == (True, 2900, "succeeded")


def test_open_invoice_sent_to_the_customer_is_no_payment(stream: EventStream) -> None:
    other = stream.copy_of(
        stream.invoice, id="in_other", status="open", collection_method="send_invoice", amount_paid=0
    )
    for event_type in ("invoice.finalized", "invoice.sent", "invoice.overdue"):
        assert stream.announce(event_type, other) == "processed"
    assert Payment.objects.count() == 1


def test_refunds_in_parts_add_up(stream: EventStream) -> None:
    for amount in (100, 400, 2400):
        stream.world.refund({"charge": stream.charge["id"], "amount": str(amount)})
        for event in stream.world.events[-2:]:
            assert stream.deliver(event) == "processed"
    assert (stream.payment.status, stream.payment.refunded_cents) == ("refunded", 2900)


def payments_of(stream: EventStream, **payment: Any) -> dict[str, Any]:
    member = {"object": "invoice_payment", "invoice": stream.invoice["id"], "payment": payment}
    return {"object": "list", "has_more": False, "data": [member]}


@pytest.mark.parametrize("first", ["charge", "invoice"])
@pytest.mark.parametrize("by", ["payment_intent", "charge"])
def test_payment_learns_of_its_invoice_in_either_order(world: StripeWorld, first: str, by: str) -> None:
    stream = EventStream(world)
    stream.charge["payment_intent"] = "pi_1" if by == "payment_intent" else None
    paid_by = {"type": by, by: "pi_1" if by == "payment_intent" else stream.charge["id"]}
    stream.invoice["payments"] = payments_of(stream, **paid_by)
    events = [("charge.succeeded", stream.charge), ("invoice.paid", stream.invoice)]
    for event_type, item in events if first == "charge" else reversed(events):
        assert stream.announce(event_type, item) == "processed"
    assert stream.payment.stripe_invoice_id == stream.invoice["id"]
    assert stream.payment.invoice_url == stream.invoice["hosted_invoice_url"]


def test_event_of_an_invoice_payment_is_about_its_invoice(stream: EventStream) -> None:
    stream.charge["payment_intent"] = "pi_1"
    stream.announce("charge.updated", stream.charge)
    stream.invoice["payments"] = payments_of(stream, type="payment_intent", payment_intent="pi_1")
    item = {"id": "inpay_1", "object": "invoice_payment", "invoice": stream.invoice["id"]}
    assert stream.announce("invoice_payment.paid", item) == "processed"
    assert stream.payment.stripe_invoice_id == stream.invoice["id"]


def test_charge_of_an_older_version_names_its_invoice(stream: EventStream) -> None:
    stream.charge["invoice"] = stream.invoice["id"]
    stream.announce("charge.updated", stream.charge)
    assert stream.payment.stripe_invoice_id == stream.invoice["id"]


@pytest.mark.parametrize("total", [0, -1500])
def test_invoice_without_a_charge_is_no_payment(stream: EventStream, total: int) -> None:
    other = stream.copy_of(stream.invoice, id="in_other", total=total, amount_due=0, amount_paid=0)
    for event_type in ("invoice.created", "invoice.finalized", "invoice.paid"):
        assert stream.announce(event_type, other) == "processed"
    assert Payment.objects.count() == 1


def test_credit_note_follows_its_invoice(stream: EventStream) -> None:
    note = {"id": "cn_1", "object": "credit_note", "invoice": stream.invoice["id"], "customer": stream.customer["id"]}
    assert stream.announce("credit_note.created", note) == "processed"
    assert stream.payment.status == "succeeded"


def test_deleted_draft_is_gone_and_stays_gone(stream: EventStream) -> None:
    draft = stream.copy_of(stream.invoice, id="in_draft", status="draft")
    stream.announce("invoice.created", draft)
    stream.world.forget("in_draft")
    assert stream.announce("invoice.deleted", draft) == "processed"
    assert stream.announce("invoice.updated", draft) == "processed"


def test_charge_of_no_customer_is_not_ours(stream: EventStream) -> None:
    guest = stream.copy_of(stream.charge, id="ch_guest", customer=None)
    assert stream.announce("charge.succeeded", guest) == "processed"
    assert not Payment.objects.filter(stripe_charge_id="ch_guest").exists()


def test_refund_of_a_balance_changes_no_payment(stream: EventStream) -> None:
    refund = {"id": "re_1", "object": "refund", "charge": None, "amount": 5}
    assert stream.announce("refund.created", refund) == "processed"


def test_zero_decimal_currency_is_kept_in_its_own_unit(stream: EventStream) -> None:
    stream.charge.update(currency="jpy", amount=500, amount_captured=500)
    stream.announce("charge.updated", stream.charge)
    assert (stream.payment.amount_cents, stream.payment.currency) == (500, "jpy")


def test_huge_metadata_and_foreign_names_pass(stream: EventStream) -> None:
    stream.charge["metadata"] = {f"ключ_{n}": "値" * 500 for n in range(50)}
    assert stream.announce("charge.updated", stream.charge) == "processed"
