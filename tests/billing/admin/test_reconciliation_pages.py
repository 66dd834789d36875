"""Differences with Stripe and replays, as staff see and settle them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.demo.stripe_world import StripeWorld
from billing.models import AuditEntry, Difference, Payment, ReplayRun, WebhookEvent
from billing.services import reconciliation, replay_runs
from billing.services.event_filter import EventFilter
from tests.billing.stripe.story import Story

pytestmark = pytest.mark.django_db
CONFIRMED = {"confirmed": "yes", "reason": "Ticket 4711"}
WHO = {"actor": "job", "reason": "daily"}


@pytest.fixture
def support(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("support")


@pytest.fixture
def difference(world: StripeWorld) -> Difference:
    story = Story(world).signed_up()
    Payment.objects.update(refunded_cents=700)
    WebhookEvent.objects.update(status="processed")
    world.events = [event for event in world.events if event["type"] in ("customer.created", "charge.succeeded")]
    reconciliation.run(**WHO)
    assert story.payment.refunded_cents == 700
    return Difference.objects.get()


def address(row: Any, page: str, *args: Any) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{page}", args=args)


def test_difference_says_what_is_here_and_there(support: Client, difference: Difference) -> None:
    for page in (address(difference, "changelist"), address(difference, "change", difference.pk)):
        text = support.get(page).content.decode()
        assert "refunded_cents" in text
        assert "700" in text


def test_difference_is_healed_after_a_confirmation(support: Client, difference: Difference) -> None:
    url = address(difference, "heal", difference.pk)
    assert "700 here, 0 at Stripe" in support.get(url).content.decode()
    support.post(url, CONFIRMED)
    difference.refresh_from_db()
    assert difference.status == "healed"
    assert Payment.objects.get().refunded_cents == 0
    assert AuditEntry.objects.filter(action="heal_difference", reason="Ticket 4711").exists()


def test_all_open_differences_are_healed_at_once(support: Client, difference: Difference) -> None:
    support.post(address(difference, "heal_all"), CONFIRMED)
    assert not Difference.objects.filter(status="open").exists()


def test_run_shows_how_far_it_came(support: Client, difference: Difference) -> None:
    text = support.get(address(difference.run, "changelist")).content.decode()
    assert "Finished" in text
    assert support.get(address(difference.run, "change", difference.run.pk)).status_code == 200


def test_replay_shows_its_progress_and_can_be_stopped(support: Client) -> None:
    WebhookEvent.objects.create(stripe_event_id="evt_1", status="failed")
    run = replay_runs.start(EventFilter(), **WHO)
    assert "0 %" in support.get(address(run, "changelist")).content.decode()
    assert "statuses" in support.get(address(run, "change", run.pk)).content.decode()
    support.post(address(run, "stop", run.pk), CONFIRMED)
    assert ReplayRun.objects.get().status == "stopped"


@pytest.mark.parametrize("model", [Difference, ReplayRun])
def test_auditor_reads_and_does_nothing(
    signed_in: Callable[[str], Client], difference: Difference, model: type[Difference] | type[ReplayRun]
) -> None:
    auditor = signed_in("auditor")
    assert auditor.get(address(model, "changelist")).status_code == 200
    assert auditor.post(address(difference, "heal", difference.pk), CONFIRMED).status_code == 403


def test_lists_cost_a_fixed_number_of_queries(
    support: Client, difference: Difference, django_assert_max_num_queries: Callable
) -> None:
    for number in range(20):
        Difference.objects.create(run=difference.run, user=difference.user, kind="differs", stripe_id=f"ch_{number}")
    with django_assert_max_num_queries(12):
        support.get(address(difference, "changelist"))
