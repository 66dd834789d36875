"""The money figures of the monitoring views agree with what the recordings say that Stripe charged."""

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import Payment
from billing.stripe.resync import resync
from demo.stripe import recordings
from demo.stripe.world import StripeWorld

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]

# What the catalogue's prices cost a month; the yearly ones are a twelfth, rounded half up.
MONTHLY_CENTS = {
    "starter_monthly": 2900,
    "starter_yearly": 2417,
    "professional_monthly": 9900,
    "professional_yearly": 8250,
    "enterprise_monthly": 150000,
}


@pytest.fixture
def customers(world: StripeWorld) -> list[dict[str, Any]]:
    """Every customer of every recording, synced from Stripe's final state; their `expected` states."""
    streams = recordings.load_all()
    for stream in streams:
        world.add(stream)
    for item in list(world.objects.values()):
        if item["object"] in ("invoice", "payment_method"):  # mirrored, but no money is read from them
            world.forget(item["id"])
    expected = [customer for stream in streams for customer in stream.expected]
    for customer in expected:
        resync(customer["stripe_customer_id"])
    return expected


def test_figures_equal_those_of_the_expected_states(customers: list[dict[str, Any]], world: StripeWorld) -> None:
    payments = [payment for customer in customers for payment in customer["payments"]]
    Payment.objects.exclude(paid_at=None).update(paid_at=timezone.now())
    Payment.objects.filter(status="failed").update(created_at=timezone.now())
    assert _metrics() == {
        "mrr_cents": sum(_monthly(customer, world) for customer in customers),
        "paying_customers": sum(_monthly(customer, world) > 0 for customer in customers),
        "revenue_this_month_cents": sum(row["amount_cents"] for row in payments if row["status"] != "failed"),
        "refunded_this_month_cents": sum(row["refunded_cents"] for row in payments),
        "failed_payments_this_month": sum(row["status"] == "failed" for row in payments),
        "currency": "usd",
    }


def _monthly(customer: dict[str, Any], world: StripeWorld) -> int:
    live = customer["live_subscription"]
    if not live or live["status"] not in ("active", "past_due"):
        return 0
    return MONTHLY_CENTS[world.objects[live["price"]]["lookup_key"]] * live["quantity"]


def _metrics() -> dict[str, Any]:
    names = (
        "mrr_cents",
        "paying_customers",
        "revenue_this_month_cents",
        "refunded_this_month_cents",
        "failed_payments_this_month",
        "currency",
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)} FROM v_revenue_metrics")
        return dict(zip(names, cursor.fetchone(), strict=True))
