"""What the browser finds: a customer from the recordings, and one of every trouble."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.test import override_settings
from django.utils import timezone

from billing.models import (
    Difference,
    Payment,
    ReconciliationRun,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import accounts, notes
from billing.stripe import gateway
from billing.stripe.events import inbox, processing, replay_runs
from billing.stripe.events.filter import EventFilter
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from monitoring.alerts import triage
from monitoring.models import Alert, JobSchedule
from tests.support import factories
from tests.support.sql import SQL


@dataclass
class Site:
    """The rows that the tests look for."""

    recorded: Subscription
    failed: WebhookEvent
    customer: User
    payment: Payment
    orphan: User
    alert: Alert
    world: StripeWorld
    url: str = ""


def create_site() -> Site:
    """Commit the site. What Stripe sent went the whole way: stored, processed, projected."""
    world = StripeWorld()
    recording = recordings.load("signup_paid")
    world.add(recording)
    with stripe(world):
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
    factories.requests(
        customer,
        60,
        method="POST",
        status_code=SQL("CASE WHEN n % 9 = 0 THEN 500 ELSE 200 END"),
        response_time_ms=SQL("40 + n"),
        created_at=SQL("now() - n * interval '1 minute'"),
    )
    notes.add(customer, author="support", body="Prefers to be called.")
    for number in range(3):
        factories.webhook_event(status="dead", payload={"data": {"object": {"customer": f"cus_{number}"}}})
    orphan = factories.customer(email="orphan@example.com", stripe_customer_id="cus_orphan")
    Subscription.objects.filter(user=orphan).delete()
    UnmatchedCustomer.objects.create(
        stripe_customer_id="cus_lost", email="lost@example.com", reason="No customer has it."
    )
    _create_rows_for_every_action(customer)
    return Site(
        recorded=recorded,
        failed=failed,
        customer=customer,
        payment=payment,
        orphan=orphan,
        alert=Alert.objects.get(state="firing"),
        world=world,
    )


def _create_rows_for_every_action(customer: User) -> None:
    """A row for each action that the rows so far do not call for."""
    walk_in = factories.customer(email="walk-in@example.com", name="Walk-in")
    accounts.suspend(walk_in, actor="support", reason="Paid by cheque")
    leaving = factories.customer(email="leaving@example.com", stripe_customer_id="cus_leaving")
    factories.subscription(leaving, cancel_at_period_end=True)
    factories.stripe_request(leaving)
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
        local_value="active",
        stripe_value="past_due",
    )
    for check in ("users_near_limit", "error_rate"):
        alert = factories.alert(
            fingerprint=f"{check}:{customer.pk}",
            alert_type=check,
            subject=str(customer.email),
            severity="warning",
            message="95 % of 10,000 requests are used.",
            remediation="Offer the next plan before the customer is refused.",
            fired_at=timezone.now() - timedelta(hours=2),
            object_type="user",
            object_id=str(customer.pk),
        )
    triage.acknowledge([alert.pk], actor="support", note="Asked the customer")
    JobSchedule.objects.filter(job="weekly").update(enabled=False)
    factories.stripe_price("price_unmapped")


def process_failed_event(site: Site) -> str | None:
    """What the worker does with the failed event."""
    with stripe(site.world):
        return processing.process(site.failed.stripe_event_id)


@contextmanager
def stripe(world: StripeWorld) -> Iterator[None]:
    """Stripe answers for as long as the block."""
    with StripeServer(world) as server, override_settings(STRIPE_API_HOST=server.url):
        gateway.configure()
        yield
    gateway.clear_cache()
