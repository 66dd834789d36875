"""What counts against a month's limit: by the setting QUOTA_COUNTS, and what was corrected; the same in every place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import QuotaUsage, Subscription, UsageCorrection, User
from billing.services import extra_quota, plan_changes, quota_rule, rate_limits, usage_corrections
from glyphforge import checks
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Notice, Refused
from tests.support import factories
from tests.support.admin_pages import row_page
from tests.support.sql import Run, query, scalar
from tests.support.waiting import wait_for_room

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
THIS_MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC')::date"


@pytest.fixture(autouse=True)
def _generous_minute(run: Run) -> None:
    wait_for_room(60, 10)
    run("UPDATE plans SET rate_limit_per_minute = 1000000, monthly_request_limit = 10 WHERE tier = 'free'")


@pytest.fixture
def served(run: Run) -> None:
    """Only what was served counts."""
    run("UPDATE quota_rule SET counts = 'served'")


def correct(user: str, requests: int, month: str = THIS_MONTH) -> Any:
    return scalar(f"SELECT correct_usage(%s, {month}, %s, 'an outage')", user, requests)


SUMMED = f"""
SELECT greatest(
    (
        SELECT coalesce(sum(m.total_requests), 0)
            - CASE r.counts WHEN 'served' THEN coalesce(sum(m.throttled_requests + m.server_errors), 0) ELSE 0 END
        FROM monthly_usage_summary AS m
        WHERE m.user_id = u.id AND m.month = {THIS_MONTH}
    ) + (
        SELECT coalesce(sum(c.requests), 0)
        FROM usage_corrections AS c
        WHERE c.user_id = u.id AND c.month = {THIS_MONTH}
    ), 0
)
FROM users AS u CROSS JOIN quota_rule AS r
WHERE u.id = %s
"""


def places(user: str, key: str) -> dict[str, int]:
    """What each place says that counts this month, before the request that the check counts."""
    live = Subscription.objects.select_related("entitlement").get(user_id=user, status="active")
    near = query("SELECT usage_count FROM v_users_near_limit WHERE user_id = %s", user)
    scalar("SELECT sync_subscription_usage()")
    used = scalar("SELECT coalesce(sum(used_requests), 0) FROM quota_usage WHERE user_id = %s", user)
    found = {
        "summary with corrections": scalar(SUMMED, user),
        "quota_usage": used,
        "usage_count": scalar("SELECT usage_count FROM subscriptions WHERE user_id = %s AND status = 'active'", user),
        "change of plan": plan_changes.limits_of(live, "starter").used,
        "customer page": extra_quota.standing(User.objects.get(pk=user)).used,
    }
    if near:
        found["near the limit"] = near[0]["usage_count"]
    check = rate_limits.check(UUID(key))
    found["check"] = live.limit - check.remaining - 1 if check.allowed else max(live.limit, used)
    return {name: int(value) for name, value in found.items()}


@dataclass(frozen=True)
class Month:
    """What happens in a month: answers, corrections, extra quota; under a large limit all of it is folded."""

    rule: str
    limit: int
    statuses: list[int]
    corrections: list[int]
    extra: int
    folded: int


MONTHS = st.builds(
    Month,
    rule=st.sampled_from(["all", "served"]),
    limit=st.sampled_from([10, 5000]),
    statuses=st.lists(st.sampled_from([200, 404, 429, 500, 503]), max_size=8),
    corrections=st.lists(st.integers(-6, 6).filter(bool), max_size=3),
    extra=st.integers(0, 2),
    folded=st.integers(0, 8),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(month=MONTHS)
def test_every_place_says_the_same(run: Run, user: str, key: str, month: Month) -> None:
    with transaction.atomic():
        run("UPDATE quota_rule SET counts = %s", month.rule)
        run("UPDATE subscriptions SET monthly_request_limit = %s", month.limit)
        for number, status in enumerate(month.statuses):
            factories.requests(user, status_code=status)
            if number == month.folded:
                run("SELECT roll_up_usage()")
        if month.limit > 1000:  # far from it the check does not read the queue
            run("SELECT roll_up_usage()")
        for requests in month.corrections:
            try:
                with transaction.atomic():
                    correct(user, requests)
            except IntegrityError:
                counted = QuotaUsage.objects.filter(user_id=user).first()
                assert (counted.used_requests if counted else 0) + requests < 0
        if month.extra:
            run("INSERT INTO entitlement_grants (user_id, extra_requests, ends_at, reason)"
                " VALUES (%s, %s, now() + interval '1 hour', 'r')", user, month.extra)  # fmt: skip
        said = places(user, key)
        assert len(set(said.values())) == 1, said
        limit = month.limit + month.extra
        assert ("near the limit" in said) == (said["quota_usage"] >= max(0.8 * limit, 1))
        recorded = "SELECT coalesce(sum(total_requests), 0) FROM monthly_usage_summary"
        assert scalar(recorded) == scalar("SELECT count(*) FROM api_usage") == len(month.statuses)
        transaction.set_rollback(True)


def test_refused_and_broken_answers_count_unless_the_setting_says_otherwise(run: Run, user: str, key: str) -> None:
    record = "SELECT record_api_usage(%s, '/', 'POST', CASE WHEN n %% 2 = 0 THEN 429 ELSE 500 END, 3)"
    run(f"{record} FROM generate_series(1, 10) AS n", key)
    assert run("SELECT allowed, reason FROM check_rate_limit(%s)", key) == [(False, "quota")]
    run("UPDATE quota_rule SET counts = 'served'")
    assert run("SELECT allowed, remaining, reason FROM check_rate_limit(%s)", key) == [(True, 9, "ok")]


@pytest.mark.parametrize("status", [429, 500])
def test_checked_request_that_was_not_served_is_given_back(
    run: Run, user: str, key: str, served: None, status: int
) -> None:
    for _ in range(25):
        assert run("SELECT allowed FROM check_rate_limit(%s)", key) == [(True,)]
        factories.requests(user, status_code=status)
    assert run("SELECT remaining FROM check_rate_limit(%s)", key) == [(9,)]


def test_refusal_that_is_recorded_makes_no_room_while_others_are_on_their_way(
    run: Run, user: str, key: str, served: None
) -> None:
    for _ in range(10):  # allowed, and not recorded yet
        assert run("SELECT allowed FROM check_rate_limit(%s)", key) == [(True,)]
    for _ in range(5):
        assert run("SELECT reason FROM check_rate_limit(%s)", key) == [("quota",)]
        factories.requests(user, status_code=429)
    factories.requests(user, 10)
    assert run("SELECT reason FROM check_rate_limit(%s)", key) == [("quota",)]


def test_refusals_of_a_server_with_permits_make_no_room(run: Run, user: str, key: str, served: None) -> None:
    assert run("SELECT granted FROM lease_rate_limit(%s, 50)", key) == [(10,)]
    factories.requests(user, 40, status_code=429)
    assert run("SELECT granted FROM lease_rate_limit(%s, 50)", key) == [(0,)]
    factories.requests(user, 3, status_code=500)
    assert run("SELECT granted FROM lease_rate_limit(%s, 50)", key) == [(3,)]


def test_more_rows_than_are_counted_one_by_one_count_all_the_same(run: Run, user: str, key: str, served: None) -> None:
    factories.requests(user, 1500, status_code=429)
    factories.requests(user, 4)
    assert run("SELECT remaining FROM check_rate_limit(%s)", key) == [(5,)]


def test_setting_reaches_the_database_by_init_and_is_audited(settings: Any) -> None:
    assert (settings.QUOTA_COUNTS, quota_rule.in_database()) == ("all", "all")
    settings.QUOTA_COUNTS = "served"
    (problem,) = checks.quota_rule_applied(None)
    assert (problem.id, "QUOTA_COUNTS is served" in str(problem.msg)) == ("glyphforge.E004", True)
    for _ in range(2):
        call_command("database", "init", verbosity=0)
    assert (quota_rule.in_database(), checks.quota_rule_applied(None)) == ("served", [])
    entry = AuditEntry.objects.get(table_name="quota_rule")
    assert (entry.actor, entry.old_values, entry.new_values) == ("migrate", {"counts": "all"}, {"counts": "served"})


def test_correction_counts_everywhere_at_once_and_changes_no_row(run: Run, user: str) -> None:
    factories.requests(user, 9)
    before = run("SELECT * FROM monthly_usage_summary")
    assert correct(user, -4) == 5
    assert run("SELECT usage_count FROM subscriptions") == [(5,)]
    assert run("SELECT * FROM monthly_usage_summary") == before
    assert correct(user, 2) == 7
    assert run("SELECT number, requests FROM usage_corrections ORDER BY number") == [(1, -4), (2, 2)]


def test_correction_of_a_customer_without_requests_counts_too(run: Run, user: str, key: str) -> None:
    assert correct(user, 10) == 10
    assert run("SELECT reason FROM check_rate_limit(%s)", key) == [("quota",)]
    assert run("SELECT usage_count FROM v_users_near_limit") == [(10,)]
    assert correct(user, 100) == 110  # beyond the limit
    assert run("SELECT reason FROM check_rate_limit(%s)", key) == [("quota",)]


def test_month_never_counts_less_than_nothing(run: Run, user: str) -> None:
    factories.requests(user, 3)
    assert correct(user, -2) == 1
    with pytest.raises(IntegrityError, match="counts 1 requests, from which 2 cannot be taken"), transaction.atomic():
        correct(user, -2)
    run("UPDATE quota_rule SET counts = 'served'")
    factories.requests(user, status_code=500)
    assert scalar("SELECT used_requests FROM quota_usage") == 1


def test_what_a_change_of_the_rule_leaves_below_nothing_is_nothing(run: Run, user: str, key: str) -> None:
    factories.requests(user, 3, status_code=500)
    correct(user, -3)
    run("UPDATE quota_rule SET counts = 'served'")
    assert scalar("SELECT used_requests FROM quota_usage") == 0
    assert correct(user, 2) == 0


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (f"NULL, {THIS_MONTH}, 1, 'r'", "a customer, a month, requests other than 0 and a reason are needed"),
        (f"'{{user}}', {THIS_MONTH}, 0, 'r'", "requests other than 0"),
        (f"'{{user}}', {THIS_MONTH}, 1, ' '", "a reason"),
        (f"'{{user}}', {THIS_MONTH} + 1, 1, 'r'", "is not the first day of a month"),
        (f"'{{user}}', ({THIS_MONTH} + interval '1 month')::date, 1, 'r'", "has not begun"),
        (f"gen_random_uuid(), {THIS_MONTH}, 1, 'r'", "there is no customer"),
        (f"'{{user}}', {THIS_MONTH}, 1, 'r', gen_random_uuid()", "has no API key"),
        (f"'{{user}}', {THIS_MONTH}, 1000000000000001, 'r'", "usage_corrections_requests_possible"),
    ],
)
def test_what_cannot_be_corrected_is_named(run: Run, user: str, call: str, problem: str) -> None:
    with pytest.raises(DatabaseError, match=problem), transaction.atomic():
        run(f"SELECT correct_usage({call.format(user=user)})")
    assert UsageCorrection.objects.count() == 0


@pytest.mark.parametrize(
    "change",
    ["UPDATE usage_corrections SET requests = 1", "DELETE FROM usage_corrections", "TRUNCATE usage_corrections"],
)
def test_corrections_are_append_only(run: Run, user: str, change: str) -> None:
    correct(user, 5)
    with pytest.raises(DatabaseError, match="usage_corrections: rows are append-only"), transaction.atomic():
        run(change)


def test_corrections_go_with_their_customer(run: Run, user: str) -> None:
    correct(user, 5)
    run("DELETE FROM users WHERE id = %s", user)
    assert UsageCorrection.objects.count() == 0


def test_service_corrects_once_for_each_form_and_is_audited(user: str) -> None:
    customer, month = User.objects.get(pk=user), date.fromisoformat(str(scalar(f"SELECT {THIS_MONTH}")))
    who = {"actor": "ada", "reason": "ticket 4711", "token": "form-1"}
    assert usage_corrections.correct(customer, month, 5, **who) == 5
    with pytest.raises(Notice, match="sent before"):
        usage_corrections.correct(customer, month, 5, **who)
    with pytest.raises(Refused, match="counts 5 requests, from which 6 cannot be taken"):
        usage_corrections.correct(customer, month, -6, actor="ada", reason="ticket 4711")
    row, entry = UsageCorrection.objects.get(), AuditEntry.objects.get(table_name="usage_corrections")
    assert (row.requests, row.made_by, row.reason) == (5, "ada", "ticket 4711")
    assert (entry.actor, entry.reason, entry.row_id, entry.action) == ("ada", "ticket 4711", str(row.pk), "insert")


def test_customer_page_tells_counted_and_corrected_apart(signed_in: Callable[[str], Client], user: str) -> None:
    factories.requests(user, 9)
    correct(user, -4)
    page = signed_in("support").get(row_page(User.objects.get(pk=user))).content.decode()
    assert "<strong>5</strong> of 10 requests this month" in page
    assert "-4 corrected" in page
    assert "50 % used" in page
    assert "an outage" in page
