"""The desk of what is overdue: what it shows, to whom it offers what, and what comes of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import OpenInvoice, PaymentCase, StripeRequest
from billing.services import dunning
from demo.stripe.world import StripeWorld
from monitoring.models import ExpiringCard, PaymentAtRisk, PaymentRecovery
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.event_stream import EventStream, deliver_new
from tests.support.stripe_acts import unpaid

pytestmark = pytest.mark.django_db
QUERIES = 15


def statements(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"][:120] for query in queries if "SAVEPOINT" not in query["sql"]]


@pytest.mark.parametrize("model", [PaymentAtRisk, PaymentRecovery, ExpiringCard])
def test_list_opens_within_its_queries_however_many_there_are(
    signed_in: Callable[[str], Client], model: type[PaymentAtRisk]
) -> None:
    for _ in range(3):
        row = factories.open_invoice()
        factories.payment(row.user, stripe_invoice_id=row.stripe_invoice_id, status="failed", paid_at=None)
    lead = signed_in("billing_lead")
    with CaptureQueriesContext(connection) as queries:
        assert lead.get(page_of(model)).status_code == 200
    assert len(statements(queries)) <= QUERIES, statements(queries)


def test_list_says_why_how_late_and_who_looks_after_it(signed_in: Callable[[str], Client]) -> None:
    row = factories.open_invoice()
    dunning.give_until(row, datetime.now(UTC).date() + timedelta(days=3), actor="grace", reason="Pays on Friday")
    page = signed_in("support").get(page_of(PaymentAtRisk)).content.decode()
    for shown in ("29.00 USD", str(row.user.email), "Not enough money", "3 days", "grace"):
        assert shown in page, shown


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("auditor", set()),
        ("operator", {"note"}),
        ("support", {"payment_link", "give_until", "take_over", "note"}),
        (
            "billing_lead",
            {
                *("try_now", "payment_link", "give_until", "take_over", "note"),
                *("cancel", "mark_paid", "void_invoice", "mark_uncollectible"),
            },
        ),
    ],
)
def test_row_offers_each_role_what_it_may(signed_in: Callable[[str], Client], role: str, offered: set[str]) -> None:
    row = factories.open_invoice()
    answer = signed_in(role).get(page_of(PaymentAtRisk, "change", row.pk))
    assert {offer["operation"].name for offer in answer.context["row_operations"]} == offered


def test_row_opens_within_its_queries(signed_in: Callable[[str], Client]) -> None:
    lead, row = signed_in("billing_lead"), factories.open_invoice()
    with CaptureQueriesContext(connection) as queries:
        lead.get(page_of(PaymentAtRisk, "change", row.pk))
    assert len(statements(queries)) <= QUERIES, statements(queries)


def test_buttons_do_what_they_say(signed_in: Callable[[str], Client]) -> None:
    support, row = signed_in("support"), factories.open_invoice()
    until = datetime.now(UTC).date() + timedelta(days=3)
    support.post(row_page(row, "give_until"), CONFIRMED | {"until": str(until)})
    support.post(row_page(row, "payment_link"), CONFIRMED)
    case = PaymentCase.objects.get()
    assert (case.extended_until_on, case.owner) == (until, case.extended_by)
    assert len(mail.outbox) == 1
    for page in (row_page(row), row_page(row.user)):
        shown = support.get(page).content.decode()
        assert str(until) in shown
        assert str(case.owner) in shown
    answer = support.post(row_page(row, "take_over"), CONFIRMED, follow=True)
    assert "already" in " ".join(map(str, answer.context["messages"]))


def test_day_that_is_past_is_an_error_of_the_form(signed_in: Callable[[str], Client]) -> None:
    row = factories.open_invoice()
    answer = signed_in("support").post(row_page(row, "give_until"), CONFIRMED | {"until": "2020-01-01"})
    assert "2020-01-01 is not within" in answer.content.decode()
    assert PaymentCase.objects.count() == 0


class TestTryNow:
    @pytest.fixture
    def stream(self, world: StripeWorld) -> EventStream:
        stream = EventStream(world).signed_up()
        unpaid(stream)
        stream.update(status="past_due")
        return stream

    def test_invoice_is_paid_once_and_leaves_the_page(
        self, signed_in: Callable[[str], Client], stream: EventStream
    ) -> None:
        lead, row = signed_in("billing_lead"), OpenInvoice.objects.get()
        form = CONFIRMED | {"token": "a-token-of-a-form-1"}
        for _ in range(2):
            answer = lead.post(row_page(row, "try_now"), form, follow=True)
        assert "This form was sent before" in str(*answer.context["messages"])
        deliver_new(stream.world)
        assert (PaymentAtRisk.objects.count(), stream.row.status) == (0, "active")
        assert StripeRequest.objects.get().state == "done"

    def test_declined_card_is_told_and_counted(self, signed_in: Callable[[str], Client], stream: EventStream) -> None:
        stream.world.declining.add(stream.customer["id"])
        row = OpenInvoice.objects.get()
        answer = signed_in("billing_lead").post(row_page(row, "try_now"), CONFIRMED, follow=True)
        assert "Your card was declined" in str(*answer.context["messages"])
        deliver_new(stream.world)
        known = PaymentAtRisk.objects.get()
        assert (known.attempt_count, known.decline_code) == (2, "generic_decline")
        assert StripeRequest.objects.get().state == "refused"

    def test_other_amount_than_was_shown_is_not_charged(
        self, signed_in: Callable[[str], Client], stream: EventStream
    ) -> None:
        stream.invoice["amount_remaining"] = 900
        row = OpenInvoice.objects.get()
        answer = signed_in("billing_lead").post(row_page(row, "try_now"), CONFIRMED, follow=True)
        assert "At Stripe 9.00 USD of the invoice are left to pay, not 29.00 USD" in str(*answer.context["messages"])
        assert stream.invoice["status"] == "open"
