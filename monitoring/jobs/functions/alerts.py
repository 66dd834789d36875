"""The jobs that tell people."""

from collections import Counter

from monitoring import reports
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.alerts.outbox import deliver_notifications
from monitoring.models import SystemHealth
from monitoring.outcome import Outcome


def watch() -> Outcome:
    """Move the alerts on and send what is due. What cannot be sent stays queued, and the job succeeds."""
    evaluated = evaluate_alerts()
    delivered = deliver_notifications()
    return Outcome(rows=evaluated.rows, detail={"alerts": evaluated.detail, "messages": delivered.detail})


def check_health() -> Outcome:
    """Note the state of every check, then watch: for installations that schedule little else."""
    checks = Counter(SystemHealth.objects.values_list("status", flat=True))
    watched = watch()
    return Outcome(rows=watched.rows, detail={"checks": dict(checks), **watched.detail})


def report() -> Outcome:
    """Queue yesterday's report, once, and send what is due."""
    queued = reports.send()
    delivered = deliver_notifications()
    return Outcome(rows=queued.rows, detail={**queued.detail, "messages": delivered.detail})
