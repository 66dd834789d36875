"""What the dashboard and the daily report say about the business, read from the database in a few cheap queries."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection

from monitoring.alerts.observation import rank
from monitoring.models import Alert, DailyFigures, DailyMrr

MOVEMENTS = ("new", "reactivation", "expansion", "contraction", "churn")


def query(statement: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of one statement as dictionaries by column."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def today() -> date:
    """The current day in UTC, in which every figure is counted."""
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Revenue:
    """The state of `v_revenue_metrics`; money in cents of `currency`."""

    currency: str
    mrr_cents: int
    arr_cents: int
    arpu_cents: int
    paying_customers: int
    revenue_this_month_cents: int
    revenue_last_month_cents: int
    refunded_this_month_cents: int
    disputed_this_month_cents: int
    failed_payments_this_month: int


def revenue() -> Revenue:
    """Read `v_revenue_metrics`, which has one row, in the currency that most customers pay in."""
    columns = ", ".join(Revenue.__dataclass_fields__)
    return Revenue(**query(f"SELECT {columns} FROM v_revenue_metrics")[0])


@dataclass(frozen=True)
class Webhooks:
    """Stripe's events of the last 24 hours, and whatever is unfinished from any time."""

    received: int
    failed: int
    dead: int
    waiting: int
    oldest_waiting_seconds: int


def webhooks() -> Webhooks:
    """Count the events by what became of them, by index: those of a day, and those unfinished."""
    return Webhooks(
        **query(
            "SELECT * FROM (SELECT count(*) AS received FROM stripe_webhook_events"
            " WHERE received_at >= now() - interval '1 day') AS last_day, ("
            " SELECT count(*) FILTER (WHERE status = 'failed') AS failed,"
            " count(*) FILTER (WHERE status = 'dead') AS dead,"
            " count(*) FILTER (WHERE status IN ('pending', 'processing')) AS waiting,"
            " coalesce(extract(epoch FROM now()"
            " - min(received_at) FILTER (WHERE status IN ('pending', 'processing'))), 0)::int AS oldest_waiting_seconds"
            " FROM stripe_webhook_events WHERE status IN ('pending', 'processing', 'failed', 'dead')) AS unfinished"
        )[0]
    )


@dataclass(frozen=True)
class Usage:
    """The API's requests of a span of time."""

    requests: int
    failed_requests: int
    active_users: int

    @property
    def error_percent(self) -> float:
        """The share of requests that failed, 0 to 100; 0 without requests."""
        return 100 * self.failed_requests / self.requests if self.requests else 0.0


def usage_today() -> Usage:
    """Count the requests of the current day (UTC), up to this moment."""
    found = query("SELECT requests, failed_requests, active_users FROM v_api_usage_trends WHERE day = %s", today())
    return Usage(**{name: value or 0 for name, value in found[0].items()}) if found else Usage(0, 0, 0)


@dataclass(frozen=True)
class Job:
    """A scheduled job and its last run that has ended, of which all is None before the first.

    `is_overdue` says that a slot passed by more than its grace.
    """

    name: str
    enabled: bool
    status: str | None
    ended_at: datetime | None
    seconds: float | None
    error: str | None
    is_overdue: bool

    @property
    def is_healthy(self) -> bool:
        """Whether the last run did not fail and no slot is overdue."""
        return self.status != "failed" and not self.is_overdue


def jobs() -> list[Job]:
    """Every scheduled job, those in trouble first."""
    found = [
        Job(**row)
        for row in query(
            "SELECT job AS name, enabled, last_status AS status, last_run_at AS ended_at,"
            " extract(epoch FROM last_run_at - last_started_at)::float AS seconds, last_error AS error,"
            " is_overdue FROM job_health ORDER BY job"
        )
    ]
    return sorted(found, key=lambda job: (job.is_healthy, job.name))


def open_alerts() -> list[Alert]:
    """Firing, acknowledged and snoozed alerts: the worst first, then the latest."""
    found = Alert.objects.filter(state__in=Alert.OPEN).order_by("-fired_at")  # all of them: they are counted too
    return sorted(found, key=lambda alert: (alert.state != Alert.State.FIRING, -rank(alert.severity)))


def mrr_days(since: date, currency: str) -> list[DailyMrr]:
    """The days of recurring revenue in one currency, from `since` on: by day, then tier."""
    return list(DailyMrr.objects.filter(day__gte=since, currency=currency).order_by("day", "tier"))


def days(since: date) -> list[DailyFigures]:
    """The days of figures from `since` on, in order; the last may be today, which is provisional."""
    return list(DailyFigures.objects.filter(day__gte=since).order_by("day"))


@dataclass(frozen=True)
class Churn:
    """What was lost over some days, against what there was at their start; `lost_cents` is not negative."""

    customers: int
    customers_at_start: int
    lost_cents: int
    mrr_at_start_cents: int

    @property
    def customer_percent(self) -> float | None:
        """The share of customers lost, in percent; None where there was nobody to lose."""
        return 100 * self.customers / self.customers_at_start if self.customers_at_start else None

    @property
    def mrr_percent(self) -> float | None:
        """The share of recurring revenue lost, in percent; None where there was none to lose."""
        return 100 * self.lost_cents / self.mrr_at_start_cents if self.mrr_at_start_cents else None


def churn(figures: list[DailyFigures], mrr: list[DailyMrr], over_days: int = 30) -> Churn:
    """Add up what was lost over the last `over_days` days, today included.

    Both lists are in order of day and must reach further back, for what there was at the start; `mrr` is of one
    currency. Contraction counts as lost revenue, beside churn.
    """
    first = today() - timedelta(days=over_days - 1)
    before = [day for day in figures if day.day < first]
    return Churn(
        customers=sum(day.churned_customers for day in figures if day.day >= first),
        customers_at_start=before[-1].paying_customers if before else 0,
        lost_cents=-sum(day.churn_cents + day.contraction_cents for day in mrr if day.day >= first),
        mrr_at_start_cents=sum(day.start_cents for day in mrr if day.day == first),
    )


def midnight(day: date) -> datetime:
    """The moment a day begins in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
