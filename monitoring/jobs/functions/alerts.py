"""The jobs that notify people."""

import logging
from collections import Counter
from functools import partial
from typing import Any

from django.db import Error

from glyphforge.errors import LeftOut
from monitoring import reports
from monitoring.alerts import measuring
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs.outcome import JobFailed, Outcome
from monitoring.jobs.plain_error import plain_error
from monitoring.models import SystemHealth
from monitoring.notifications.outbox import deliver_notifications

logger = logging.getLogger(__name__)


def process_alerts(by: str = "") -> Outcome:
    """Measure, evaluate the alerts and send what is due. What cannot be sent stays queued, and the job succeeds.

    Neither stops the other. HEARTBEAT_URL is asked after an evaluation. `by` names who evaluates, by default this host;
    `rows` is the number of alerts that changed state; `detail` has `alerts` and `messages`.
    Raises JobFailed where the database gives one of the two no access in time, as to a locked table of alerts, and
    where it refuses single alerts or messages, when the others are written and sent.
    """
    problems: list[str] = []
    rows = 0
    detail: dict[str, Any] = {}
    measuring.measure()
    for name, act, done in (
        ("alerts", partial(evaluate_alerts, by), "evaluated"),
        ("messages", deliver_notifications, "sent"),
    ):
        try:
            outcome = act()
        except Error as error:
            logger.exception("The %s cannot be %s", name, done)
            problems.append(f"The {name} cannot be {done}: {plain_error(error)}")
            continue
        rows += outcome.rows if name == "alerts" else 0
        detail[name] = outcome.detail
        if left_out := outcome.detail.get("left_out"):
            problems.append(f"Of the {name} {LeftOut(left_out, done=outcome.rows)}.")
    if "skipped" not in detail.get("alerts", {"skipped": True}):
        measuring.ask_outside()
    if problems:
        raise JobFailed(" ".join(problems), Outcome(rows, detail))
    return Outcome(rows, detail)


def check_health() -> Outcome:
    """Process the alerts, then note how many checks are in which state: for installations that schedule little else.

    `detail` has `checks`, by status, beside what `process_alerts` says.
    """
    processed = process_alerts()
    checks = Counter(SystemHealth.objects.values_list("status", flat=True))
    return Outcome(rows=processed.rows, detail={"checks": dict(checks), **processed.detail})


def report() -> Outcome:
    """Queue yesterday's report, once, and send what is due. `rows` is the number of messages queued."""
    queued = reports.send()
    delivered = deliver_notifications()
    return Outcome(rows=queued.rows, detail={**queued.detail, "messages": delivered.detail})
