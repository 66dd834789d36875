"""Orphans, stale subscriptions, paying customers without keys and customers near their limit."""

import pytest

from tests.support import factories
from tests.support.sql import SQL, ago, one, query

pytestmark = pytest.mark.django_db

ORPHANS = "SELECT user_id FROM v_orphaned_stripe_customers"
NEAR = "SELECT usage_count, monthly_request_limit, percent_used FROM v_users_near_limit WHERE user_id = %s"


def cancel(user_id: object) -> None:
    query("UPDATE subscriptions SET status = 'canceled' WHERE user_id = %s", user_id)


def test_stripe_customer_without_live_subscription_is_orphaned_until_fixed() -> None:
    user = factories.customer(stripe_customer_id="cus_1").pk
    assert query(ORPHANS) == []
    cancel(user)
    assert query(ORPHANS) == [{"user_id": user}]
    query("SELECT * FROM fix_orphaned_stripe_customers()")
    assert query(ORPHANS) == []


@pytest.mark.parametrize("status", ["trialing", "active", "past_due", "unpaid", "paused"])
def test_any_live_status_is_no_orphan(status: str) -> None:
    factories.subscription(factories.customer(stripe_customer_id="cus_1"), status=status)
    assert query(ORPHANS) == []


def test_a_duplicate_does_not_save_from_being_orphaned() -> None:
    user = factories.customer(stripe_customer_id="cus_1").pk
    cancel(user)
    factories.subscription(user, is_duplicate=True)
    assert query(ORPHANS) == [{"user_id": user}]


def test_suspended_customers_can_be_orphans_and_deleted_ones_or_those_unknown_to_stripe_cannot() -> None:
    suspended = factories.customer(stripe_customer_id="cus_1", status="suspended").pk
    deleted = factories.customer(stripe_customer_id="cus_2", status="deleted").pk
    unknown = factories.customer().pk
    for user in (suspended, deleted, unknown):
        cancel(user)
    assert query(ORPHANS) == [{"user_id": suspended}]


def test_subscription_past_its_end_is_stale_with_days_overdue() -> None:
    late = factories.subscription(current_period_end=ago("3 days 12 hours")).pk
    row = one("SELECT * FROM v_stale_subscriptions")
    assert (row["subscription_id"], row["status"], float(row["days_overdue"])) == (late, "active", 3.5)


@pytest.mark.parametrize(
    ("values", "is_stale"),
    [
        ({"status": "trialing", "current_period_end": ago("1 minute")}, True),
        ({"status": "past_due", "current_period_end": ago("9 days")}, False),
        ({"status": "canceled", "current_period_end": ago("9 days")}, False),
        ({"current_period_end": ago("-1 minute")}, False),
        ({"current_period_end": None}, False),
    ],
)
def test_only_active_and_trialing_ones_past_their_end_are_stale(values: dict, is_stale: bool) -> None:
    factories.subscription(**values)
    assert bool(query("SELECT 1 FROM v_stale_subscriptions")) is is_stale


def test_paying_customer_is_without_keys_until_one_works() -> None:
    view = "SELECT user_id, tier FROM v_paid_users_without_keys"
    user = factories.subscription().user_id
    assert query(view) == [{"user_id": user, "tier": "starter"}]
    factories.api_key(user, revoked_at=ago("1 day"))
    factories.api_key(user, expires_at=ago("1 day"))
    assert len(query(view)) == 1
    factories.api_key(user, expires_at=ago("-1 day"))
    assert query(view) == []


def test_free_trialing_duplicate_and_suspended_ones_need_no_key() -> None:
    factories.customer()
    factories.subscription(status="trialing")
    factories.subscription(is_duplicate=True)
    query("UPDATE users SET status = 'suspended' WHERE id = %s", factories.subscription().user_id)
    assert query("SELECT 1 FROM v_paid_users_without_keys") == []


def test_customer_is_near_the_limit_from_80_percent_at_once_and_after_the_fold() -> None:
    user = factories.customer().pk
    factories.requests(user, 79)
    assert query(NEAR, user) == []
    factories.requests(user, 1)
    expected = {"usage_count": 80, "monthly_request_limit": 100, "percent_used": 80}
    assert one(NEAR, user) == expected
    query("SELECT roll_up_usage()")
    assert one(NEAR, user) == expected
    factories.requests(user, 70)
    assert one(NEAR, user)["percent_used"] == 150


def test_half_folded_usage_adds_up() -> None:
    user = factories.customer().pk
    factories.requests(user, 50)
    query("SELECT roll_up_usage()")
    factories.requests(user, 35)
    assert one(NEAR, user)["usage_count"] == 85


def test_last_months_usage_does_not_count() -> None:
    user = factories.customer().pk
    opens = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    factories.requests(user, 100, created_at=SQL(f"{opens} - interval '1 second'"))
    assert query(NEAR, user) == []
    factories.requests(user, 90, created_at=SQL(opens))
    assert one(NEAR, user)["usage_count"] == 90


def test_stored_usage_count_is_not_trusted() -> None:
    user = factories.customer().pk
    factories.subscription(user, monthly_request_limit=100, usage_count=99)
    assert query(NEAR, user) == []


def test_unlimited_is_never_near_and_a_zero_limit_is_used_up_by_one_request() -> None:
    unlimited, none, idle = factories.customer().pk, factories.customer().pk, factories.customer().pk
    factories.subscription(unlimited, tier="enterprise")
    for user in (none, idle):
        factories.subscription(user, monthly_request_limit=0)
    factories.requests(unlimited, 1000)
    factories.requests(none, 1)
    assert query(NEAR, unlimited) == query(NEAR, idle) == []
    assert one(NEAR, none) == {"usage_count": 1, "monthly_request_limit": 0, "percent_used": 100}


def test_a_duplicates_limit_and_deleted_customers_do_not_matter() -> None:
    user, deleted = factories.customer().pk, factories.customer().pk
    factories.subscription(user, is_duplicate=True, monthly_request_limit=10)
    factories.requests(user, 10)
    factories.requests(deleted, 100)
    query("UPDATE users SET status = 'deleted' WHERE id = %s", deleted)
    assert query("SELECT 1 FROM v_users_near_limit") == []
