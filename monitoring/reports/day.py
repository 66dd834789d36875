"""What one day came to: everything that a report compares."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import connection

from glyphforge.database.budget import Readings
from monitoring.dashboard import figures
from monitoring.models import DailyFigures, DailyMrr


@dataclass(frozen=True)
class Day:
    """The figures of one day (UTC); None is one that could not be read.

    Money is in cents of the report's currency, `mrr` as of the day's end. `errors` is the share of failed requests in
    percent; `average_ms` a response time.
    """

    mrr: int | None = None
    net_new: int | None = None
    paying: int | None = None
    churned: int | None = None
    new_users: int | None = None
    collected: int | None = None
    refunded: int | None = None
    disputed: int | None = None
    failed_payments: int | None = None
    requests: int | None = None
    errors: float | None = None
    active: int | None = None
    average_ms: float | None = None
    events: int | None = None
    job_runs: int | None = None
    failed_runs: int | None = None


def read_day(
    day: date, currency: str, mrr: list[DailyMrr] | None, rows: list[DailyFigures] | None, readings: Readings
) -> Day:
    """Read a day's figures: payments, events and runs from the tables, the rest from the rows that are given.

    `mrr` and `rows` may hold other days too; a day that they do not hold counts as nothing. They are None where they
    could not be read. Payments count on the day they settled, refunds and disputes on their own, failed payments on the
    day they were tried.
    """
    nothing: Mapping[str, int] = {}
    return Day(
        **_books([row for row in mrr if row.day == day]) if mrr is not None else nothing,
        **_counted(next((row for row in rows if row.day == day), None)) if rows is not None else {},
        **readings.read("Payments", lambda: _money(day, currency), nothing),
        **readings.read("Failed payments", lambda: _failed_payments(day, currency), nothing),
        **readings.read("Stripe events", lambda: _events(day), nothing),
        **readings.read("Job runs", lambda: _runs(day), nothing),
    )


def _books(rows: list[DailyMrr]) -> dict[str, int]:
    return {
        "mrr": sum(row.end_cents for row in rows),
        "net_new": sum(row.end_cents - row.start_cents for row in rows),
        "paying": sum(row.customers for row in rows),
    }


def _counted(row: DailyFigures | None) -> dict[str, Any]:
    requests = row.requests if row else 0
    return {
        "churned": row.churned_customers if row else 0,
        "new_users": row.new_users if row else 0,
        "requests": requests,
        "errors": 100 * row.failed_requests / requests if row and requests else 0.0,
        "active": row.active_users if row else 0,
        "average_ms": row.total_response_time_ms / requests if row and requests else 0.0,
    }


def _money(day: date, currency: str) -> Mapping[str, int]:
    return _read(
        "SELECT coalesce(sum(amount_cents) FILTER (WHERE kind = 'charge'), 0)::bigint AS collected,"
        " coalesce(-sum(amount_cents) FILTER (WHERE kind IN ('refund', 'refund_failed')), 0)::bigint AS refunded,"
        " coalesce(-sum(amount_cents) FILTER (WHERE kind IN ('dispute', 'dispute_reversed')), 0)::bigint AS disputed"
        " FROM payment_movements WHERE occurred_at >= %s AND occurred_at < %s AND currency = %s",
        day,
        currency,
    )


def _failed_payments(day: date, currency: str) -> Mapping[str, int]:
    return _read(
        "SELECT count(*) AS failed_payments FROM payment_history"
        " WHERE status = 'failed' AND created_at >= %s AND created_at < %s AND currency = %s",
        day,
        currency,
    )


def _events(day: date) -> Mapping[str, int]:
    return _read(
        "SELECT count(*) AS events FROM stripe_webhook_events WHERE received_at >= %s AND received_at < %s", day
    )


def _runs(day: date) -> Mapping[str, int]:
    return _read(
        "SELECT count(*) AS job_runs, count(*) FILTER (WHERE status = 'failed') AS failed_runs FROM job_runs"
        " WHERE started_at >= %s AND started_at < %s AND status IN ('succeeded', 'failed')",
        day,
    )


def _read(statement: str, day: date, *parameters: str) -> Mapping[str, int]:
    """The one row by its columns; the statement's first two parameters are the day's beginning and end."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [figures.midnight(day), figures.midnight(day + timedelta(days=1)), *parameters])
        return dict(zip((column.name for column in cursor.description), cursor.fetchone(), strict=True))
