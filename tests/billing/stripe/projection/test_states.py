"""Of several live subscriptions the one with the better status counts; nothing of a subscription's state is lost."""

import itertools
from datetime import UTC, datetime

import pytest

from billing.models import Subscription, User
from glyphforge.audit.models import AuditEntry
from glyphforge.rows import Json
from tests.support.event_stream import EventStream, price
from tests.support.sql import query

pytestmark = pytest.mark.django_db

BEST_FIRST = ("active", "past_due", "trialing", "paused", "unpaid")
DAY = 86_400


def moment(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


@pytest.fixture
def dearer(stream: EventStream) -> Json:
    """A second subscription of the customer's at Stripe, of the higher plan and younger."""
    second = stream.copy_of(stream.subscription, id="sub_dearer", created=stream.subscription["created"] + 60)
    second["items"]["data"][0].update(id="si_dearer", price=price(stream.world, "professional_monthly"))
    return second


def counting(user: User) -> list[str]:
    live = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, is_duplicate=False)
    return list(live.values_list("tier", flat=True))


@pytest.mark.parametrize(("cheap", "dear"), list(itertools.product(BEST_FIRST, repeat=2)))
def test_better_status_counts_before_the_higher_plan(stream: EventStream, dearer: Json, cheap: str, dear: str) -> None:
    dearer["status"] = dear
    stream.announce("customer.subscription.created", dearer)
    stream.update(status=cheap)
    expected = "professional" if BEST_FIRST.index(dear) <= BEST_FIRST.index(cheap) else "starter"
    assert counting(stream.user) == [expected]
    duplicates = Subscription.objects.filter(user=stream.user, is_duplicate=True)
    assert duplicates.count() == 1
    stream.announce("customer.subscription.updated", dearer)
    assert counting(stream.user) == [expected]


def test_unpaid_dearer_plan_takes_nothing_from_the_paid_one(stream: EventStream, dearer: Json) -> None:
    dearer["status"] = "unpaid"
    stream.announce("customer.subscription.created", dearer)
    (row,) = query("SELECT mrr_cents, paying_customers FROM v_revenue_metrics")
    assert row == {"mrr_cents": 2900, "paying_customers": 1}
    dearer["status"] = "active"
    stream.announce("customer.subscription.updated", dearer)
    assert query("SELECT mrr_cents FROM v_revenue_metrics") == [{"mrr_cents": 9900}]


@pytest.mark.parametrize("days", [5, 200])
def test_end_at_a_moment_is_kept_within_and_beyond_the_period(stream: EventStream, days: int) -> None:
    now = stream.item["current_period_start"]
    stream.item["current_period_end"] = now + 20 * DAY
    stream.update(cancel_at=now + days * DAY, canceled_at=now)
    assert (stream.row.cancel_at, stream.row.cancel_at_period_end) == (moment(now + days * DAY), False)
    assert stream.row.is_set_to_end
    stream.update(cancel_at=None, canceled_at=None)
    assert not stream.row.is_set_to_end


@pytest.mark.parametrize("says_when", [True, False])
def test_end_with_the_period_has_its_moment(stream: EventStream, says_when: bool) -> None:
    ends = stream.item["current_period_end"]
    stream.update(cancel_at_period_end=True, cancel_at=ends if says_when else None)
    assert (stream.row.cancel_at_period_end, stream.row.cancel_at) == (True, moment(ends))


@pytest.mark.parametrize("behavior", ["keep_as_draft", "mark_uncollectible", "void"])
def test_paused_collection_is_seen_and_ends(stream: EventStream, behavior: str) -> None:
    stream.update(pause_collection={"behavior": behavior, "resumes_at": 1_800_000_000})
    assert (stream.row.collection_paused, stream.row.collection_resumes_at) == (behavior, moment(1_800_000_000))
    stream.update(pause_collection={"behavior": behavior, "resumes_at": None})
    assert (stream.row.collection_paused, stream.row.collection_resumes_at) == (behavior, None)
    stream.update(pause_collection=None)
    assert (stream.row.collection_paused, stream.row.status) == (None, "active")


@pytest.mark.parametrize("expanded", [True, False])
def test_schedule_that_manages_it_is_seen(stream: EventStream, expanded: bool) -> None:
    stream.update(schedule={"id": "sub_sched_1", "object": "subscription_schedule"} if expanded else "sub_sched_1")
    assert stream.row.stripe_schedule_id == "sub_sched_1"
    stream.update(schedule=None)
    assert stream.row.stripe_schedule_id is None


def test_changed_state_is_in_the_audit_log(stream: EventStream) -> None:
    stream.update(
        cancel_at=1_900_000_000, pause_collection={"behavior": "void", "resumes_at": None}, schedule="sub_s_1"
    )
    entry = AuditEntry.objects.filter(table_name="subscriptions", row_id=str(stream.row.pk)).latest("id")
    assert {"cancel_at", "collection_paused", "stripe_schedule_id"} <= entry.new_values.keys()
