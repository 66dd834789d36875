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


def may_tell(alert: Alert) -> bool:
    """Whether anybody hears of the alert: its severity has a channel, and no maintenance window silences it."""
    return bool(channels(alert.severity)) and alert.silenced_until is None


def notifications(alert: Alert, kind: Notification.Kind, now: datetime) -> list[Notification]:
    """Make the messages that a change of state asks for, one a channel; an alert nobody was told of ends in silence.

    They are unsaved, and so are `alert.notified_at`, which becomes `now` where somebody is told, and
    `alert.told_message`.
    """
    if not may_tell(alert) or (kind == Notification.Kind.RESOLVED and alert.notified_at is None):
        return []
    wanted = channels(alert.severity)
    text = describe(alert, kind)
    alert.notified_at = now
    alert.told_message = f"{alert.subject}: {alert.message}"
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


def describe(alert: Alert, kind: Notification.Kind) -> str:
    """What a message says of the alert: subject, message, what follows from it, and what the last message said."""
    text = f"{alert.subject}: {alert.message}"
    parts = [text]
    if alert.consequences and kind != Notification.Kind.RESOLVED:
        named = ", ".join(name.replace("_", " ") for name in alert.consequences)
        parts.append(f"What follows from it is muted: {named}.")
    if alert.told_message and alert.told_message != text and kind != Notification.Kind.RESOLVED:
        parts.append(f"The last message said: {alert.told_message[:300]}")
    return " ".join(parts)
