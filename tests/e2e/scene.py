"""What the browser finds: a customer from the recordings, and one of every trouble."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.test import override_settings
from django.utils import timezone

from billing.demo import recordings
from billing.demo.stripe_server import StripeServer
from billing.demo.stripe_world import StripeWorld
from billing.models import ApiUsage, Payment, Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import notes
from billing.stripe import gateway, inbox, processing
from tests import factories


@dataclass
class Scene:
    """The rows that the tests look for."""

    recorded: Subscription
    failed: WebhookEvent
    customer: User
    payment: Payment
    orphan: User
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
    return Scene(recorded=recorded, failed=failed, customer=customer, payment=payment, orphan=orphan, world=world)


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
