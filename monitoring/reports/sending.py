"""Queues the report; the outbox delivers it."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from monitoring import figures
from monitoring.alerts import routing
from monitoring.models import Alert, Notification
from monitoring.outcome import Outcome


def close_day() -> None:
    """Brings the figures of yesterday and today up to date."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT take_daily_snapshot()")


def send() -> Outcome:
    """Queues yesterday's report for every configured channel, once however often it is called.

    The day is closed first, so that the figures are final. `rows` is the number of messages queued.
    """
    day = figures.today() - timedelta(days=1)
    close_day()
    before = Notification.objects.filter(report_on=day).count()
    Notification.objects.bulk_create(
        [
            Notification(
                channel=channel,
                kind=Notification.Kind.REPORT,
                report_on=day,
                severity=Alert.Severity.INFO,
                message=f"Daily report for {day}",
                status=Notification.Status.PENDING,
                attempts=0,
                created_at=timezone.now(),
                next_attempt_at=timezone.now(),
            )
            for channel in routing.configured()
        ],
        ignore_conflicts=True,
    )
    queued = Notification.objects.filter(report_on=day).count() - before
    return Outcome(rows=queued, detail={"day": str(day), "queued": queued})
