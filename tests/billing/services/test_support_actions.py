"""What support may do with Stripe: cancel, refund, sync, link, map prices, replay."""

import ast
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from billing import tasks
from billing.models import Payment, PlanPrice, Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import customers, orphans, payments, prices, subscriptions
from billing.stripe import customer_lock
from billing.stripe.errors import TransientError
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Notice, Refused
from tests.support import factories
from tests.support.database import session
from tests.support.event_stream import EventStream, deliver_new, process_pending
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "asked by the customer"}


@pytest.fixture
def subscription(signup: recordings.Recording) -> Subscription:
    return Subscription.objects.get(stripe_subscription_id__isnull=False)


@pytest.fixture
def payment(signup: recordings.Recording) -> Payment:
    return Payment.objects.get()


def audited(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


def test_cancellation_at_period_end_comes_back_by_its_event(subscription: Subscription, world: StripeWorld) -> None:
    subscriptions.cancel_subscription(subscription, **WHO)
    subscription.refresh_from_db()
    assert not subscription.cancel_at_period_end
    deliver_new(world)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.cancel_at_period_end) == ("active", True)
    assert (audited("cancel_at_period_end").actor, audited("cancel_at_period_end").reason) == tuple(WHO.values())

    subscriptions.resume_subscription(subscription, **WHO)
    deliver_new(world)
    subscription.refresh_from_db()
    assert not subscription.cancel_at_period_end


def test_cancellation_in_the_portal_is_taken_back_too(world: StripeWorld) -> None:
    stream = EventStream(world).signed_up()
    stream.update(billing_mode={"type": "flexible"}, cancel_at=stream.item["current_period_end"])
    assert stream.row.cancel_at_period_end
    subscriptions.resume_subscription(stream.row, **WHO)
    deliver_new(world)
    assert not stream.row.cancel_at_period_end
    assert stream.subscription["cancel_at"] is None


def test_cancellation_now_brings_the_free_plan_back(subscription: Subscription, world: StripeWorld) -> None:
    subscriptions.cancel_subscription(subscription, at_period_end=False, **WHO)
    deliver_new(world)
    subscription.refresh_from_db()
    assert subscription.status == "canceled"
    live = Subscription.objects.get(user=subscription.user, status="active")
    assert live.tier == "free"
    with pytest.raises(Refused, match="ended already"):
        subscriptions.cancel_subscription(subscription, **WHO)


def test_free_plan_cannot_be_canceled(signup: recordings.Recording) -> None:
    free = factories.customer().subscriptions.get()
    with pytest.raises(Refused, match="free plan"):
        subscriptions.cancel_subscription(free, **WHO)


def test_refund_in_parts_and_of_the_rest(payment: Payment, world: StripeWorld) -> None:
    payments.refund(payment, amount_cents=900, **WHO)
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_cents) == ("partially_refunded", 900)
    payments.refund(payment, **WHO)
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_cents) == ("refunded", 2900)
    with pytest.raises(Refused, match="cannot be refunded"):
        payments.refund(payment, **WHO)


def test_refund_asked_for_twice_is_made_once(payment: Payment, world: StripeWorld) -> None:
    made = payments.refund(payment, amount_cents=900, **WHO).answer_id
    with pytest.raises(Notice, match=rf"sent before, for the refund of 9.00 USD .*: it is done, once \({made}\)"):
        payments.refund(payment, amount_cents=900, **WHO)
    deliver_new(world)
    payment.refresh_from_db()
    assert payment.refunded_cents == 900


def test_refund_that_failed_later_can_be_asked_for_again(payment: Payment, world: StripeWorld) -> None:
    first = payments.refund(payment, token="of-the-first-form", **WHO).answer_id
    deliver_new(world)
    # The bank sends it back days later: Stripe takes it off what is refunded of the charge.
    refund, charge = world.objects[str(first)], world.objects[str(payment.stripe_charge_id)]
    refund["status"] = "failed"
    charge.update(amount_refunded=0, refunded=False)
    world.emit("refund.failed", refund)
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_cents) == ("succeeded", 0)

    assert payments.refund(payment, token="of-the-second-form", **WHO).answer_id != first
    deliver_new(world)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_cents) == ("refunded", 2900)


@pytest.mark.parametrize(("amount", "told"), [(0, "0.00 USD"), (-1, "-0.01 USD"), (2901, "29.01 USD")])
def test_impossible_refund_is_refused(payment: Payment, amount: int, told: str) -> None:
    with pytest.raises(Refused, match=f"Between 0.01 USD and 29.00 USD can be refunded, not {told}"):
        payments.refund(payment, amount_cents=amount, **WHO)


def test_sync_brings_a_customer_back_in_line(signup: recordings.Recording, subscription: Subscription) -> None:
    Subscription.objects.filter(pk=subscription.pk).update(tier="enterprise", price_cents=1)
    Payment.objects.all().delete()
    customers.sync_customer(subscription.user, **WHO)
    assert_reached(signup.expected)
    with pytest.raises(Refused, match="no Stripe customer"):
        customers.sync_customer(factories.customer(), **WHO)


@pytest.fixture
def unmatched(world: StripeWorld, feed: Callable) -> recordings.Recording:
    """A customer at Stripe whose address belongs to somebody here: its events are parked."""
    recording = recordings.load("signup_paid")
    world.add(recording)
    factories.customer(email=recording.expected[0]["email"])
    feed(recording.events)
    assert UnmatchedCustomer.objects.exists()
    return recording


def test_linked_customer_is_synced_and_its_events_are_replayed(
    unmatched: recordings.Recording, world: StripeWorld
) -> None:
    customer_id = unmatched.expected[0]["stripe_customer_id"]
    user = User.objects.get(email=unmatched.expected[0]["email"])
    customers.link_customer(customer_id, user, **WHO)
    process_pending()
    assert_reached(unmatched.expected)
    assert not UnmatchedCustomer.objects.exists()
    assert not WebhookEvent.objects.exclude(status="processed").exists()
    assert world.objects[customer_id]["metadata"] == {"user_id": str(user.pk)}
    with pytest.raises(Refused, match="already belongs"):
        customers.link_customer(customer_id, factories.customer(), **WHO)


def test_customer_is_created_under_another_address(unmatched: recordings.Recording) -> None:
    customer_id = unmatched.expected[0]["stripe_customer_id"]
    with pytest.raises(Refused, match="belongs to another customer"):
        customers.create_customer(customer_id, **WHO)
    user = customers.create_customer(customer_id, email="other@example.com", **WHO)
    process_pending()
    user.refresh_from_db()
    assert user.email == "other@example.com"
    assert not WebhookEvent.objects.exclude(status="processed").exists()


def test_customer_that_somebody_else_is_at_work_on_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_lock, "WAIT", "50ms")
    customer_id, user = "cus_elsewhere", factories.customer()
    with session() as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('stripe:' || %s, 0))", [customer_id])
        for operation in (
            lambda: customers.link_customer(customer_id, user, **WHO),
            lambda: customers.create_customer(customer_id, **WHO),
        ):
            with pytest.raises(Refused, match=rf"at work on {customer_id} .* try again"):
                operation()


def test_unmapped_price_parks_and_mapping_it_repairs(world: StripeWorld, feed: Callable) -> None:
    recording = recordings.load("signup_paid")
    world.add(recording)
    price_id = recording.expected[0]["live_subscription"]["price"]
    for item in (world.objects[price_id], _price_of_subscription(world)):
        item.update(metadata={}, lookup_key=None)
    feed(recording.events)
    parked = WebhookEvent.objects.get(status="failed")
    assert price_id in str(parked.last_error)
    assert [price.stripe_price_id for price in prices.listed().unclaimed] == [price_id]

    assert prices.map_price(price_id, "starter", **WHO).replayed == 1
    process_pending()
    assert_reached(recording.expected)
    assert prices.listed().unclaimed == []


def _price_of_subscription(world: StripeWorld) -> dict[str, Any]:
    found = next(item for item in world.objects.values() if item["object"] == "subscription")
    return found["items"]["data"][0]["price"]


def test_price_mapped_to_another_plan_moves_who_has_it(
    signup: recordings.Recording, subscription: Subscription
) -> None:
    assert prices.map_price(str(subscription.stripe_price_id), "enterprise", **WHO).resynced == 1
    task = OrmQ.objects.order_by("-pk")[0]
    assert task.func() == "billing.tasks.resync_customer"
    tasks.resync_customer(*task.args())
    subscription.refresh_from_db()
    assert (subscription.tier, subscription.monthly_request_limit) == ("enterprise", None)


def test_sync_that_stripe_had_no_time_for_is_tried_again_later(
    signup: recordings.Recording, subscription: Subscription, stripe_server: StripeServer
) -> None:
    customer_id = str(subscription.user.stripe_customer_id)
    Payment.objects.all().delete()
    stripe_server.intercept = lambda method, path: (429, {"error": {"message": "slow down"}}, {})
    tasks.resync_customer(customer_id)
    again = Schedule.objects.get(func="billing.tasks.resync_customer")
    stripe_server.intercept = None
    tasks.resync_customer(*ast.literal_eval(again.args))
    assert_reached(signup.expected)
    stripe_server.intercept = lambda method, path: (429, {"error": {"message": "slow down"}}, {})
    with pytest.raises(TransientError):
        tasks.resync_customer(customer_id, tasks.ATTEMPTS)


def test_link_stays_when_stripe_does_not_answer_for_the_rest(
    unmatched: recordings.Recording, stripe_server: StripeServer
) -> None:
    user = User.objects.get(email=unmatched.expected[0]["email"])
    stripe_server.intercept = lambda method, path: (
        (503, {"error": {"message": "maintenance"}}, {}) if path == "/v1/subscriptions" else None
    )
    with pytest.raises(Refused, match="is linked, but not all of it"):
        customers.link_customer(unmatched.expected[0]["stripe_customer_id"], user, **WHO)
    stripe_server.intercept = None
    process_pending()
    assert_reached(unmatched.expected)


@pytest.mark.parametrize(("price", "tier"), [("", "starter"), ("price_1 2", "starter"), ("price_1", "gold")])
def test_nonsense_is_not_mapped(price: str, tier: str) -> None:
    with pytest.raises(Refused):
        prices.map_price(price, tier, **WHO)


@pytest.mark.parametrize("tier", ["starter", "none"])
@pytest.mark.parametrize("unknown", ["price_typo", "prod_typo"])
def test_what_stripe_does_not_know_is_not_mapped(world: StripeWorld, unknown: str, tier: str) -> None:
    with pytest.raises(Refused, match=f"Stripe knows no .* {unknown}"):
        prices.map_price(unknown, tier, **WHO)
    assert not PlanPrice.objects.exists()


def test_nothing_is_mapped_while_stripe_is_away(stripe_server: StripeServer) -> None:
    stripe_server.intercept = lambda method, path: (503, {"error": {"message": "maintenance"}}, {})
    with pytest.raises(Refused, match="Nothing was changed; try again"):
        prices.map_price("price_1", "starter", **WHO)
    assert not PlanPrice.objects.exists()


def test_price_that_customers_have_can_be_mapped_though_it_is_gone_at_stripe(
    world: StripeWorld, subscription: Subscription
) -> None:
    world.forget(str(subscription.stripe_price_id))
    assert prices.map_price(str(subscription.stripe_price_id), "enterprise", **WHO).resynced == 1


def test_orphans_are_previewed_and_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    user = factories.customer(stripe_customer_id="cus_orphan")
    Subscription.objects.filter(user=user).update(status="canceled", canceled_at=timezone.now())
    call_command("fix_orphans")
    assert "1 orphans found" in capsys.readouterr().out
    call_command("fix_orphans", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["applied"], [row["stripe_customer_id"] for row in report["orphans"]]) == (False, ["cus_orphan"])
    assert not user.subscriptions.filter(status="active").exists()
    call_command("fix_orphans", apply=True)
    assert user.subscriptions.get(status="active").tier == "free"
    assert audited("fix_orphan").actor == "command"
    assert orphans.fix(**WHO) == []
