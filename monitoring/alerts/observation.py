"""What the checks see at this moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import connection

from monitoring.models import Alert


def rank(severity: str) -> int:
    """How bad a severity is, from 0: higher is worse. ValueError for a severity that is none."""
    return len(Alert.Severity) - 1 - Alert.Severity.values.index(severity)


@dataclass(frozen=True)
class Observation:
    """A row of `seen_alerts()`: a check that fails on an object, or for one cause on several.

    `fingerprint` names check and object or cause and never the value, so that it is the same at every evaluation.
    Without an object the whole system is meant. `muted_by` is the fingerprint of the alert that it follows from.
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
    objects: list[str] = field(default_factory=list)
    consequences: list[str] = field(default_factory=list)
    muted_by: str | None = None
    silenced_until: datetime | None = None


@dataclass(frozen=True)
class Observed:
    """Everything that is wrong now, by fingerprint, and of which checks nothing can be said, with the reason."""

    alerts: Mapping[str, Observation]
    unmeasured: Mapping[str, str]


def observe() -> Observed:
    """Ask every check, what is muted included; of a check that fails twice on one object the worse counts."""
    worst: dict[str, Observation] = {}
    unmeasured: dict[str, str] = {}
    for seen in _rows():
        if seen.severity is None:
            unmeasured[seen.alert_type] = seen.message
            continue
        if seen.severity not in Alert.Severity:
            unmeasured[seen.alert_type] = f"Its view says {seen.severity!r}, which is no severity."
            continue
        known = worst.get(seen.fingerprint)
        if known is None or rank(seen.severity) > rank(known.severity):
            worst[seen.fingerprint] = seen
    return Observed(worst, unmeasured)


def _rows() -> list[Observation]:
    columns = ", ".join(f"a.{name}" for name in Observation.__dataclass_fields__)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM (SELECT jsonb_agg(to_jsonb(h)) AS rows FROM system_health() AS h) AS health"
            " CROSS JOIN LATERAL seen_alerts(health.rows) AS a"
        )
        return [Observation(*(row[:3]), *(text or "" for text in row[3:6]), *row[6:]) for row in cursor.fetchall()]
