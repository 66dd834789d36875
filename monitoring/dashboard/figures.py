"""What the dashboard and the daily report say about the business, read from the database in a few cheap queries."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection

from glyphforge.currency import units
from monitoring.models import Alert, DailyFigures, DailyMrr

MOVEMENTS = ("new", "reactivation", "expansion", "contraction", "churn")


def _rows(statement: str, *parameters: Any) -> list[dict[str, Any]]:
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
    failed_payments_this_month: int


def revenue() -> Revenue:
    columns = ", ".join(Revenue.__dataclass_fields__)
    return Revenue(**_rows(f"SELECT {columns} FROM v_revenue_metrics")[0])


@dataclass(frozen=True)
class Webhooks:
    """Stripe's events of the last 24 hours, and whatever is unfinished from any time."""

    received: int
    failed: int
    dead: int
    waiting: int
    oldest_waiting_seconds: int


def webhooks() -> Webhooks:
    return Webhooks(
        **_rows(
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
        return 100 * self.failed_requests / self.requests if self.requests else 0.0


def usage_today() -> Usage:
    """The requests of the current day, up to this moment."""
    found = _rows("SELECT requests, failed_requests, active_users FROM v_api_usage_trends WHERE day = %s", today())
    return Usage(**{name: value or 0 for name, value in found[0].items()}) if found else Usage(0, 0, 0)


@dataclass(frozen=True)
class Job:
    """A scheduled job and its last run that has ended."""

    name: str
    enabled: bool
    status: str | None
    ended_at: datetime | None
    seconds: float | None
    error: str | None
    is_late: bool

    @property
    def is_well(self) -> bool:
        return self.status != "failed" and not self.is_late


def jobs() -> list[Job]:
    """Every scheduled job, those in trouble first. Late: its slot passed by more than the grace it has."""
    found = [
        Job(**row)
        for row in _rows(
            "SELECT s.job AS name, s.enabled, r.status, r.finished_at AS ended_at,"
            " extract(epoch FROM r.finished_at - r.started_at)::float AS seconds, r.error,"
            " s.enabled AND coalesce(s.next_due_at < now() - make_interval(secs => s.grace_seconds), false) AS is_late"
            " FROM job_schedules AS s LEFT JOIN LATERAL ("
            " SELECT * FROM job_runs AS j WHERE j.job = s.job"
            " AND (j.status IN ('succeeded', 'failed') OR (j.status = 'skipped' AND j.rows_affected IS NOT NULL))"
            " ORDER BY j.started_at DESC LIMIT 1) AS r ON true"
            " ORDER BY s.job"
        )
    ]
    return sorted(found, key=lambda job: (job.is_well, job.name))


def open_alerts() -> list[Alert]:
    """Firing, acknowledged and snoozed alerts: the worst first, then the latest."""
    rank = {severity: position for position, severity in enumerate(Alert.Severity.values)}
    found = Alert.objects.filter(state__in=Alert.OPEN).order_by("-fired_at")  # all of them: they are counted too
    return sorted(found, key=lambda alert: (alert.state != Alert.State.FIRING, rank[alert.severity]))


def mrr_days(since: date, currency: str) -> list[DailyMrr]:
    return list(DailyMrr.objects.filter(day__gte=since, currency=currency).order_by("day", "tier"))


def days(since: date) -> list[DailyFigures]:
    return list(DailyFigures.objects.filter(day__gte=since).order_by("day"))


@dataclass(frozen=True)
class Churn:
    """What was lost over some days, against what there was at their start."""

    customers: int
    customers_at_start: int
    lost_cents: int
    mrr_at_start_cents: int

    @property
    def customer_percent(self) -> float | None:
        """None where there was nobody to lose."""
        return 100 * self.customers / self.customers_at_start if self.customers_at_start else None

    @property
    def mrr_percent(self) -> float | None:
        return 100 * self.lost_cents / self.mrr_at_start_cents if self.mrr_at_start_cents else None


def churn(figures: list[DailyFigures], mrr: list[DailyMrr], over_days: int = 30) -> Churn:
    """From days that reach back further than `over_days`; the last of them is today."""
    first = today() - timedelta(days=over_days - 1)
    before = [day for day in figures if day.day < first]
    return Churn(
        customers=sum(day.churned_customers for day in figures if day.day >= first),
        customers_at_start=before[-1].paying_customers if before else 0,
        lost_cents=-sum(day.churn_cents + day.contraction_cents for day in mrr if day.day >= first),
        mrr_at_start_cents=sum(day.start_cents for day in mrr if day.day == first),
    )


def money(cents: int, currency: str) -> str:
    """A short amount for people, in whole units: `$12,345`, `-€20`, `1,200 CHF`."""
    symbol = {"usd": "$", "eur": "€", "gbp": "£"}.get(currency, "")
    amount = f"{abs(units(cents, currency)):,.0f}"
    sign = "-" if cents < 0 else ""
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency.upper()}"


def midnight(day: date) -> datetime:
    """The moment a day begins in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
