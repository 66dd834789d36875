"""The customer page says what is owed, what is paid next and when, and until when access lasts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import OpenInvoice
from tests.support import factories

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def day(days: int) -> datetime:
    return NOW + timedelta(days=days)


@pytest.fixture
def shown(signed_in: Callable[[str], Client]) -> Callable[..., dict[str, Any]]:
    """The context of the page of a customer with one subscription, of Professional unless said."""

    def show(invoices: tuple[dict[str, Any], ...] = (), **values: Any) -> dict[str, Any]:
        row = factories.subscription(
            **{"tier": "professional", "price_cents": 9900, "current_period_end": day(20)} | values
        )
        for number, invoice in enumerate(invoices):
            OpenInvoice.objects.create(
                user=row.user,
                subscription=row,
                stripe_invoice_id=f"in_{number}",
                **{"status": "open", "amount_due_cents": 9900, "number": f"A1-000{number}"} | invoice,
            )
        response = signed_in("billing_lead").get(reverse("admin:billing_user_change", args=[row.user_id]))
        context = {name: response.context[name] for name in ("facts", "live", "usage")}
        return context | {"page": response.content.decode(), "standing": dict(response.context["standing"])}

    return show


@pytest.mark.parametrize(
    ("values", "outlook", "next_payment", "access"),
    [
        ({}, "renews on {20}", "99.00 USD on {20}", "until {20}, longer once"),
        ({"cancel_at": day(5)}, "ends on {5}", "nothing: it ends before", "until {5} 12:00 UTC"),
        ({"cancel_at_period_end": True}, "ends on {20}", "nothing: it ends before", "until {20}"),
        ({"cancel_at": day(200)}, "ends on {200}", "99.00 USD on {20}", "until {200} 12:00 UTC"),
        ({"status": "trialing", "trial_end": day(3)}, "trial ends on {3}", "99.00 USD on {3}", "until {3} 12:00 UTC"),
        ({"status": "past_due"}, "past due, in the period", "99.00 USD on {20}", "until Stripe's settings for failed"),
        ({"status": "unpaid"}, "unpaid: nothing is collected", "nothing: Stripe keeps", "the free plan's limits"),
        ({"status": "paused"}, "paused: nothing is collected", "nothing until the sub", "the free plan's limits"),
        ({"collection_paused": "void"}, "collection paused", "nothing: collection is paused", "until {20}"),
        (
            {"collection_paused": "keep_as_draft", "collection_resumes_at": day(9)},
            "collection paused until {9}",
            "nothing until {9}: collection is paused",
            "until {20}",
        ),
        ({"interval": "year", "current_period_start": day(-345)}, "renews on {20}", "about 1,188.00 USD on {20}", ""),
        ({"current_period_start": day(-70)}, "renews on {20}", "297.00 USD on {20}", ""),
    ],
)
def test_outlook_next_payment_and_access(
    shown: Callable[..., dict[str, Any]], values: dict[str, Any], outlook: str, next_payment: str, access: str
) -> None:
    found = shown(**values)
    said = {
        "outlook": found["facts"][0][2],
        "next": found["standing"]["Pays next"],
        "access": found["standing"]["Access"],
    }
    for name, expected in (("outlook", outlook), ("next", next_payment), ("access", access)):
        dated = expected.format(*(f"{day(days):%Y-%m-%d}" for days in range(201)))
        assert dated in said[name], (name, said[name])
    assert found["standing"]["Owes"] == "nothing"
    if values.get("status") in ("unpaid", "paused") or values.get("collection_paused"):
        assert "renews on" not in found["page"]


@pytest.mark.parametrize(
    ("invoices", "owes"),
    [
        (
            (
                {
                    "attempt_count": 2,
                    "failure_code": "card_declined",
                    "overdue_since": day(-4),
                    "next_attempt_at": day(1),
                },
            ),
            "99.00 USD, overdue since {-4}, 2 tries failed (The bank declined), next try on {1} 12:00 UTC",
        ),
        (
            ({"attempt_count": 1, "overdue_since": day(-4)},),
            "99.00 USD, overdue since {-4}, 1 try failed, no further try",
        ),
        (({"due_at": day(9)},), "99.00 USD, not due yet, to be paid until {9}"),
        (
            ({"overdue_since": day(-9)}, {"amount_due_cents": 100, "overdue_since": day(-2)}, {"currency": "eur"}),
            "99.00 EUR + 100.00 USD, overdue since {-9}",
        ),
        (({"status": "uncollectible"},), "99.00 USD given up as uncollectible"),
        (({"status": "draft"},), "nothing"),
    ],
)
def test_what_is_owed_since_when_and_when_it_is_tried_again(
    shown: Callable[..., dict[str, Any]], invoices: tuple[dict[str, Any], ...], owes: str
) -> None:
    for days in (-9, -4, 1, 9):
        owes = owes.replace(f"{{{days}}}", f"{day(days):%Y-%m-%d}")
    found = shown(invoices, status="past_due")
    assert found["standing"]["Owes"] == owes
    assert "A1-0000" in found["page"]


def test_draft_is_what_is_paid_next(shown: Callable[..., dict[str, Any]]) -> None:
    found = shown(({"status": "draft", "amount_due_cents": 12_345, "next_attempt_at": day(1)},))
    assert found["standing"]["Pays next"].startswith(f"123.45 USD on {day(1):%Y-%m-%d} 12:00 UTC")


def test_limits_that_hold_are_shown(shown: Callable[..., dict[str, Any]]) -> None:
    found = shown(status="unpaid")
    assert found["usage"].limit == 100
    assert "Free plan&#x27;s limits" in found["page"] or "Free plan's limits" in found["page"]


@pytest.mark.parametrize(("cancel_at", "offered"), [(day(5), True), (day(200), True), (None, False)])
def test_keeping_the_subscription_is_offered_while_an_end_is_set(
    shown: Callable[..., dict[str, Any]], cancel_at: datetime | None, offered: bool
) -> None:
    offers = shown(cancel_at=cancel_at)["live"]["offers"]
    assert ("resume" in {offer["operation"].name for offer in offers}) is offered


def test_schedule_is_named(shown: Callable[..., dict[str, Any]]) -> None:
    found = shown(stripe_schedule_id="sub_sched_1")
    assert found["standing"]["Changes"] == "managed by a schedule at Stripe, sub_sched_1"


def test_incomplete_subscription_says_how_long_its_first_payment_is_open(signed_in: Callable[[str], Client]) -> None:
    row = factories.subscription(status="incomplete", created_at=day(0))
    response = signed_in("support").get(reverse("admin:billing_user_change", args=[row.user_id]))
    (remark,) = next(item["remarks"] for item in response.context["subscriptions"] if item["row"] == row)
    assert remark == f"first payment open until {day(0) + timedelta(hours=23):%Y-%m-%d %H:%M} UTC"


def test_list_of_customers_shows_the_limit_that_holds(signed_in: Callable[[str], Client]) -> None:
    row = factories.subscription(status="unpaid", tier="professional")
    page = signed_in("support").get(reverse("admin:billing_user_changelist")).content.decode()
    assert "of 100<" in page
    assert "100,000" not in page
    page = signed_in("support").get(reverse("admin:billing_subscription_change", args=[row.pk])).content.decode()
    assert "0 of 100<" in page or "0 of 100\n" in page
