"""The jobs that notify people."""

from collections import Counter

from monitoring import reports
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs.outcome import Outcome
from monitoring.models import SystemHealth
from monitoring.notifications.outbox import deliver_notifications


def process_alerts() -> Outcome:
    """Evaluate the alerts and send what is due. What cannot be sent stays queued, and the job succeeds.

    `rows` is the number of alerts that changed state; `detail` has `alerts` and `messages`.
    """
    evaluated = evaluate_alerts()
    delivered = deliver_notifications()
    return Outcome(rows=evaluated.rows, detail={"alerts": evaluated.detail, "messages": delivered.detail})


def check_health() -> Outcome:
    """Note how many checks are in which state, then process the alerts: for installations that schedule little else.

    `detail` has `checks`, by status, beside what `process_alerts` says.
    """
    checks = Counter(SystemHealth.objects.values_list("status", flat=True))
    processed = process_alerts()
    return Outcome(rows=processed.rows, detail={"checks": dict(checks), **processed.detail})


def report() -> Outcome:
    """Queue yesterday's report, once, and send what is due. `rows` is the number of messages queued."""
    queued = reports.send()
    delivered = deliver_notifications()
    return Outcome(rows=queued.rows, detail={**queued.detail, "messages": delivered.detail})
