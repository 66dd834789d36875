"""The state machine: observations in, episodes and notifications out."""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar
from uuid import uuid4

from django.db import Error, connection, transaction

from glyphforge.database import installation
from glyphforge.database.budget import LOCK_SECONDS, SECONDS, limited
from glyphforge.database.clock import database_time
from glyphforge.database.one_row import each, is_about_the_row
from glyphforge.errors import LeftOut
from monitoring.alerts.observation import Observation, observe, rank
from monitoring.jobs.outcome import Outcome
from monitoring.models import Alert, Notification
from monitoring.notifications import routing

Row = TypeVar("Row", Alert, Notification)

# How many evaluations in a row must see it fail before anybody is told. Critical alerts ask for immediate action, and
# what raises them does not flap; the others may pass by themselves.
OPENS_AFTER = {Alert.Severity.CRITICAL: 1, Alert.Severity.WARNING: 2, Alert.Severity.INFO: 2}
# And how many must see it better before it counts as better.
CLOSES_AFTER = 2
MANY = 1_000  # evaluations in a row; nobody counts further
REPEATS_AFTER = timedelta(hours=4)
REPEATED = frozenset({Alert.Severity.CRITICAL, Alert.Severity.WARNING})

_EVALUATED = (
    "severity", "state", "message", "remediation", "subject", "value", "object_type", "object_id",
    "evaluations_failing", "evaluations_better", "fired_at", "notified_at", "acknowledged_at",
    "acknowledged_by", "snoozed_until", "snoozed_by", "note", "resolved_at", "objects_named", "consequences",
    "muted_by", "silenced_until", "told_message",
)  # fmt: skip

logger = logging.getLogger(__name__)


class Step(Enum):
    """What an evaluation did to an alert that nobody is told about."""

    UNCHANGED = "unchanged"
    PASSED = "passed"


def evaluate_alerts(by: str = "") -> Outcome:
    """Compare the open alerts with what the checks see now, move them on and queue what has to be said.

    `by` names who does it, by default this host. Safe to run at any time and by several at once: one evaluates, the
    others return at once. No table that a check reads can hold it up: what cannot be measured is noted, and its alerts
    stay as they are. On a copy of production nothing is evaluated. `rows` is the number of alerts that changed state;
    `detail` counts the alerts seen, the steps taken and the notifications, and names, where there are any, the checks
    `unmeasured` and the alerts or messages `left_out`, which the database refused. Raises what the database raises
    where the alerts themselves are locked.
    """
    with limited(lock_seconds=LOCK_SECONDS, statement_seconds=SECONDS):
        if not installation.is_production():
            return Outcome(detail={"skipped": installation.COPY})
        if not _is_only_evaluator():
            return Outcome(detail={"skipped": "another evaluation is running"})
        observed = observe()
        _note("what could not be measured", _write_unmeasured, observed.unmeasured)
        outcome = evaluate(observed.alerts, database_time(), unmeasured=observed.unmeasured)
        _note("this evaluation", _write_evaluation, by or socket.gethostname())
    unmeasured = {"unmeasured": sorted(observed.unmeasured)} if observed.unmeasured else {}
    return Outcome(outcome.rows, {**outcome.detail, **unmeasured})


def _note(what: str, write: Callable[..., None], *values: object) -> None:
    """Write it, unless its table is locked: the alerts matter more."""
    try:
        with transaction.atomic():
            write(*values)
    except Error:
        logger.warning("Cannot note %s", what, exc_info=True)


def _write_unmeasured(unmeasured: Mapping[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM unmeasured_checks WHERE check_name <> ALL (%s)", [list(unmeasured)])
        cursor.executemany(
            "INSERT INTO unmeasured_checks (check_name, reason) VALUES (%s, %s)"
            " ON CONFLICT (check_name) DO UPDATE SET reason = excluded.reason",
            sorted(unmeasured.items()),
        )


def _write_evaluation(by: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE alert_evaluations SET evaluated_at = clock_timestamp(), evaluated_by = %s", [by])


def _is_only_evaluator() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('evaluate_alerts', 0))")
        return bool(cursor.fetchone()[0])


def evaluate(seen: Mapping[str, Observation], now: datetime, *, unmeasured: Collection[str] = frozenset()) -> Outcome:
    """Do one evaluation, as of `now`, in the transaction of the caller; `seen` is by fingerprint, as from `observe`.

    Of a check in `unmeasured` an alert that is not seen stays as it is. What follows from another alert begins no alert
    and sends no message. The caller sees to it that nobody else evaluates meanwhile.
    """
    known = Alert.objects.select_for_update().exclude(state=Alert.State.RESOLVED).order_by("fingerprint")
    alerts = {alert.fingerprint: alert for alert in known}
    steps: Counter[str] = Counter()
    told: list[tuple[Alert, Notification.Kind]] = []
    passed: list[Alert] = []
    before = {alert.pk: _values(alert) for alert in alerts.values()}

    for alert in alerts.values():
        observation = seen.get(alert.fingerprint)
        if observation is None and alert.alert_type in unmeasured:
            steps[Step.UNCHANGED.value] += 1
            continue
        step = _advance(alert, observation, now)
        steps[step.value] += 1
        if step is Step.PASSED:
            passed.append(alert)
        elif isinstance(step, Notification.Kind):
            told.append((alert, step))
    begun = [
        _begin(observation, now)
        for fingerprint, observation in seen.items()
        if fingerprint not in alerts and not observation.muted_by
    ]
    for alert in begun:
        steps["begun"] += 1
        if alert.state == Alert.State.FIRING:
            told.append((alert, Notification.Kind.OPENED))
            steps[Notification.Kind.OPENED.value] += 1

    notifications = [notification for alert, kind in told for notification in routing.notifications(alert, kind, now)]
    gone = {alert.pk for alert in passed}
    Alert.objects.filter(pk__in=gone).delete()
    left_out = _write(begun, lambda rows: Alert.objects.bulk_create(rows, batch_size=500))
    changed = [a for a in alerts.values() if a.pk not in gone and _values(a) != before[a.pk]]
    left_out += _write(changed, lambda rows: Alert.objects.bulk_update(rows, _EVALUATED, batch_size=500))
    if left_out:
        written = set(Alert.objects.filter(pk__in=[row.alert_id for row in notifications]).values_list("pk", flat=True))
        notifications = [row for row in notifications if row.alert_id in written]
    Alert.objects.filter(fingerprint__in=seen.keys() & alerts.keys()).exclude(state=Alert.State.RESOLVED).update(
        last_seen_at=now
    )
    left_out += _write(notifications, lambda rows: Notification.objects.bulk_create(rows, batch_size=500))
    unchanged = steps.pop(Step.UNCHANGED.value, 0)
    return Outcome(
        rows=sum(count for step, count in steps.items() if step != "begun") + sum(a.fired_at is None for a in begun),
        detail={
            "seen": len(seen),
            "unchanged": unchanged,
            "notifications": len(notifications),
            **steps,
            **({"left_out": left_out} if left_out else {}),
        },
    )


def _write(rows: list[Row], write: Callable[[list[Row]], object]) -> list[str]:
    """Write all of them, or each apart where the database refuses one; what was refused, and why."""
    try:
        with transaction.atomic():
            write(rows)
    except Error as error:
        if not is_about_the_row(error):
            raise
        named = {f"{number} {row}": row for number, row in enumerate(rows, start=1)}
        try:
            each(named, lambda name: bool(write([named[name]])))
        except LeftOut as left:
            logger.exception("What belongs to alerts was refused")
            return [text.partition(" ")[2] for text in left.left]
    return []


def _values(alert: Alert) -> tuple[object, ...]:
    return tuple(getattr(alert, name) for name in _EVALUATED)


def _begin(seen: Observation, now: datetime) -> Alert:
    alert = Alert(
        id=uuid4(),
        fingerprint=seen.fingerprint,
        alert_type=seen.alert_type,
        evaluations_failing=1,
        evaluations_better=0,
        first_seen_at=now,
        last_seen_at=now,
        severity=seen.severity,
        state=Alert.State.PENDING,
        note="",
    )
    _describe(alert, seen)
    if OPENS_AFTER[Alert.Severity(seen.severity)] <= 1:
        _fire(alert, now)
    return alert


def _describe(alert: Alert, seen: Observation) -> None:
    alert.subject = seen.subject
    alert.message = seen.message
    alert.remediation = seen.remediation
    alert.value = seen.value
    alert.object_type = seen.object_type
    alert.object_id = seen.object_id
    alert.objects_named = seen.objects
    alert.consequences = seen.consequences
    alert.muted_by = seen.muted_by
    alert.silenced_until = seen.silenced_until


def _fire(alert: Alert, now: datetime) -> None:
    alert.state = Alert.State.FIRING
    alert.fired_at = alert.fired_at or now
    alert.acknowledged_at = alert.acknowledged_by = alert.snoozed_until = alert.snoozed_by = None
    alert.note = ""


def _advance(alert: Alert, seen: Observation | None, now: datetime) -> Step | Notification.Kind:
    was_silenced = alert.silenced_until is not None
    if seen is not None:
        _describe(alert, seen)
        if seen.muted_by:
            alert.evaluations_better = 0
            return Step.UNCHANGED
    if seen is None or rank(seen.severity) < rank(alert.severity):
        return _improve(alert, seen, now)
    worsened = rank(seen.severity) > rank(alert.severity)
    alert.severity = seen.severity
    alert.evaluations_better = 0
    if alert.state == Alert.State.PENDING:
        alert.evaluations_failing = min(alert.evaluations_failing, MANY) + 1
        if alert.evaluations_failing < OPENS_AFTER[Alert.Severity(alert.severity)]:
            return Step.UNCHANGED
        _fire(alert, now)
        return Notification.Kind.OPENED
    if worsened:
        # Whoever acknowledged or snoozed it had agreed to something milder.
        _fire(alert, now)
        return Notification.Kind.ESCALATED
    return _remind(alert, now, was_silenced=was_silenced)


def _improve(alert: Alert, seen: Observation | None, now: datetime) -> Step | Notification.Kind:
    alert.evaluations_better = min(alert.evaluations_better, MANY) + 1
    if alert.state == Alert.State.PENDING and seen is None:
        return Step.PASSED  # it was nothing, and nobody was told
    if alert.evaluations_better < CLOSES_AFTER:
        return Step.UNCHANGED
    if seen is not None:
        alert.severity = seen.severity
        alert.evaluations_better = 0
        return Step.UNCHANGED
    alert.state = Alert.State.RESOLVED
    alert.resolved_at = now
    return Notification.Kind.RESOLVED


def _remind(alert: Alert, now: datetime, *, was_silenced: bool) -> Step | Notification.Kind:
    if alert.state == Alert.State.SNOOZED and alert.snoozed_until is not None and alert.snoozed_until <= now:
        _fire(alert, now)
        return Notification.Kind.REMINDER
    if alert.state != Alert.State.FIRING or alert.severity not in REPEATED:
        return Step.UNCHANGED
    if alert.notified_at is None:
        # There was no channel, or it was silenced.
        return Notification.Kind.OPENED if routing.may_tell(alert) else Step.UNCHANGED
    silence_ended = was_silenced and alert.silenced_until is None
    if silence_ended or now - alert.notified_at >= REPEATS_AFTER:
        return Notification.Kind.REMINDER
    return Step.UNCHANGED
