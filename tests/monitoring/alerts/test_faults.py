"""Each fault becomes an alert in the inbox that leads to the fix; healing it resolves the alert."""

import pytest
from django.test import Client

from monitoring.alerts import links
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert
from tests.monitoring.faults import FAULTS, Fault
from tests.monitoring.rows import query

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_fires_and_resolves(fault: Fault) -> None:
    query("DELETE FROM job_schedules")
    heal, broken = fault.inject()
    evaluate_alerts()
    evaluate_alerts()
    alert = Alert.objects.get(fingerprint=f"{fault.alerts_as}:{broken}" if broken else fault.check)
    assert (alert.state, alert.severity) == ("firing", fault.severity or fault.status)
    heal()
    query("SELECT pg_stat_clear_snapshot()")
    evaluate_alerts()
    evaluate_alerts()
    alert.refresh_from_db()
    assert alert.state == "resolved"


@pytest.mark.parametrize(
    "check", ["stale_subscriptions", "failed_webhooks", "error_rate", "overdue_jobs", "partitions_ahead"]
)
def test_alert_leads_to_the_page_of_its_fix(check: str, admin_client: Client) -> None:
    """One check for each kind of object."""
    query("DELETE FROM job_schedules")
    next(fault for fault in FAULTS if fault.alerts_as == check).inject()
    evaluate_alerts()
    evaluate_alerts()
    alert = Alert.objects.get(alert_type=check)
    assert links.fix(alert) in admin_client.get(links.page(alert)).text
    assert admin_client.get(links.fix(alert)).status_code == 200
