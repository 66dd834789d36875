"""Whatever column of what Stripe decides is changed by SQL is found by comparing, and healed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from billing.models import Difference, OpenInvoice, Payment, Subscription, User
from billing.services import reconciliation
from billing.stripe import gateway
from billing.stripe.projection import payments
from billing.stripe.reconciliation import comparison
from billing.stripe.resync import resync
from tests.support import factories
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "routine"}
# What Stripe does not decide, and the ids by which a row is found: without them the object is missing here.
NOT_COMPARED: dict[type[models.Model], set[str]] = {
    User: {
        "id",
        "stripe_customer_id",
        "cognito_user_id",
        "status",
        "suspended_at",
        "legal_hold",
        "erased_at",
        "created_at",
        "updated_at",
    },
    Subscription: {
        *("id", "stripe_subscription_id", "monthly_request_limit", "usage_count", "usage_synced_at", "updated_at"),
    },
    Payment: {"id", "stripe_charge_id", "updated_at"},
    OpenInvoice: {"id", "stripe_invoice_id", "updated_at"},
}
DAY = 86_400


@pytest.fixture
def full(stream: EventStream) -> EventStream:
    """A customer of whom Stripe says something in every column, all of it here."""
    start = stream.item["current_period_start"]
    stream.subscription.update(
        cancel_at=start + 200 * DAY,
        trial_end=start,
        pause_collection={"behavior": "void", "resumes_at": start + 90 * DAY},
        schedule="sub_sched_1",
    )
    stream.charge.update(payment_intent="pi_1", receipt_url="https://pay.stripe.com/receipts/1")
    paid_by = {"object": "list", "data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]}
    stream.invoice.update(payments=paid_by | {"has_more": False}, hosted_invoice_url="https://invoice.stripe.com/i/1")
    stream.copy_of(
        stream.charge, id="ch_2", payment_intent="pi_2", status="failed", failure_code="card_declined", receipt_url=None
    )
    tried_by = {"object": "list", "data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_2"}}]}
    stream.copy_of(
        stream.invoice,
        id="in_2",
        number="A-2",
        status="open",
        amount_remaining=1900,
        attempt_count=1,
        next_payment_attempt=start + 3 * DAY,
        due_date=start + DAY,
        payments=tried_by | {"has_more": False},
        hosted_invoice_url="https://invoice.stripe.com/i/2",
    )
    assert resync(stream.customer["id"]) == []
    return stream


def state(stream: EventStream) -> list[tuple[str, Any]]:
    """Everything that Stripe says of the customer, by kind."""
    found = []
    for object_id, item in stream.world.objects.items():
        if item["object"] in comparison.COMPARE:
            found.append((item["object"], gateway.as_json(gateway.retrieve(item["object"], object_id))))
    return found


def findings(stripe: list[tuple[str, Any]]) -> set[str]:
    return {finding.field for kind, data in stripe for finding in comparison.compare(kind, data)}


def columns(model: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    return (field for field in model._meta.concrete_fields if field.attname not in NOT_COMPARED[model])


def changed(field: models.Field[Any, Any], value: Any) -> Any:
    """Another value that the column takes."""
    wanted: Any = f"{value}x"
    if field.is_relation and field.related_model is Subscription:
        wanted = factories.subscription().pk
    elif field.is_relation:
        other = factories.customer()
        other.subscriptions.update(status="canceled")
        wanted = other.pk
    elif field.choices:
        wanted = next(each for each, _ in reversed(list(field.choices)) if each not in (value, "canceled", "draft"))
    elif field.name == "currency":
        wanted = "eur"
    elif isinstance(field, models.BooleanField):
        wanted = not value
    elif isinstance(field, models.DateTimeField):
        wanted = value + timedelta(days=1) if isinstance(value, datetime) else timezone.now()
    elif isinstance(field, models.IntegerField):
        wanted = (value or 0) + 1
    return wanted


def change(row: models.Model, field: models.Field[Any, Any]) -> bool:
    """Change the column by SQL; False where the database does not let it differ from what it is worked out from."""
    wanted = changed(field, getattr(row, field.attname))
    statement = f'UPDATE {row._meta.db_table} SET "{field.column}" = %s WHERE id = %s'
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [wanted, row.pk])
    except DatabaseError:
        return False
    row.refresh_from_db()
    return bool(getattr(row, field.attname) == wanted)


def values(row: models.Model) -> dict[str, Any]:
    row.refresh_from_db()
    return {field.attname: getattr(row, field.attname) for field in columns(type(row))}


@pytest.mark.parametrize("model", NOT_COMPARED)
def test_each_changed_column_is_found_and_healed(full: EventStream, model: type[models.Model]) -> None:
    row: Any = {
        User: full.user,
        Subscription: full.row,
        Payment: full.payment,
        OpenInvoice: OpenInvoice.objects.get(),
    }[model]
    stripe, right = state(full), values(row)
    assert findings(stripe) == set()
    touched = 0
    for field in columns(model):
        if not change(row, field):
            continue
        touched += 1
        assert field.attname in findings(stripe), f"{field.column} of {model._meta.db_table} is not compared"
        assert resync(full.customer["id"]) == []
        assert values(row) == right, f"{field.column} of {model._meta.db_table} is not healed"
    assert touched > len(right) / 2
    assert findings(stripe) == set()


def test_columns_about_the_invoice_are_those_that_the_invoice_says(full: EventStream) -> None:
    assert payments.columns_of(full.invoice).keys() == payments.INVOICE_COLUMNS.keys()


def open_fields() -> set[tuple[str, str, str | None, str | None]]:
    rows = Difference.objects.filter(status="open")
    return {(row.object_kind, row.field, row.local_value, row.stripe_value) for row in rows}


def test_run_reports_once_and_heals_owner_invoice_and_what_is_owed(full: EventStream) -> None:
    full.world.events.clear()
    other = factories.customer()
    other.subscriptions.update(status="canceled")
    payment, owed = full.payment, OpenInvoice.objects.get()
    Payment.objects.filter(pk=payment.pk).update(user=other, stripe_invoice_id="in_wrong")
    OpenInvoice.objects.filter(pk=owed.pk).update(amount_due_cents=1, user=other)
    expected = {
        ("charge", "user_id", str(other.pk), str(full.user.pk)),
        ("charge", "stripe_invoice_id", "in_wrong", full.invoice["id"]),
        ("invoice", "amount_due_cents", "1", "1900"),
        ("invoice", "user_id", str(other.pk), str(full.user.pk)),
    }
    for _ in range(2):
        reconciliation.run(**WHO)
        assert open_fields() == expected
    assert not Difference.objects.exclude(status="open").exists()
    reconciliation.run(repair=True, **WHO)
    assert open_fields() == set()
    payment.refresh_from_db()
    owed.refresh_from_db()
    assert (payment.user, payment.stripe_invoice_id) == (full.user, full.invoice["id"])
    assert (owed.user, owed.amount_due_cents) == (full.user, 1900)


@pytest.mark.parametrize("listed", [True, False])
def test_payment_that_names_an_invoice_which_does_not_name_it_forgets_it(full: EventStream, listed: bool) -> None:
    full.world.events.clear()
    full.invoice["payments"] = {"object": "list", "data": [], "has_more": False}
    link = str(full.payment.stripe_invoice_id)
    if not listed:
        full.world.forget(link)
    reconciliation.run(**WHO)
    assert open_fields() == {("charge", "stripe_invoice_id", link, None)}
    reconciliation.run(repair=True, **WHO)
    assert open_fields() == set()
    assert full.payment.stripe_invoice_id is None


def test_what_is_owed_no_more_or_not_said_to_be_is_found_and_healed(full: EventStream) -> None:
    full.world.events.clear()
    owed = full.world.objects["in_2"]
    owed.update(status="paid", amount_remaining=0)
    reconciliation.run(**WHO)
    assert open_fields() == {("invoice", "status", "open", "paid")}
    reconciliation.run(repair=True, **WHO)
    assert not OpenInvoice.objects.exists()
    owed.update(status="open", amount_remaining=700)
    reconciliation.run(**WHO)
    assert open_fields() == {("invoice", "", None, "700 usd open")}
    reconciliation.run(repair=True, **WHO)
    assert OpenInvoice.objects.get().amount_due_cents == 700


def test_deleted_draft_is_found_and_healed(full: EventStream) -> None:
    full.world.events.clear()
    full.world.forget("in_2")
    Payment.objects.filter(stripe_invoice_id="in_2").update(stripe_invoice_id=None, invoice_url=None)
    reconciliation.run(**WHO)
    assert open_fields() == {("invoice", "status", "open", None)}
    reconciliation.run(repair=True, **WHO)
    assert (open_fields(), OpenInvoice.objects.exists()) == (set(), False)
