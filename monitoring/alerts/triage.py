"""What staff do with an alert: acknowledge it, snooze it, or reopen it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from glyphforge import audit
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused
from monitoring.models import Alert

LONGEST_SNOOZE = timedelta(days=30)
# In which states each may be done.
ACKNOWLEDGED_FROM = (Alert.State.FIRING, Alert.State.SNOOZED)
SNOOZED_FROM = Alert.OPEN
REOPENED_FROM = (Alert.State.ACKNOWLEDGED, Alert.State.SNOOZED)
_TRIAGE_FIELDS = ("state", "acknowledged_at", "acknowledged_by", "snoozed_until", "snoozed_by", "note")


def acknowledge(ids: Iterable[UUID], *, actor: str, note: str) -> int:
    """Stop the reminders until the alert gets worse or resolves; returns the number of alerts.

    Refuses an empty note, and ids of which none is firing or snoozed.
    """
    _require(note)
    with transaction.atomic(), audit.acting_as(actor=actor, reason=note):
        alerts, now = _lock(ids, ACKNOWLEDGED_FROM), database_time()
        for alert in alerts:
            alert.state = Alert.State.ACKNOWLEDGED
            alert.acknowledged_at, alert.acknowledged_by, alert.note = now, actor, note
            alert.snoozed_until = alert.snoozed_by = None
            _save(alert, "acknowledge")
    return len(alerts)


def snooze(ids: Iterable[UUID], *, until: datetime, actor: str, note: str) -> int:
    """Keep the alert quiet until then, unless it gets worse; returns the number of alerts.

    Refuses an empty note, a moment that has passed or is more than 30 days ahead, and ids of which none is open.
    """
    _require(note)
    if not timedelta(0) < until - database_time() <= LONGEST_SNOOZE:
        raise Refused(f"Cannot snooze until {until:%Y-%m-%d %H:%M} UTC: choose a moment within the next 30 days.")
    with transaction.atomic(), audit.acting_as(actor=actor, reason=note):
        alerts = _lock(ids, SNOOZED_FROM)
        for alert in alerts:
            alert.state = Alert.State.SNOOZED
            alert.snoozed_until, alert.snoozed_by, alert.note = until, actor, note
            alert.acknowledged_at = alert.acknowledged_by = None
            _save(alert, "snooze", snoozed_until=until)
    return len(alerts)


def reopen(ids: Iterable[UUID], *, actor: str, note: str) -> int:
    """Take an acknowledgement or a snooze back: the alert fires and reminds again. Returns the number of alerts.

    Refuses an empty note, and ids of which none is acknowledged or snoozed.
    """
    _require(note)
    with transaction.atomic(), audit.acting_as(actor=actor, reason=note):
        alerts = _lock(ids, REOPENED_FROM)
        for alert in alerts:
            alert.state = Alert.State.FIRING
            alert.acknowledged_at = alert.acknowledged_by = alert.snoozed_until = alert.snoozed_by = None
            alert.note = note
            _save(alert, "reopen")
    return len(alerts)


def _require(note: str) -> None:
    if not note.strip():
        raise Refused("Say what you found or what you wait for: the note is empty.")


def _lock(ids: Iterable[UUID], states: tuple[Alert.State, ...]) -> list[Alert]:
    """In the evaluator's order, so that both can lock many at once."""
    found = Alert.objects.select_for_update().filter(pk__in=list(ids), state__in=states).order_by("fingerprint")
    alerts = list(found)
    if not alerts:
        raise Refused("Nothing to do: the alert has changed in the meantime. Reload the page.")
    return alerts


def _save(alert: Alert, action: str, **values: object) -> None:
    alert.save(update_fields=_TRIAGE_FIELDS)
    new_values = {"fingerprint": alert.fingerprint, "state": alert.state, **values}
    audit.record(action, table_name="alerts", row_id=alert.pk, new_values=new_values)
