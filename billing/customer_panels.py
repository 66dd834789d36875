"""What the customer page shows of what other apps know: they say it here, as billing knows nothing of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID


@dataclass(frozen=True)
class UsageDay:
    """A customer's requests of one day (UTC); `failed` of them were answered with 400 or above."""

    day: date
    requests: int
    failed: int


@dataclass(frozen=True)
class OpenAlert:
    """Something about this customer that somebody should look at."""

    severity: str
    message: str
    since: datetime
    url: str


UsageSource = Callable[[UUID, date], Iterable[UsageDay]]
AlertSource = Callable[[Iterable[UUID]], Iterable[OpenAlert]]

_usage: list[UsageSource] = []
_alerts: list[AlertSource] = []


def register(*, usage: UsageSource, alerts: AlertSource) -> None:
    """Have the page ask these: usage for a customer's days from one on, alerts for the ids of customer and rows."""
    _usage.append(usage)
    _alerts.append(alerts)


def usage_days(user_id: UUID, since: date) -> list[UsageDay]:
    """The days with requests, in order."""
    return sorted((day for source in _usage for day in source(user_id, since)), key=lambda day: day.day)


def open_alerts(ids: Iterable[UUID]) -> list[OpenAlert]:
    """The open alerts about any of the rows, the worst first."""
    wanted = list(ids)
    order = {"critical": 0, "warning": 1}
    found = (alert for source in _alerts for alert in source(wanted))
    return sorted(found, key=lambda alert: (order.get(alert.severity, 2), alert.since))
