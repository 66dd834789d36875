"""Compares our tables with a recording's `expected` state, which was derived from Stripe's API."""

from collections.abc import Iterable

from billing.models import Payment, Subscription, Tombstone, User
from glyphforge.rows import Json


def actual(customer_id: str) -> Json:
    """What our tables say about one customer, in the form of `expected`."""
    user = User.objects.get(stripe_customer_id=customer_id)
    paid = Subscription.objects.filter(user=user, stripe_subscription_id__isnull=False)
    live = paid.filter(status__in=Subscription.LIVE, is_duplicate=False).first()
    return {
        "stripe_customer_id": customer_id,
        "deleted": user.status == User.Status.DELETED,
        "email": user.email,
        "subscriptions_total": paid.count(),
        "live_subscription": live and _subscription(live),
        "payments": [
            _payment(row) for row in Payment.objects.filter(user=user).order_by("created_at", "stripe_charge_id")
        ],
    }


def comparable(expected: Json) -> Json:
    """`expected` without what no payload says: which invoice a charge without payment intent paid."""
    payments = sorted(expected["payments"], key=lambda row: row["charge"])
    return expected | {
        "payments": [
            {
                name: row[name]
                for name in ("amount_cents", "charge", "currency", "payment_intent", "refunded_cents", "status")
            }
            for row in payments
        ]
    }


def assert_reached(expected: Iterable[Json]) -> None:
    """Every customer of `expected` is here in exactly that state, entitled by exactly one live row."""
    for customer in expected:
        found = actual(customer["stripe_customer_id"])
        found["payments"].sort(key=lambda row: row["charge"])
        assert found == comparable(customer)
        user = User.objects.get(stripe_customer_id=customer["stripe_customer_id"])
        live = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, is_duplicate=False)
        if customer["deleted"]:
            assert not live.exists()
            assert Tombstone.objects.filter(pk=customer["stripe_customer_id"]).exists()
        else:
            assert live.get().tier == (customer["live_subscription"] or {"tier": "free"})["tier"]


def _subscription(row: Subscription) -> Json:
    assert row.current_period_start
    assert row.current_period_end
    return {
        "id": row.stripe_subscription_id,
        "status": row.status,
        "tier": row.tier,
        "price": row.stripe_price_id,
        "quantity": row.quantity,
        "cancel_at_period_end": row.cancel_at_period_end,
        "current_period_start": int(row.current_period_start.timestamp()),
        "current_period_end": int(row.current_period_end.timestamp()),
    }


def _payment(row: Payment) -> Json:
    return {
        "charge": row.stripe_charge_id,
        "amount_cents": row.amount_cents,
        "currency": row.currency,
        "refunded_cents": row.refunded_cents,
        "status": row.status,
        "payment_intent": row.stripe_payment_intent_id,
    }
