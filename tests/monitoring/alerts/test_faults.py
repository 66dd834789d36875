"""Each fault becomes an alert in the inbox that leads to the fix; repairing it resolves the alert."""

from collections.abc import Callable

import pytest
from django.test import Client

from glyphforge import roles
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert, CurrentAlert, HealthCheck
from monitoring.notifications import links
from tests.support import factories
from tests.support.faults import FAULTS, Fault
from tests.support.sql import query

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_fires_and_resolves(fault: Fault) -> None:
    query("DELETE FROM job_schedules")
    factories.worker()
    repair, broken = fault.inject()
    evaluate_alerts()
    evaluate_alerts()
    alert = Alert.objects.get(fingerprint=fault.fingerprint(broken))
    assert (alert.state, alert.severity) == ("firing", fault.severity or fault.status)
    repair()
    query("SELECT pg_stat_clear_snapshot()")
    evaluate_alerts()
    evaluate_alerts()
    alert.refresh_from_db()
    assert alert.state == "resolved"


@pytest.mark.parametrize(
    "check",
    ["stale_subscriptions", "failed_webhooks", "error_rate", "overdue_jobs", "partitions_ahead", "disabled_triggers"],
)
def test_alert_leads_to_the_page_of_its_fix(
    check: str, admin_client: Client, signed_in: Callable[[str], Client]
) -> None:
    """One check for each kind of object, one that has a list, and one that has none."""
    query("DELETE FROM job_schedules")
    factories.worker()
    next(fault for fault in FAULTS if fault.alerts_as == check).inject()
    evaluate_alerts()
    evaluate_alerts()
    alert = Alert.objects.get(alert_type=check)
    assert links.fix(alert) in admin_client.get(links.page(alert)).text
    assert links.fix(alert) == links.fix(CurrentAlert.objects.get(alert_type=check))
    for role in roles.ROLES:
        assert signed_in(role).get(links.fix(alert)).status_code == 200


@pytest.mark.parametrize("check", links.LISTED_ON)
def test_alert_of_the_whole_system_leads_everybody_to_a_page(check: str, signed_in: Callable[[str], Client]) -> None:
    """Every role, whatever it may not see otherwise."""
    HealthCheck.objects.get(pk=check)
    alert = Alert(alert_type=check)
    for role in roles.ROLES:
        assert signed_in(role).get(links.fix(alert)).status_code == 200, role
