"""Differences with Stripe and replays, as staff see and repair them."""

from collections.abc import Callable

import pytest
from django.test import Client

from billing.models import Difference, Payment, ReconciliationRun, ReplayRun, WebhookEvent
from billing.services import reconciliation
from billing.stripe.events import replay_runs
from billing.stripe.events.filter import EventFilter
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db
WHO = {"actor": "job", "reason": "daily"}


@pytest.fixture
def support(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("support")


@pytest.fixture
def difference(world: StripeWorld) -> Difference:
    stream = EventStream(world).signed_up()
    Payment.objects.update(refunded_cents=700)
    WebhookEvent.objects.update(status="processed")
    world.events = [event for event in world.events if event["type"] in ("customer.created", "charge.succeeded")]
    reconciliation.run(**WHO)
    assert stream.payment.refunded_cents == 700
    return Difference.objects.get()


def test_difference_says_what_is_local_and_at_stripe(support: Client, difference: Difference) -> None:
    for page in (page_of(difference), row_page(difference)):
        text = support.get(page).content.decode()
        assert "refunded_cents" in text
        assert "700" in text


def test_difference_is_repaired_after_a_confirmation(support: Client, difference: Difference) -> None:
    url = row_page(difference, "repair")
    assert "700 locally, 0 at Stripe" in support.get(url).content.decode()
    support.post(url, CONFIRMED)
    difference.refresh_from_db()
    assert difference.status == "repaired"
    assert Payment.objects.get().refunded_cents == 0
    assert AuditEntry.objects.filter(action="repair_difference", reason="Ticket 4711").exists()


def test_all_open_differences_are_repaired_at_once(support: Client, difference: Difference) -> None:
    support.post(page_of(difference, "repair_all"), CONFIRMED)
    assert not Difference.objects.filter(status="open").exists()


def test_run_shows_how_far_it_came(support: Client, difference: Difference) -> None:
    text = support.get(page_of(difference.run)).content.decode()
    assert "Finished" in text
    assert support.get(row_page(difference.run)).status_code == 200
    ReconciliationRun.objects.update(status="paused", compared=1_200, to_compare=5_400)
    for page in (page_of(difference.run), row_page(difference.run)):
        text = support.get(page).content.decode()
        assert "1,200 of about 5,400" in text
        assert "left open" in text.lower()


def test_replay_shows_its_progress_and_can_be_stopped(support: Client) -> None:
    factories.webhook_event()
    run = replay_runs.start(EventFilter(), **WHO)
    assert "0 %" in support.get(page_of(run)).content.decode()
    assert "statuses" in support.get(row_page(run)).content.decode()
    support.post(row_page(run, "stop"), CONFIRMED)
    assert ReplayRun.objects.get().status == "stopped"


@pytest.mark.parametrize("model", [Difference, ReplayRun])
def test_auditor_reads_and_does_nothing(
    signed_in: Callable[[str], Client], difference: Difference, model: type[Difference] | type[ReplayRun]
) -> None:
    auditor = signed_in("auditor")
    assert auditor.get(page_of(model)).status_code == 200
    assert auditor.post(row_page(difference, "repair"), CONFIRMED).status_code == 403


def test_lists_cost_a_fixed_number_of_queries(
    support: Client, difference: Difference, django_assert_max_num_queries: Callable
) -> None:
    for number in range(20):
        Difference.objects.create(run=difference.run, user=difference.user, kind="differs", stripe_id=f"ch_{number}")
    with django_assert_max_num_queries(13):
        support.get(page_of(difference))
