"""Synthetic data: exactly as much as asked for, counted by the triggers, with the troubles that are looked for."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from billing.models import ApiKey, ApiUsage, MonthlyUsageSummary, OpenInvoice, Payment, Subscription, User, WebhookEvent
from demo.seed import customers, seeding, usage
from glyphforge.audit.models import AuditEntry
from tests.support.sql import scalar

USERS, USAGE = 120, 3000
LIVE = [status.value for status in Subscription.LIVE]


@pytest.fixture(scope="class")
def seeded(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """One seeding for the tests of a class, undone after them."""
    with django_db_blocker.unblock(), transaction.atomic():
        seeding.seed(users=USERS, usage=USAGE)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def data(seeded: None, db: None) -> None:
    """The seeded database, for reading."""


@pytest.mark.usefixtures("data")
class TestSeededData:
    def test_there_are_exactly_as_many_customers_and_requests_as_asked_for(self) -> None:
        assert (User.objects.count(), ApiUsage.objects.count()) == (USERS, USAGE)

    def test_every_counter_agrees_with_a_recount(self) -> None:
        assert sum(MonthlyUsageSummary.objects.values_list("total_requests", flat=True)) == USAGE
        wrong_keys = scalar(
            "SELECT count(*) FROM api_keys AS k"
            " WHERE usage_count <> (SELECT count(*) FROM api_usage AS u WHERE u.api_key_id = k.id)"
        )
        assert wrong_keys == 0
        assert scalar("SELECT sync_subscription_usage()") == 0

    def test_nothing_waits_in_the_default_partition(self) -> None:
        assert scalar("SELECT count(*) FROM api_usage_default") == 0

    def test_each_customer_has_one_live_subscription_except_the_orphans(self) -> None:
        without = User.objects.exclude(
            pk__in=Subscription.objects.filter(status__in=LIVE, is_duplicate=False).values("user")
        ).exclude(status=User.Status.DELETED)
        assert without.count() == 1
        assert all(user.stripe_customer_id for user in without)

    def test_each_subscription_in_arrears_has_the_invoice_that_it_owes(self) -> None:
        late = Subscription.objects.filter(status__in=["past_due", "unpaid"])
        assert late.exists()
        assert set(OpenInvoice.objects.values_list("subscription", flat=True)) == set(late.values_list("pk", flat=True))

    @pytest.mark.parametrize(
        "view",
        [
            "v_orphaned_stripe_customers",
            "v_stale_subscriptions",
            "v_failed_webhook_events",
            "v_paid_users_without_keys",
            "v_users_near_limit",
            "v_repeated_failures",
            "v_slow_endpoints",
            "v_payments_at_risk",
            "v_payment_recovery",
        ],
    )
    def test_monitoring_finds_the_trouble_it_is_for(self, view: str) -> None:
        assert scalar(f"SELECT count(*) FROM {view}") > 0

    def test_usage_is_skewed_as_in_life(self) -> None:
        top = scalar(
            "SELECT sum(n) FROM (SELECT count(*) AS n FROM api_usage GROUP BY user_id ORDER BY n DESC LIMIT 12) AS t"
        )
        assert top > USAGE * 0.4

    def test_nothing_happens_before_its_customer_existed_or_after_now(self) -> None:
        impossible = scalar(
            "SELECT count(*) FROM api_usage AS r JOIN users AS u ON u.id = r.user_id"
            " WHERE r.created_at < u.created_at OR r.created_at > clock_timestamp()"
        )
        assert impossible == 0
        assert not Payment.objects.filter(created_at__gt=scalar("SELECT clock_timestamp()")).exists()

    def test_events_that_a_retry_repairs_carry_what_stripe_knows(self) -> None:
        retriable = WebhookEvent.objects.filter(event_type="customer.subscription.updated")
        assert {event.status for event in retriable} == {WebhookEvent.Status.FAILED}
        assert all(event.payload["id"] == event.stripe_event_id for event in retriable)

    def test_no_key_can_be_guessed_from_its_row(self) -> None:
        key = ApiKey.objects.all()[0]
        assert key.key_hash.startswith("$2b$12$")
        assert len(key.key_hash) == 60

    def test_every_change_names_the_seeding_as_its_actor(self) -> None:
        changes = AuditEntry.objects.exclude(actor="migrate").exclude(table_name="health_checks")
        assert set(changes.values_list("actor", flat=True)) == {seeding.ACTION}

    def test_a_second_run_says_so_and_writes_nothing(self, capsys: pytest.CaptureFixture[str], settings: Any) -> None:
        settings.DEBUG = True
        call_command("seed_demo", users=5, usage=5)
        assert "has demo data already" in capsys.readouterr().out
        assert User.objects.count() == USERS

    def test_more_adds_other_people(self, settings: Any) -> None:
        settings.DEBUG = True
        call_command("seed_demo", users=7, usage=11, more=True)
        assert (User.objects.count(), ApiUsage.objects.count()) == (USERS + 7, USAGE + 11)


@pytest.mark.parametrize(("users", "usage"), [(1, 0), (1, 5), (3, 40), (12, 0)])
@pytest.mark.django_db
def test_tiny_sizes_are_exact_too(users: int, usage: int) -> None:
    seeding.seed(users=users, usage=usage)
    assert (User.objects.count(), ApiUsage.objects.count()) == (users, usage)


@pytest.mark.django_db
def test_a_database_that_may_be_real_is_refused_unless_forced(settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG is off"):
        call_command("seed_demo", users=2, usage=2)
    assert not User.objects.exists()
    call_command("seed_demo", users=2, usage=2, force=True)
    assert User.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "named"), [({"users": 0}, "--users: 0"), ({"users": 1, "usage": -1}, "--usage: -1")]
)
def test_impossible_sizes_are_named(arguments: dict[str, int], named: str, settings: Any) -> None:
    settings.DEBUG = True
    with pytest.raises(CommandError, match=named):
        call_command("seed_demo", **arguments)


@pytest.mark.parametrize("day", [1, 15, 28, 31])
@pytest.mark.parametrize(("size", "requests"), [(3000, 20_000), (1000, 60_000)])
def test_nobody_makes_requests_before_they_signed_up(day: int, size: int, requests: int) -> None:
    now, rng = datetime(2026, 12, day, 12, tzinfo=UTC), random.Random(1)
    # Many have customers who are near their limit and young; few with many requests pass on what is beyond it.
    people = customers.generate(rng, size, first_number=1, now=now)
    signed_up = {str(customer.id): customer.created_at for customer in people}
    early = [
        one
        for one in usage.Traffic(rng, people, requests, now).requests()
        if datetime.fromisoformat(one.created_at) < signed_up[one.user_id]
    ]
    assert early == []
