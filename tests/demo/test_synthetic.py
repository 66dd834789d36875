"""The demo's Stripe knows the synthetic customers: reconciliation finds what was planted, support can act on them."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from billing.models import Difference, Payment, Subscription, User
from billing.services import customers, payments, plan_changes, reconciliation, subscriptions
from billing.services.plan_changes import Terms
from demo.run import arrears
from demo.seed import seeding
from demo.stripe import recordings, synthetic
from demo.stripe.world import StripeWorld
from monitoring.models import PaymentAtRisk
from tests.support.event_stream import price

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "routine"}


@pytest.fixture
def demo(world: StripeWorld) -> StripeWorld:
    """Synthetic customers in our tables, and a Stripe that was started after them."""
    seeding.seed(users=120, usage=0)
    world.add(recordings.load("signup_paid"))
    synthetic.add_to(world)
    return world


# Rows get random keys from the database; addresses and Stripe's ids are the same at every seeding.
def paying() -> Subscription:
    """A subscription that goes on, and the only one of its customer: a second would live on in its place."""
    found = Subscription.objects.filter(status="active", stripe_subscription_id__isnull=False)
    found = found.filter(current_period_end__gt=timezone.now(), cancel_at_period_end=False)
    return found.exclude(user__subscriptions__is_duplicate=True).earliest("user__email")


def paid() -> Payment:
    return Payment.objects.filter(status="succeeded").earliest("stripe_charge_id")


def deliver_new(world: StripeWorld, feed: Callable, before: int) -> None:
    assert world.events[before:], "Stripe sent nothing"
    assert set(feed(world.events[before:])) == {"processed"}


def test_reconciliation_finds_only_what_was_planted(demo: StripeWorld) -> None:
    demo.events.clear()
    recorded = set(recordings.load("signup_paid").objects)
    run = reconciliation.run(ingest=False, **WHO)
    assert run.status == "finished"
    found = {
        (difference.object_kind, difference.stripe_id, difference.field)
        for difference in Difference.objects.filter(status="open")
        if difference.stripe_id not in recorded
    }
    stale = Subscription.objects.filter(status="active", current_period_end__lt=timezone.now())
    orphaned = User.objects.filter(stripe_customer_id__isnull=False).exclude(
        subscriptions__status__in=Subscription.LIVE
    )
    renewed, ended = ("current_period_start", "current_period_end"), ("status", "canceled_at")
    news = {row.stripe_subscription_id: ended if row.cancel_at_period_end else renewed for row in stale}
    assert found == {
        *(("subscription", stripe_id, field) for stripe_id, fields in news.items() for field in fields),
        *(("customer", user.stripe_customer_id, "live_subscription") for user in orphaned),
    }
    assert stale.exists()
    assert orphaned.exists()


def test_who_is_overdue_is_fetched_with_the_reason_and_the_card(demo: StripeWorld) -> None:
    arrears.fetch()
    overdue = PaymentAtRisk.objects.filter(number__isnull=False)
    assert overdue.exists()
    assert not overdue.filter(reason=None).exists()
    assert not overdue.filter(card_last4=None).exists()
    assert overdue.exclude(owner=None).exists()


def test_stale_subscription_is_repaired(demo: StripeWorld) -> None:
    demo.events.clear()
    overdue = Subscription.objects.filter(status="active", current_period_end__lt=timezone.now())
    stale = list(overdue.values_list("pk", flat=True))
    reconciliation.run(repair=True, **WHO)
    assert not Subscription.objects.filter(
        pk__in=stale, status="active", current_period_end__lt=timezone.now()
    ).exists()
    reconciliation.run(ingest=False, **WHO)
    assert not Difference.objects.filter(status="open").exists()


def test_subscription_whose_last_period_passed_has_ended(world: StripeWorld) -> None:
    seeding.seed(users=120, usage=0)
    overdue = Subscription.objects.filter(status="active", current_period_end__lt=timezone.now())
    stale = overdue.earliest("stripe_subscription_id")
    Subscription.objects.filter(pk=stale.pk).update(cancel_at_period_end=True)
    world.add(recordings.load("signup_paid"))
    synthetic.add_to(world)
    customers.sync_customer(stale.user, **WHO)
    stale.refresh_from_db()
    assert (stale.status, stale.canceled_at) == ("canceled", stale.current_period_end)


def test_cancelling_and_resuming_come_back_as_events(demo: StripeWorld, feed: Callable) -> None:
    subscription = paying()
    for act, ends in ((subscriptions.cancel_subscription, True), (subscriptions.resume_subscription, False)):
        before = len(demo.events)
        act(subscription, **WHO)
        deliver_new(demo, feed, before)
        subscription.refresh_from_db()
        assert (subscription.status, subscription.cancel_at_period_end) == ("active", ends)
    before = len(demo.events)
    subscriptions.cancel_subscription(subscription, at_period_end=False, **WHO)
    deliver_new(demo, feed, before)
    assert subscription.user.subscriptions.get(status="active").tier == "free"


def test_refund_comes_back_as_events(demo: StripeWorld, feed: Callable) -> None:
    payment = paid()
    payments.refund(payment, amount_cents=500, **WHO)
    deliver_new(demo, feed, len(demo.events) - 2)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_cents) == ("partially_refunded", 500)


@pytest.mark.parametrize("status", ["succeeded", "failed", "refunded", "partially_refunded", "disputed"])
def test_sync_leaves_a_synthetic_payment_as_it_is(demo: StripeWorld, status: str) -> None:
    known = Payment.objects.filter(status=status, user__stripe_customer_id__isnull=False)
    payment = known.order_by("stripe_charge_id").first()
    if payment is None:
        payment = paid()
        refunded = {"refunded": payment.amount_cents, "partially_refunded": 100}.get(status, 0)
        paid_at = None if status == "failed" else payment.paid_at
        Payment.objects.filter(pk=payment.pk).update(status=status, refunded_cents=refunded, paid_at=paid_at)
        for kind in ("charge", "payment_intent"):
            demo.forget(str(getattr(payment, f"stripe_{kind}_id")))
        synthetic.add_to(demo)
    before = Payment.objects.filter(pk=payment.pk).values().get()
    customers.sync_customer(payment.user, **WHO)
    assert Payment.objects.filter(pk=payment.pk).values().get() == before


@pytest.mark.parametrize("at_period_end", [True, False])
def test_what_support_did_to_the_recorded_outlives_the_local_stripe(
    world: StripeWorld, feed: Callable, at_period_end: bool
) -> None:
    stream = recordings.load("signup_paid")
    world.add(stream)
    feed(stream.events)
    subscription = Subscription.objects.get(stripe_subscription_id__isnull=False)
    subscriptions.cancel_subscription(subscription, at_period_end=at_period_end, **WHO)
    payments.refund(Payment.objects.get(), amount_cents=500, **WHO)
    deliver_new(world, feed, len(stream.events))
    world.objects.clear()
    world.events.clear()
    world.add(stream)
    world.events.clear()
    assert reconciliation.run(ingest=False, **WHO).differences_found > 0
    synthetic.add_to(world)
    assert reconciliation.run(ingest=False, **WHO).differences_found == 0


def test_recorded_customer_is_not_synthesized(world: StripeWorld, feed: Callable) -> None:
    stream = recordings.load("signup_paid")
    world.add(stream)
    feed(stream.events)
    Subscription.objects.filter(stripe_subscription_id__isnull=False).update(tier="enterprise")
    before = dict(world.objects)
    assert synthetic.add_to(world) == 0
    assert world.objects == before


def test_plan_that_support_changed_outlives_the_local_stripe(world: StripeWorld, feed: Callable) -> None:
    stream = recordings.load("signup_paid")
    world.add(stream)
    feed(stream.events)
    subscription = Subscription.objects.get(stripe_subscription_id__isnull=False)
    terms = Terms(price(world, "professional_monthly")["id"], 2, plan_changes.NEXT_INVOICE)
    plan_changes.change_plan(subscription, plan_changes.preview(subscription, terms).change, **WHO)
    deliver_new(world, feed, len(stream.events))
    world.objects.clear()
    world.add(stream)
    world.events.clear()
    synthetic.add_to(world)
    (item,) = world.objects[str(subscription.stripe_subscription_id)]["items"]["data"]
    assert (item["price"]["id"], item["quantity"]) == (terms.price_id, 2)
    assert reconciliation.run(ingest=False, **WHO).differences_found == 0
