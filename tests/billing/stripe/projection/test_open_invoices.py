"""What live subscriptions owe and are about to be asked for, whatever is heard last."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import OpenInvoice
from billing.stripe.resync import resync
from glyphforge.rows import Json
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db
SENT, AGAIN = 1_790_000_000, 1_790_300_000


def moment(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


@pytest.fixture
def unpaid(stream: EventStream) -> Json:
    """An invoice at Stripe whose second try failed; nobody was told yet."""
    for number, code in enumerate(("expired_card", "card_declined"), start=1):
        stream.copy_of(
            stream.charge,
            id=f"ch_failed{number}",
            status="failed",
            paid=False,
            captured=False,
            amount_captured=0,
            failure_code=code,
            payment_intent="pi_failed",
            created=SENT + number,
        )
    return stream.copy_of(
        stream.invoice,
        id="in_unpaid",
        number="A1B2C3D4-0007",
        status="open",
        amount_due=2900,
        amount_paid=0,
        amount_remaining=2900,
        attempt_count=2,
        next_payment_attempt=AGAIN,
        due_date=None,
        created=SENT,
        status_transitions={"finalized_at": SENT, "paid_at": None},
        hosted_invoice_url="https://invoice.stripe.com/i/1",
        payments={
            "object": "list",
            "data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_failed"}, "status": "open"}],
            "has_more": False,
        },
    )


def columns(*names: str) -> list[tuple[Any, ...]]:
    return list(OpenInvoice.objects.order_by("stripe_invoice_id").values_list(*names))


def announcements(stream: EventStream, unpaid: Json) -> list[tuple[str, Json]]:
    charges = [stream.world.objects[f"ch_failed{number}"] for number in (1, 2)]
    return [
        ("invoice.payment_failed", unpaid),
        *(("charge.failed", charge) for charge in charges),
        ("customer.subscription.updated", stream.subscription),
    ]


def test_unpaid_invoice_is_a_row_until_it_is_paid(stream: EventStream, unpaid: Json) -> None:
    for event_type, item in announcements(stream, unpaid):
        assert stream.announce(event_type, item) == "processed"
    row = OpenInvoice.objects.get()
    assert (row.user, row.subscription) == (stream.user, stream.row)
    assert columns("stripe_invoice_id", "number", "status", "amount_due_cents", "currency", "failure_code") == [
        ("in_unpaid", "A1B2C3D4-0007", "open", 2900, "usd", "card_declined")
    ]
    assert columns("attempt_count", "next_attempt_at", "due_at", "overdue_since", "hosted_invoice_url") == [
        (2, moment(AGAIN), None, moment(SENT), "https://invoice.stripe.com/i/1")
    ]
    unpaid.update(status="paid", amount_remaining=0)
    stream.announce("invoice.paid", unpaid)
    assert columns("status") == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_any_order_ends_in_the_same_row(stream: EventStream, unpaid: Json, order: tuple[int, ...]) -> None:
    events = announcements(stream, unpaid)
    for position in order:
        stream.announce(*events[position])
    assert columns("status", "amount_due_cents", "failure_code", "attempt_count") == [
        ("open", 2900, "card_declined", 2)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "void"}, []),
        ({"status": "uncollectible"}, [("uncollectible", 2900)]),
        ({"status": "draft", "attempt_count": 0, "number": None}, [("draft", 2900)]),
        ({"amount_remaining": 900}, [("open", 900)]),
        ({"amount_remaining": 0}, []),
        ({"parent": None}, []),
        ({"parent": {"type": "quote_details", "subscription_details": None}}, []),
    ],
)
def test_status_and_subscription_decide_whether_there_is_a_row(
    stream: EventStream, unpaid: Json, changes: Json, expected: list[tuple[str, int]]
) -> None:
    stream.announce("invoice.updated", unpaid)
    unpaid.update(changes)
    assert stream.announce("invoice.updated", unpaid) == "processed"
    assert columns("status", "amount_due_cents") == expected


def test_invoice_of_an_older_version_names_its_subscription_itself(stream: EventStream, unpaid: Json) -> None:
    unpaid.pop("parent")
    unpaid["subscription"] = stream.subscription["id"]
    stream.announce("invoice.updated", unpaid)
    OpenInvoice.objects.all().delete()
    stream.update()
    assert columns("stripe_invoice_id") == [("in_unpaid",)]


@pytest.mark.parametrize("days", [-3, 3])
def test_sent_invoice_is_overdue_once_its_due_date_has_passed(stream: EventStream, unpaid: Json, days: int) -> None:
    due = int((timezone.now() + timedelta(days=days)).timestamp())
    unpaid.update(collection_method="send_invoice", due_date=due, attempt_count=0, next_payment_attempt=None)
    stream.announce("invoice.sent", unpaid)
    assert columns("due_at", "overdue_since") == [(moment(due), moment(due) if days < 0 else None)]


def test_deleted_draft_leaves_no_row(stream: EventStream, unpaid: Json) -> None:
    unpaid["status"] = "draft"
    stream.announce("invoice.created", unpaid)
    stream.world.forget("in_unpaid")
    stream.announce("invoice.deleted", unpaid)
    stream.update()
    assert columns("stripe_invoice_id") == []


def test_rows_come_and_go_with_the_subscription(stream: EventStream, unpaid: Json) -> None:
    stream.announce("invoice.payment_failed", unpaid)
    stream.update(status="canceled", ended_at=AGAIN)
    assert columns("stripe_invoice_id") == []
    stream.announce("invoice.updated", unpaid)
    assert columns("stripe_invoice_id") == []
    stream.update(status="unpaid", ended_at=None)
    assert columns("stripe_invoice_id") == [("in_unpaid",)]


def test_rows_go_with_a_deleted_customer(stream: EventStream, unpaid: Json) -> None:
    stream.announce("invoice.payment_failed", unpaid)
    stream.world.delete_customer(stream.customer["id"])
    stream.announce("customer.deleted", stream.world.objects[stream.customer["id"]])
    assert columns("stripe_invoice_id") == []


def test_sync_finds_what_no_event_said(stream: EventStream, unpaid: Json) -> None:
    resync(stream.customer["id"])
    assert columns("status", "failure_code") == [("open", "card_declined")]
    stream.world.forget("in_unpaid")
    resync(stream.customer["id"])
    assert columns("status") == []
