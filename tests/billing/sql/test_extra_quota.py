"""Extra quota in check_rate_limit(), the leases and the views, and what its table refuses."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from billing.models import Entitlement, ExtraQuota
from billing.services import rate_limits
from glyphforge.audit.models import AuditEntry
from tests.support import factories
from tests.support.sql import SQL, Run, ago, insert, query, scalar
from tests.support.waiting import wait_for_room

pytestmark = pytest.mark.one_day
FUTURE = {"ends_at": ago("-1 hour"), "reason": "a fair", "granted_by": "ada"}


@pytest.fixture(autouse=True)
def _small_plan(run: Run) -> None:
    wait_for_room(60, 10)
    run("UPDATE plans SET rate_limit_per_minute = 50, monthly_request_limit = 4 WHERE tier = 'free'")


def grant(user: str, **values: Any) -> Any:
    return insert("entitlement_grants", user_id=user, **FUTURE | values)["id"]


def reasons(run: Run, key: str, checks: int) -> list[str]:
    return [run("SELECT reason FROM check_rate_limit(%s)", key)[0][0] for _ in range(checks)]


def test_month_has_what_is_granted_more_and_no_request_beyond(run: Run, user: str, key: str) -> None:
    grant(user, extra_requests=3)
    grant(user, extra_requests=1)
    assert run("SELECT remaining FROM check_rate_limit(%s)", key) == [(7,)]
    assert reasons(run, key, 8) == ["ok"] * 7 + ["quota"]


def test_minute_has_what_is_granted_more(run: Run, user: str, key: str) -> None:
    run("UPDATE plans SET rate_limit_per_minute = 2, monthly_request_limit = 100 WHERE tier = 'free'")
    grant(user, extra_per_minute=1)
    assert reasons(run, key, 4) == ["ok", "ok", "ok", "rate"]


def test_lease_has_what_is_granted_and_ends_with_it(run: Run, user: str, key: str) -> None:
    ends_at = scalar("SELECT clock_timestamp() + interval '2 seconds'")
    grant(user, extra_requests=3, ends_at=ends_at)
    grant(user, extra_requests=1)
    assert run("SELECT granted, expires_at <= %s, reason FROM lease_rate_limit(%s, 100)", ends_at, key) == [
        (8, True, "ok")
    ]


@pytest.mark.parametrize(
    ("begins", "ends", "in_force"),
    [
        ("now() - interval '1 hour'", "clock_timestamp() + interval '1 minute'", True),
        ("now() - interval '1 hour'", "clock_timestamp()", False),
        ("clock_timestamp() + interval '1 minute'", "now() + interval '1 hour'", False),
        ("clock_timestamp()", "now() + interval '1 hour'", True),
    ],
)
def test_it_counts_from_its_first_moment_until_before_its_end(
    user: str, key: str, begins: str, ends: str, in_force: bool
) -> None:
    grant(user, extra_requests=2, starts_at=SQL(begins), ends_at=SQL(ends))
    assert scalar("SELECT remaining FROM check_rate_limit(%s)", key) == (5 if in_force else 3)


@pytest.mark.parametrize(
    ("begins", "ends", "limit"), [("0", "-1 hour", 6), ("1 hour", "0", 4), ("-1 hour", "-2 hours", 4)]
)
def test_views_go_by_the_same_moments(user: str, begins: str, ends: str, limit: int) -> None:
    grant(user, extra_requests=2, starts_at=ago(begins), ends_at=ago(ends))
    assert Entitlement.objects.get(user=user).monthly_request_limit == limit


def test_grant_for_a_key_is_that_keys_alone(run: Run, user: str, key: str) -> None:
    other = str(factories.api_key(user).pk)
    grant(user, api_key_id=key, extra_requests=2)
    assert reasons(run, other, 5) == ["ok"] * 4 + ["quota"]
    assert reasons(run, key, 3) == ["ok", "ok", "quota"]
    assert Entitlement.objects.get(user=user).monthly_request_limit == 4


def test_grant_ended_early_or_over_leaves_the_plans_limit_at_once(run: Run, user: str, key: str) -> None:
    granted = grant(user, extra_requests=2)
    assert reasons(run, key, 5) == ["ok"] * 5
    run("UPDATE entitlement_grants SET ends_at = clock_timestamp() WHERE id = %s", granted)
    assert reasons(run, key, 1) == ["quota"]
    assert rate_limits.check(factories.api_key(user).pk).reason == "quota"


def test_unlimited_stays_unlimited_and_who_has_no_subscription_has_the_free_plans(
    run: Run, user: str, key: str
) -> None:
    grant(user, extra_requests=2, extra_per_minute=1)
    run("UPDATE subscriptions SET status = 'canceled'")
    assert run("SELECT remaining FROM check_rate_limit(%s)", key) == [(5,)]
    run("UPDATE subscriptions SET status = 'active', tier = 'enterprise'")
    assert run("SELECT remaining FROM check_rate_limit(%s)", key) == [(999,)]
    assert Entitlement.objects.values_list("monthly_request_limit", "rate_limit_per_minute").get(user=user) == (
        None, 1001,
    )  # fmt: skip


def test_largest_limit_with_the_largest_grants_is_the_largest(run: Run, user: str, key: str) -> None:
    run("UPDATE subscriptions SET monthly_request_limit = 9223372036854775807")
    for _ in range(2):
        grant(user, extra_requests=10**15, extra_per_minute=10**9)
    assert run("SELECT allowed FROM check_rate_limit(%s)", key) == [(True,)]
    assert Entitlement.objects.get(user=user).monthly_request_limit == 2**63 - 1


def test_near_limit_and_alert_use_the_limit_with_what_is_granted(run: Run, user: str) -> None:
    factories.requests(user, 4)
    near = "SELECT usage_count, monthly_request_limit, percent_used FROM v_users_near_limit"
    assert query(near) == [{"usage_count": 4, "monthly_request_limit": 4, "percent_used": 100}]
    grant(user, extra_requests=1)
    assert query(near) == [{"usage_count": 4, "monthly_request_limit": 5, "percent_used": 80}]
    grant(user, extra_requests=1)
    assert query(near) == []
    assert query("SELECT 1 FROM v_alerts WHERE alert_type = 'users_near_limit'") == []


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"extra_requests": 1, "ends_at": ago("1 hour")}, "entitlement_grants_ends_after_start"),
        ({"extra_requests": 0}, "entitlement_grants_something_granted"),
        ({"extra_requests": -1, "extra_per_minute": 5}, "entitlement_grants_not_negative"),
        ({"extra_requests": 1, "reason": ""}, "entitlement_grants_reason_given"),
        ({"extra_requests": 1, "granted_by": ""}, "entitlement_grants_granted_by_given"),
        ({"extra_requests": 10**15 + 1}, "entitlement_grants_possible"),
        ({"extra_requests": 1, "ends_at": ago("-1000 years")}, "entitlement_grants_times_plausible"),
    ],
)
def test_table_refuses_what_grants_nothing_or_never_ends(user: str, values: Any, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        grant(user, **values)


def test_key_of_another_customer_is_refused(user: str) -> None:
    key = factories.api_key().pk
    with pytest.raises(IntegrityError, match=f"customer {user} has no API key {key}"), transaction.atomic():
        grant(user, api_key_id=key, extra_requests=1)


def test_each_change_by_sql_is_in_the_audit_log(run: Run, user: str) -> None:
    run("SELECT set_config('app.actor', 'psql-ada', true), set_config('app.reason', 'a fair', true)")
    run("INSERT INTO entitlement_grants (user_id, extra_requests, ends_at, reason)"
        " VALUES (%s, 5, now() + interval '1 day', 'a fair')", user)  # fmt: skip
    row = ExtraQuota.objects.get()
    assert row.granted_by == "psql-ada"
    run("UPDATE entitlement_grants SET ends_at = now() + interval '1 hour'")
    run("DELETE FROM entitlement_grants")
    entries = AuditEntry.objects.filter(table_name="entitlement_grants").order_by("id")
    assert [(entry.action, entry.actor, entry.reason, entry.row_id) for entry in entries] == [
        (action, "psql-ada", "a fair", str(row.pk)) for action in ("insert", "update", "delete")
    ]


def test_grants_are_read_by_one_look_into_their_index(run: Run, user: str, key: str) -> None:
    run("INSERT INTO entitlement_grants (user_id, extra_requests, starts_at, ends_at, reason)"
        " SELECT user_id, 1, now() - interval '2 days', now() - n * interval '1 second', 'past'"
        " FROM subscriptions, generate_series(1, 2000) AS n")  # fmt: skip
    run("ANALYZE entitlement_grants")
    plan = "\n".join(
        line
        for (line,) in run(
            "EXPLAIN SELECT sum(extra_requests) FROM entitlement_grants WHERE user_id = %s"
            " AND ends_at > now() AND starts_at <= now() AND (api_key_id IS NULL OR api_key_id = %s)",
            user, key,
        )
    )  # fmt: skip
    assert "Index Only Scan using entitlement_grants_in_force" in plan
    assert "ends_at >" in plan.split("Index Cond:")[1].splitlines()[0]
