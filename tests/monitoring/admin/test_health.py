"""The page of the system's health changes with the system, and operators change its thresholds."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin import site
from django.test import Client
from django.urls import reverse

from glyphforge.audit.models import AuditEntry
from monitoring.admin.health import SystemHealthAdmin
from monitoring.models import HealthCheck, SystemHealth
from monitoring.notifications.links import LISTED_ON, counted
from tests.support.faults import FAULTS, Fault
from tests.support.sql import query

pytestmark = pytest.mark.django_db

HEALTH = reverse("admin:monitoring_systemhealth_changelist")
ALERTS = reverse("admin:monitoring_currentalert_changelist")
CONNECTIONS = reverse("admin:monitoring_healthcheck_change", args=["connections"])
# Not by a migration, which changes what checks say.
CHANGED = {"table_name": "health_checks", "row_id": "connections", "new_values__has_key": "warning_at"}


@pytest.fixture
def operator(signed_in: Callable[[str], Client]) -> Client:
    query("DELETE FROM job_schedules")
    return signed_in("operator")


@pytest.mark.parametrize("fault", FAULTS[::4], ids=lambda fault: fault.name)
def test_fault_appears_on_the_pages_and_goes(fault: Fault, operator: Client) -> None:
    filtered = {"status__exact": fault.status}
    repair, _ = fault.inject()
    assert fault.check in {row.check_name for row in operator.get(HEALTH, filtered).context["cl"].result_list}
    assert fault.alerts_as in operator.get(ALERTS, {"alert_type__exact": fault.alerts_as}).content.decode()
    repair()
    assert fault.check not in {row.check_name for row in operator.get(HEALTH, filtered).context["cl"].result_list}


@pytest.mark.parametrize("check", LISTED_ON)
def test_page_that_lists_what_a_check_counts_exists(check: str) -> None:
    assert HealthCheck.objects.filter(pk=check).exists()
    assert counted(check)


def test_one_of_a_unit_is_singular(operator: Client) -> None:
    page = site._registry[SystemHealth]
    assert isinstance(page, SystemHealthAdmin)
    singular = {
        page.measured(SystemHealth(value=Decimal(1), unit=unit))
        for unit in HealthCheck.objects.values_list("unit", flat=True)
    }
    assert singular >= {"1 %", "1 index", "1 minute", "1 day", "1 kind"}


def change(client: Client, **values: Any) -> Any:
    form = {"warning_at": "60", "critical_at": "80", "is_enabled": "on", "reason": "quieter nights"}
    return client.post(CONNECTIONS, form | values)


def test_operator_changes_a_threshold_with_a_reason(operator: Client) -> None:
    assert change(operator, warning_at="70").status_code == 302
    assert HealthCheck.objects.get(pk="connections").warning_at == 70
    entry = AuditEntry.objects.get(**CHANGED)
    assert (entry.old_values, entry.new_values, entry.reason) == (
        {"warning_at": 60},
        {"warning_at": 70},
        "quieter nights",
    )
    assert entry.actor.startswith("operator")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"reason": ""}, "This field is required"),
        ({"critical_at": "50"}, "Must be at least as bad as the warning."),
        ({"warning_at": "-1"}, "Must not be negative."),
    ],
)
def test_senseless_threshold_is_refused_in_words(operator: Client, values: dict[str, str], complaint: str) -> None:
    assert complaint in change(operator, **values).content.decode()
    assert not AuditEntry.objects.filter(**CHANGED).exists()


def test_support_sees_thresholds_and_may_not_change_them(signed_in: Callable[[str], Client]) -> None:
    support = signed_in("support")
    page = support.get(CONNECTIONS)
    assert page.status_code == 200
    assert 'name="reason"' not in page.content.decode()
    assert change(support, warning_at="70").status_code == 403
