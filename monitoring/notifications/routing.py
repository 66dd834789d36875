"""Who hears of what: the channels of each severity, as far as they are configured."""

from datetime import datetime

from django.conf import settings

from monitoring.models import Alert, Notification

Channel = Notification.Channel


def configured() -> list[Channel]:
    """The channels that this installation can reach, Slack before e-mail."""
    wanted = {Channel.SLACK: settings.SLACK_WEBHOOK_URL, Channel.EMAIL: settings.ALERT_EMAIL}
    return [channel for channel, address in wanted.items() if address]


def channels(severity: str) -> list[Channel]:
    """Critical alerts go everywhere, warnings to Slack (or by mail without it), the rest stays in the inbox."""
    available = configured()
    if severity == Alert.Severity.CRITICAL:
        return available
    return available[:1] if severity == Alert.Severity.WARNING else []


def notifications(alert: Alert, kind: Notification.Kind, now: datetime) -> list[Notification]:
    """Make the messages that a change of state asks for, one a channel; an alert nobody was told of ends in silence.

    They are unsaved, and so is `alert.notified_at`, which becomes `now` where somebody is told.
    """
    if kind == Notification.Kind.RESOLVED and alert.notified_at is None:
        return []
    wanted = channels(alert.severity)
    if wanted:
        alert.notified_at = now
    text = f"{alert.subject}: {alert.message}"
    return [
        Notification(
            channel=channel,
            kind=kind,
            alert=alert,
            severity=alert.severity,
            message=text,
            created_at=now,
            next_attempt_at=now,
        )
        for channel in wanted
    ]
