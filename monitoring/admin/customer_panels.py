"""What monitoring adds to a customer's page: the days of usage, what the month will come to, and the open alerts."""

from collections.abc import Iterable
from datetime import date, timedelta
from uuid import UUID

from django.db import connection
from django.urls import reverse
from django.utils import timezone

from billing import customer_panels
from billing.customer_panels import CustomerUsage, OpenAlert, UsageDay
from monitoring.models import Alert
from monitoring.models.usage_forecast import FORECAST, forecast_of

# The checks that raise an alert for a customer or one of a customer's rows; see v_alerts.
CHECKS = (
    "stale_subscriptions",
    "error_rate",
    "users_near_limit",
    "duplicate_subscriptions",
    "paid_users_without_keys",
)


def usage(user_id: UUID, since: date) -> CustomerUsage:
    """From the folded days, which lag behind by a minute; the key begins with the day, so each is looked up."""
    today = timezone.now().date()
    days = [since + timedelta(days=number) for number in range((today - since).days + 1)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT d.day, d.requests, d.failed_requests, {FORECAST} FROM usage_forecasts(ARRAY[%s]) AS f"
            " FULL JOIN (SELECT * FROM traffic_user_days WHERE day = ANY(%s) AND user_id = %s) AS d ON true",
            [user_id, days, user_id],
        )
        rows = cursor.fetchall()
    return CustomerUsage(
        days=[UsageDay(*row[:3]) for row in rows if row[0]],
        forecast=forecast_of(*rows[0][3:]) if rows else None,
    )


def open_alerts(ids: Iterable[UUID]) -> Iterable[OpenAlert]:
    """The open alerts about a customer or a customer's rows, by their ids: found by fingerprint, so by index."""
    fingerprints = [f"{check}:{row_id}" for row_id in ids for check in CHECKS]
    return [
        OpenAlert(
            severity=alert.severity,
            message=alert.message,
            since=alert.fired_at or alert.first_seen_at,
            url=reverse("admin:monitoring_alert_change", args=[alert.pk]),
        )
        for alert in Alert.objects.filter(fingerprint__in=fingerprints, state__in=Alert.OPEN)
    ]


customer_panels.register(usage=usage, alerts=open_alerts)
