"""What the checks see at this moment."""

from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from monitoring.models import Alert


def rank(severity: str) -> int:
    """How bad a severity is, from 0: higher is worse. ValueError for a severity that is none."""
    return len(Alert.Severity) - 1 - Alert.Severity.values.index(severity)


@dataclass(frozen=True)
class Observation:
    """A row of `v_alerts`: a check that fails on an object.

    `fingerprint` names the two and never the value, so that it is the same at every evaluation. Without an object the
    whole system is meant.
    """

    fingerprint: str
    severity: str
    alert_type: str
    subject: str
    message: str
    remediation: str
    value: Decimal | None = None
    object_type: str | None = None
    object_id: str | None = None


def observe() -> dict[str, Observation]:
    """Everything that is wrong now, by fingerprint; of a check that fails twice on one object the worse."""
    worst: dict[str, Observation] = {}
    for seen in _rows():
        known = worst.get(seen.fingerprint)
        if known is None or rank(seen.severity) > rank(known.severity):
            worst[seen.fingerprint] = seen
    return worst


def _rows() -> list[Observation]:
    columns = ", ".join(Observation.__dataclass_fields__)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM v_alerts")
        return [Observation(*(row[:3]), *(text or "" for text in row[3:6]), *row[6:]) for row in cursor.fetchall()]
