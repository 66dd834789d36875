"""Invoices and what comes next, on the customer's page: last known, whether Stripe answers or not."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.models import UpcomingInvoice
from demo.stripe.server import StripeServer
from tests.support.admin_pages import page_of, row_page
from tests.support.event_stream import EventStream
from tests.support.sql import query
from tests.support.stripe_acts import discount, renewed

pytestmark = pytest.mark.django_db
PART = {"X-Part": "1"}


@pytest.fixture
def away(stripe_server: StripeServer) -> Callable[[], None]:
    """Stripe stops to answer."""

    def leave() -> None:
        stripe_server.intercept = lambda method, path: (503, {"error": {"message": "down"}}, {})

    return leave


def statement(client: Client, stream: EventStream) -> Any:
    return client.get(row_page(stream.user)).context["statement"]


def test_invoice_is_shown_with_number_lines_status_and_documents(
    signed_in: Callable[[str], Client], stream: EventStream, away: Callable[[], None]
) -> None:
    stream.announce("invoice.paid", stream.invoice)
    away()
    client = signed_in("support")
    answer = client.get(row_page(stream.user))
    (shown,) = answer.context["statement"].invoices
    assert (shown["number"], shown["total"], len(shown["lines"])) == (stream.invoice["number"], "29.00 USD", 1)
    page = answer.content.decode()
    for text in (
        stream.invoice["number"],
        stream.invoice["invoice_pdf"],
        shown["lines"][0][0],
        "Paid",
        "last heard of",
    ):
        assert text in page, text


def test_card_discount_balance_and_disputes_are_the_last_known(
    signed_in: Callable[[str], Client], stream: EventStream, away: Callable[[], None]
) -> None:
    stream.customer["balance"] = -1500
    stream.announce("customer.updated", stream.customer)
    stream.update(discounts=[discount("HALF", percent_off=50, name="Half off")])
    due = int(time.time()) + 86_400
    for number, status in enumerate(("needs_response", "won")):
        dispute = {
            "id": f"du_{number}",
            "object": "dispute",
            "amount": 2900,
            "currency": "usd",
            "charge": stream.charge["id"],
            "created": 1,
            "status": status,
            "reason": "fraudulent",
            "evidence_details": {"due_by": due},
            "balance_transactions": [],
            "livemode": False,
            "metadata": {},
            "is_charge_refundable": False,
        }
        stream.world.put(dispute)
        stream.announce("charge.dispute.created", dispute)
    away()
    known = statement(signed_in("support"), stream)
    facts = dict(known.facts)
    assert facts["Default card"].startswith("Visa ")
    assert (facts["Discount"], facts["Balance"]) == ("Half off, 50 % off", "15.00 USD to their credit")
    (dispute,) = known.disputes
    assert (dispute["amount"], dispute["status"], dispute["is_late"]) == ("29.00 USD", "needs evidence", False)
    assert int(dispute["due_at"].timestamp()) == due


def test_upcoming_invoice_comes_after_the_page_and_stays_when_stripe_goes(
    signed_in: Callable[[str], Client], stream: EventStream, away: Callable[[], None]
) -> None:
    renewed(stream)
    client = signed_in("support")
    url = page_of(type(stream.user), "upcoming", stream.user.pk)
    assert f'data-gf-refresh="{url}"' in client.get(row_page(stream.user)).content.decode()
    assert "29.00 USD" in client.get(url, headers=PART).content.decode()
    away()
    UpcomingInvoice.objects.update(asked_at="2026-01-01T00:00Z")
    part = client.get(url, headers=PART).content.decode()
    assert "29.00 USD" in part
    assert "Stripe said so on" in part
    assert statement(client, stream).upcoming["to_pay"] == "29.00 USD"


def test_page_itself_never_asks_stripe(
    signed_in: Callable[[str], Client], stream: EventStream, stripe_server: StripeServer
) -> None:
    before = len(stripe_server.requests)
    signed_in("billing_lead").get(row_page(stream.user))
    assert len(stripe_server.requests) == before


def test_without_scripts_the_link_leads_back_to_the_page(
    signed_in: Callable[[str], Client], stream: EventStream
) -> None:
    answer = signed_in("support").get(page_of(type(stream.user), "upcoming", stream.user.pk))
    assert (answer.status_code, answer["Location"]) == (302, row_page(stream.user))


@pytest.mark.parametrize("odd", ["no-uuid", "00000000-0000-0000-0000-000000000000"])
def test_unknown_customer_is_not_found(signed_in: Callable[[str], Client], stream: EventStream, odd: str) -> None:
    assert signed_in("support").get(page_of(type(stream.user), "upcoming", odd)).status_code == 404


@pytest.mark.parametrize("content", [{"data": {"object": 7}}, {"currency": "usd", "lines": 7}, {"currency": 7}])
def test_odd_content_keeps_nothing_else_from_the_page(
    signed_in: Callable[[str], Client], stream: EventStream, content: dict[str, Any]
) -> None:
    UpcomingInvoice.objects.create(subscription=stream.row, content=content, told_at="2026-01-01T00:00Z")
    known = statement(signed_in("support"), stream)
    assert known.upcoming["problem"] == "What was kept of it cannot be read."


@pytest.mark.parametrize("odd", [{"created": 2**62}, {"lines": {"data": [7]}}, {"total": "x"}, {"lines": 7}])
def test_invoice_of_an_unknown_form_is_left_out(
    signed_in: Callable[[str], Client], stream: EventStream, odd: dict[str, Any]
) -> None:
    stream.announce("invoice.paid", stream.invoice)
    query("UPDATE djstripe_invoice SET stripe_data = stripe_data || %s::jsonb", json.dumps(odd))
    assert statement(signed_in("support"), stream).invoices == []
