"""Delivery: takes queued notifications to their channels, and keeps at it until they got through."""

import logging
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import Error, transaction
from django.db.models.functions import Now

from glyphforge.audit.masking import mask
from glyphforge.database import installation
from glyphforge.database.clock import database_time
from monitoring.jobs.outcome import Outcome
from monitoring.models import Alert, Notification
from monitoring.notifications import Undelivered, mail, slack

# A sender that dies leaves its rows due again after this long.
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=30)
# Some nine hours of outage; after that a message is stale, and the inbox has it anyway.
MOST_ATTEMPTS = 24
# More than this many at once go out as one summary.
SUMMARISED_ABOVE = 5
MESSAGES_PER_MINUTE = 10
CLAIMED_AT_ONCE = 1000

logger = logging.getLogger(__name__)

TITLES = {
    Notification.Kind.OPENED: "New",
    Notification.Kind.ESCALATED: "Worse",
    Notification.Kind.REMINDER: "Still",
    Notification.Kind.RESOLVED: "Resolved",
}

# What is about no alert, by kind: who writes such a message sends it too.
Sender = Callable[[Notification.Channel, Notification, UUID], None]
_senders: dict[str, Sender] = {}


def register_sender(kind: Notification.Kind, send: Sender) -> None:
    """Have `send` deliver the notifications of a kind, one at a time.

    It gets channel, notification and delivery id, and raises `Undelivered` where a channel fails.
    """
    _senders[kind] = send


def deliver_notifications() -> Outcome:
    """Send what is due on every channel: at most ten messages a minute each, many at once as one summary.

    Delivers at least once: a row is claimed before and marked after sending, so a sender that is killed in between
    leaves a message that is sent again. Safe for several at once. From a copy of production nothing is sent. `rows` is
    the number of notifications delivered; `detail` has `slack_delivered`, `slack_failed` and the same for `email`.
    """
    if not installation.is_production():
        return Outcome(detail={"skipped": installation.COPY})
    detail: dict[str, int] = {}
    for channel in Notification.Channel:
        delivered, failed = _deliver(channel)
        detail |= {f"{channel.value}_delivered": delivered, f"{channel.value}_failed": failed}
    return Outcome(rows=sum(count for name, count in detail.items() if name.endswith("_delivered")), detail=detail)


def _deliver(channel: Notification.Channel) -> tuple[int, int]:
    delivered = failed = 0
    down = False
    for group in _claim(channel):
        delivery_id = uuid5(NAMESPACE_URL, ",".join(str(notification.pk) for notification in group))
        if down:  # the rest waits as long
            _postpone(group, "The channel did not take an earlier message.", None)
            failed += len(group)
            continue
        try:
            _send(channel, group, delivery_id)
        except Undelivered as problem:
            _postpone(group, mask(str(problem)), problem.retry_after_seconds)
            failed += len(group)
            down = not problem.channel_is_up
        except Error:
            raise
        except Exception as problem:
            # A message that cannot even be written must hold up neither the others nor the other channel.
            logger.exception("A message to %s cannot be sent", channel.label)
            _postpone(group, mask(f"{type(problem).__name__}: {problem}"), None)
            failed += len(group)
        else:
            Notification.objects.filter(pk__in=[notification.pk for notification in group]).update(
                status=Notification.Status.SENT, sent_at=Now(), delivery_id=delivery_id, last_error=None
            )
            delivered += len(group)
    return delivered, failed


def _claim(channel: Notification.Channel) -> list[list[Notification]]:
    """What is due, in the groups that make one message each; nobody else gets the same rows while the lease lasts."""
    now = database_time()
    with transaction.atomic():
        recent = Notification.objects.filter(channel=channel, sent_at__gt=now - timedelta(minutes=1))
        budget = MESSAGES_PER_MINUTE - recent.values("delivery_id").distinct().count()
        if budget <= 0:
            return []
        due = Notification.objects.select_for_update(skip_locked=True, of=("self",)).select_related("alert")
        rows = list(
            due.filter(channel=channel, status=Notification.Status.PENDING, next_attempt_at__lte=now).order_by("id")[
                :CLAIMED_AT_ONCE
            ]
        )
        others = [[row] for row in rows if row.kind in _senders]
        alerts = [row for row in rows if row.kind not in _senders]
        groups = [[row] for row in alerts]
        if len(alerts) > min(SUMMARISED_ABOVE, budget - len(others)):
            groups = [alerts]
        groups = [*groups, *others][:budget]
        for group in groups:
            for row in group:
                row.attempts += 1
                row.next_attempt_at = now + LEASE
        Notification.objects.bulk_update(
            [row for group in groups for row in group], ["attempts", "next_attempt_at"], batch_size=500
        )
    return groups


def _postpone(group: Sequence[Notification], error: str, retry_after_seconds: int | None) -> None:
    now = database_time()
    for row in group:
        row.last_error = error[:2000]
        row.next_attempt_at = now + pause(row.attempts, retry_after_seconds)
        if row.attempts >= MOST_ATTEMPTS:
            row.status = Notification.Status.DEAD
    Notification.objects.bulk_update(group, ["last_error", "next_attempt_at", "status"], batch_size=500)


def pause(attempts: int, retry_after_seconds: int | None = None) -> timedelta:
    """How long to wait after so many attempts: from 30 s, doubling up to 30 min, with a fifth of jitter.

    Never shorter than the channel asked for, up to an hour.
    """
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 10))
    jittered = backoff * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing
    return max(jittered, timedelta(seconds=min(retry_after_seconds or 0, 3600)))


def _send(channel: Notification.Channel, group: Sequence[Notification], delivery_id: UUID) -> None:
    if send := _senders.get(group[0].kind):
        send(channel, group[0], delivery_id)
        return
    title = headline(group[0]) if len(group) == 1 else summarise(group)
    # The title of a single message names the subject already.
    lines = [group[0].said] if len(group) == 1 else [describe(notification) for notification in group]
    if channel == Notification.Channel.EMAIL:
        mail.alerts(group, title, lines, delivery_id)
    elif len(group) == 1:
        slack.post(slack.one(group[0], title))
    else:
        slack.post(slack.many(group, title, lines))


def headline(notification: Notification) -> str:
    """The kind of change, the severity and the subject: `New critical: Failed webhooks invoice.paid evt_1`."""
    subject = notification.alert.subject if notification.alert else ""
    kind = TITLES[Notification.Kind(notification.kind)]
    return f"{kind} {Alert.Severity(notification.severity).label.lower()}: {subject}"


def describe(notification: Notification) -> str:
    """The kind of change and the severity, with what was seen at the time: subject and message."""
    kind = TITLES[Notification.Kind(notification.kind)]
    return f"{kind} {Alert.Severity(notification.severity).label.lower()}: {notification.message}"


def summarise(group: Sequence[Notification]) -> str:
    """Count a group by kind and severity: `12 alert changes: 3 new critical, 8 new warning, 1 resolved`."""
    counts: dict[str, int] = {}
    for row in sorted(group, key=lambda row: (row.kind == Notification.Kind.RESOLVED, row.severity != "critical")):
        kind = TITLES[Notification.Kind(row.kind)].lower()
        name = kind if row.kind == Notification.Kind.RESOLVED else f"{kind} {row.severity}"
        counts[name] = counts.get(name, 0) + 1
    return f"{len(group):,} alert changes: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
