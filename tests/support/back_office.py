"""What the browser finds: a customer from the recordings, and one of every trouble."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.test import override_settings
from django.utils import timezone
from djstripe.models import Price, Product

from billing.demo import recordings
from billing.demo.stripe_server import StripeServer
from billing.demo.stripe_world import StripeWorld
from billing.models import (
    ApiUsage,
    Difference,
    Payment,
    ReconciliationRun,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import accounts, notes, replay_runs
from billing.services.event_filter import EventFilter
from billing.stripe import gateway, inbox, processing
from monitoring.alerts import handling
from monitoring.models import Alert, JobSchedule
from tests import factories


@dataclass
class Scene:
    """The rows that the tests look for."""

    recorded: Subscription
    failed: WebhookEvent
    customer: User
    payment: Payment
    orphan: User
    alert: Alert
    world: StripeWorld
    url: str = ""


def stage() -> Scene:
    """Commit the scene. What Stripe sent went the whole way: stored, processed, projected."""
    world = StripeWorld()
    recording = recordings.load("signup_paid")
    world.add(recording)
    with _stripe(world):
        for event in recording.events:
            inbox.store(event)
            processing.process(event["id"])
    recorded = Subscription.objects.get(stripe_subscription_id__isnull=False)
    failed = WebhookEvent.objects.filter(event_type="customer.subscription.created").get()
    WebhookEvent.objects.filter(pk=failed.pk).update(
        status="failed",
        attempts=3,
        last_error="Stripe did not answer in time.",
        next_retry_at=timezone.now(),
        processed_at=None,
    )

    customer = factories.customer(email="ada@example.com", name="Ada Lovelace", stripe_customer_id="cus_ada")
    factories.subscription(customer)
    for _ in range(3):
        payment = factories.payment(customer)
    for environment in ("production", "development"):
        factories.issued_key(customer, environment=environment)
    for minute in range(60):
        ApiUsage.objects.create(
            user=customer,
            endpoint="/v1/glyphs",
            method="POST",
            status_code=500 if minute % 9 == 0 else 200,
            response_time_ms=40 + minute,
            created_at=timezone.now() - timedelta(minutes=minute),
        )
    notes.add(customer, author="support", body="Prefers to be called.")
    for number in range(3):
        factories.webhook_event(status="dead", payload={"data": {"object": {"customer": f"cus_{number}"}}})
    orphan = factories.customer(email="orphan@example.com", stripe_customer_id="cus_orphan")
    Subscription.objects.filter(user=orphan).delete()
    UnmatchedCustomer.objects.create(stripe_customer_id="cus_lost", email="lost@example.com", reason="No user has it.")
    _everything_to_be_done(customer)
    return Scene(
        recorded=recorded,
        failed=failed,
        customer=customer,
        payment=payment,
        orphan=orphan,
        alert=Alert.objects.get(state="firing"),
        world=world,
    )


def _everything_to_be_done(customer: User) -> None:
    """A row for each action that the rows so far do not call for."""
    walk_in = factories.customer(email="walk-in@example.com", name="Walk-in")
    accounts.suspend(walk_in, actor="support", reason="Paid by cheque")
    leaving = factories.customer(email="leaving@example.com", stripe_customer_id="cus_leaving")
    factories.subscription(leaving, cancel_at_period_end=True)
    replay_runs.start(EventFilter(), actor="support", reason="Stripe was down")
    run = ReconciliationRun.objects.create(
        events_from=timezone.now() - timedelta(days=1),
        events_until=timezone.now(),
        request_budget=100,
        actor="job",
        reason="daily",
    )
    Difference.objects.create(
        run=run,
        user=customer,
        kind="differs",
        object_kind="subscription",
        stripe_id="sub_differs",
        field="status",
        here="active",
        there="past_due",
    )
    for check in ("users_near_limit", "error_rate"):
        alert = Alert.objects.create(
            fingerprint=f"{check}:{customer.pk}",
            alert_type=check,
            subject=str(customer.email),
            severity="warning",
            state="firing",
            message="95 % of 10,000 requests are used.",
            remediation="Offer the next plan before the customer is refused.",
            fired_at=timezone.now() - timedelta(hours=2),
            object_type="user",
            object_id=str(customer.pk),
        )
    handling.acknowledge([alert.pk], actor="support", note="Asked the customer")
    JobSchedule.objects.filter(job="weekly").update(enabled=False)
    Product.objects.create(id="prod_new", name="Starter", livemode=False, stripe_data={})
    Price.objects.create(
        id="price_unmapped",
        product_id="prod_new",
        active=True,
        currency="usd",
        livemode=False,
        stripe_data={
            "id": "price_unmapped",
            "active": True,
            "type": "recurring",
            "product": "prod_new",
            "currency": "usd",
            "unit_amount": 24900,
            "recurring": {"interval": "year", "interval_count": 1},
        },
    )


def work_off(scene: Scene) -> str | None:
    """What the worker does with the failed event."""
    with _stripe(scene.world):
        return processing.process(scene.failed.stripe_event_id)


@contextmanager
def _stripe(world: StripeWorld) -> Iterator[None]:
    with StripeServer(world) as server, override_settings(STRIPE_API_HOST=server.url):
        gateway.configure()
        yield
    gateway.forget()
