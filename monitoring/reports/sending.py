"""Queues the report, and delivers it for the outbox."""

from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from glyphforge.database.clock import database_time
from monitoring.jobs.outcome import Outcome
from monitoring.models import Alert, Notification
from monitoring.notifications import mail, routing, slack
from monitoring.reports.building import build_report
from monitoring.reports.rendering import render_html, render_slack, render_text


def close_day() -> None:
    """Bring the figures of yesterday and today up to date."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT take_daily_snapshot()")


def send() -> Outcome:
    """Queue yesterday's report for every configured channel, once however often it is called.

    The day is closed first, so that the figures are final. `rows` is the number of messages queued; `detail` has `day`
    and `queued`.
    """
    day = database_time().date() - timedelta(days=1)
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
                next_attempt_at=Now(),
            )
            for channel in routing.configured()
        ],
        ignore_conflicts=True,
    )
    queued = Notification.objects.filter(report_on=day).count() - before
    return Outcome(rows=queued, detail={"day": str(day), "queued": queued})


def deliver(channel: Notification.Channel, notification: Notification, delivery_id: UUID) -> None:
    """Send the report of the notification's day, built anew; raises `Undelivered` where the channel fails."""
    report = build_report(notification.report_on)
    if channel == Notification.Channel.SLACK:
        slack.post(render_slack(report))
        return
    mail.send(
        subject=f"[Glyph Forge] {report.day:%a %d %b}: {report.headline}",
        text=render_text(report),
        html=render_html(report),
        delivery_id=delivery_id,
    )
