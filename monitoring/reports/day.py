"""What one day came to: everything that a report compares."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.db import connection

from monitoring.dashboard import figures
from monitoring.models import DailyFigures, DailyMrr


@dataclass(frozen=True)
class Day:
    """The figures of one day (UTC). Money is in cents of the report's currency, `mrr` as of the day's end.

    `errors` is the share of failed requests in percent; `average_ms` a response time.
    """

    mrr: int = 0
    net_new: int = 0
    paying: int = 0
    churned: int = 0
    new_users: int = 0
    collected: int = 0
    refunded: int = 0
    disputed: int = 0
    failed_payments: int = 0
    requests: int = 0
    errors: float = 0.0
    active: int = 0
    average_ms: float = 0.0
    events: int = 0
    job_runs: int = 0
    failed_runs: int = 0


def read_day(day: date, currency: str, mrr: list[DailyMrr], rows: list[DailyFigures]) -> Day:
    """Read a day's figures: payments, events and runs from the tables, the rest from the rows that are given.

    `mrr` and `rows` may hold other days too; a day that they do not hold counts as nothing. Payments count on the day
    they settled, refunds and disputes on their own, failed payments on the day they were tried.
    """
    books = [row for row in mrr if row.day == day]
    counted = next((row for row in rows if row.day == day), None)
    start, end = figures.midnight(day), figures.midnight(day + timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(amount_cents) FILTER (WHERE kind = 'charge'), 0)::bigint,"
            " coalesce(-sum(amount_cents) FILTER (WHERE kind IN ('refund', 'refund_failed')), 0)::bigint,"
            " coalesce(-sum(amount_cents) FILTER (WHERE kind IN ('dispute', 'dispute_reversed')), 0)::bigint,"
            " (SELECT count(*) FROM payment_history"
            "  WHERE status = 'failed' AND currency = %s AND created_at >= %s AND created_at < %s)"
            " FROM payment_movements WHERE currency = %s AND occurred_at >= %s AND occurred_at < %s",
            [currency, start, end] * 2,
        )
        collected, refunded, disputed, failed_payments = cursor.fetchone()
        cursor.execute(
            "SELECT (SELECT count(*) FROM stripe_webhook_events WHERE received_at >= %s AND received_at < %s),"
            " count(*), count(*) FILTER (WHERE status = 'failed')"
            " FROM job_runs WHERE started_at >= %s AND started_at < %s AND status IN ('succeeded', 'failed')",
            [start, end, start, end],
        )
        events, job_runs, failed_runs = cursor.fetchone()
    return Day(
        mrr=sum(row.end_cents for row in books),
        net_new=sum(row.end_cents - row.start_cents for row in books),
        paying=sum(row.customers for row in books),
        churned=counted.churned_customers if counted else 0,
        new_users=counted.new_users if counted else 0,
        collected=collected,
        refunded=refunded,
        disputed=disputed,
        failed_payments=failed_payments,
        requests=counted.requests if counted else 0,
        errors=100 * counted.failed_requests / counted.requests if counted and counted.requests else 0.0,
        active=counted.active_users if counted else 0,
        average_ms=counted.total_response_time_ms / counted.requests if counted and counted.requests else 0.0,
        events=events,
        job_runs=job_runs,
        failed_runs=failed_runs,
    )
