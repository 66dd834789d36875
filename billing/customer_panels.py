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


@dataclass(frozen=True)
class UsageForecast:
    """What this calendar month (UTC) will come to: `expected` requests, and the day on which the limit is used up.

    `reached_on` is None where the limit holds; `fitting_plan` names the cheapest plan that the month fits into.
    """

    limit: int | None
    requests: int
    expected: int
    reached_on: date | None
    fitting_plan: str

    def __str__(self) -> str:
        month = f"{self.expected:,} requests are expected this month"
        if self.reached_on is None:
            return f"{month}{'' if self.limit is None else ', within the limit'}."
        over = self.requests >= (self.limit or 0)
        reached = "was reached" if over else "will be reached"
        return f"The limit {reached} on {self.reached_on}. {month}: {self.fitting_plan} would fit."


@dataclass(frozen=True)
class CustomerUsage:
    """A customer's days with requests, and what the month will come to: None without a live subscription."""

    days: list[UsageDay]
    forecast: UsageForecast | None


UsageSource = Callable[[UUID, date], CustomerUsage]
AlertSource = Callable[[Iterable[UUID]], Iterable[OpenAlert]]

_usage: list[UsageSource] = []
_alerts: list[AlertSource] = []


def register(*, usage: UsageSource, alerts: AlertSource) -> None:
    """Have the page ask these: usage for a customer's days from one on, alerts for the ids of customer and rows."""
    _usage.append(usage)
    _alerts.append(alerts)


def usage(user_id: UUID, since: date) -> CustomerUsage:
    """The days with requests from that day on, in order, and the forecast."""
    found = [source(user_id, since) for source in _usage]
    return CustomerUsage(
        days=sorted((day for each in found for day in each.days), key=lambda day: day.day),
        forecast=next((each.forecast for each in found if each.forecast), None),
    )


def open_alerts(ids: Iterable[UUID]) -> list[OpenAlert]:
    """The open alerts about any of the rows, the worst first."""
    wanted = list(ids)
    order = {"critical": 0, "warning": 1}
    found = (alert for source in _alerts for alert in source(wanted))
    return sorted(found, key=lambda alert: (order.get(alert.severity, 2), alert.since))
