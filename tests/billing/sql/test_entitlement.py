"""Which statuses entitle to a plan's limits: in psql, in the views and by the setting."""

from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Entitlement, Subscription
from billing.services import entitlement, rate_limits
from glyphforge import checks
from glyphforge.audit.models import AuditEntry
from tests.support import factories
from tests.support.sql import query, run, scalar

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
PLAN, FREE = (100_000, 300), (100, 10)


def limits(user: Any) -> tuple[int, int]:
    return Entitlement.objects.values_list("monthly_request_limit", "rate_limit_per_minute").get(user=user)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("active", PLAN), ("past_due", PLAN), ("trialing", PLAN), ("paused", FREE), ("unpaid", FREE)],
)
def test_other_live_statuses_fall_to_the_free_plans_limits(status: str, expected: tuple[int, int]) -> None:
    user = factories.customer()
    factories.subscription(user, tier="professional", status=status)
    key = factories.api_key(user)
    assert limits(user) == expected
    assert rate_limits.check(key.pk).remaining == min(expected) - 1


@pytest.mark.parametrize("status", ["paused", "unpaid"])
def test_debtor_is_stopped_at_the_free_plans_month(status: str) -> None:
    user = factories.customer()
    factories.subscription(user, tier="enterprise", status=status)
    key = factories.api_key(user)
    factories.requests(user, 99)
    assert [rate_limits.check(key.pk).reason for _ in range(2)] == ["ok", "quota"]
    assert query("SELECT tier, usage_count, monthly_request_limit, percent_used FROM v_users_near_limit") == [
        {"tier": "free", "usage_count": 99, "monthly_request_limit": 100, "percent_used": 99}
    ]
    assert scalar("SELECT message FROM v_alerts WHERE alert_type = 'users_near_limit'").startswith("99 of 100 requests")


def test_limits_of_the_free_plan_are_read_from_its_row() -> None:
    user = factories.customer()
    factories.subscription(user, status="unpaid")
    run("UPDATE plans SET monthly_request_limit = 7, rate_limit_per_minute = 3 WHERE tier = 'free'")
    assert limits(user) == (7, 3)


def test_duplicate_entitles_to_nothing() -> None:
    user = factories.customer()
    factories.subscription(user, status="active")
    factories.subscription(user, tier="enterprise", is_duplicate=True)
    assert limits(user) == (10_000, 60)


def test_setting_reaches_the_database_by_init_and_is_audited(settings: Any) -> None:
    user = factories.customer()
    factories.subscription(user, tier="professional", status="unpaid")
    settings.ENTITLED_STATUSES = ["active", "unpaid"]
    (problem,) = checks.entitled_statuses_applied(None)
    assert (problem.id, "past_due" in str(problem.msg), "database init" in str(problem.hint)) == (
        "glyphforge.E002",
        True,
        True,
    )
    assert limits(user) == FREE
    for _ in range(2):
        call_command("database", "init", verbosity=0)
    assert (entitlement.in_database(), limits(user)) == (["active", "unpaid"], PLAN)
    assert checks.entitled_statuses_applied(None) == []
    entry = AuditEntry.objects.get(table_name="entitled_statuses")
    assert (entry.actor, entry.action, entry.new_values) == ("migrate", "entitle", {"statuses": ["active", "unpaid"]})


def test_setting_knows_the_statuses_that_are_live(settings: Any) -> None:
    assert set(settings.ENTITLED_STATUSES) == {"active", "trialing", "past_due"}
    settings.ENTITLED_STATUSES = list(map(str, Subscription.BEST_FIRST))
    entitlement.apply_after_migrate("default")
    assert set(entitlement.in_database()) == set(Subscription.BEST_FIRST)
