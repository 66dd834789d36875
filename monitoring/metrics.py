"""Figures for Prometheus, read from the database at each scrape: every web process answers the same."""

import hmac
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from glyphforge.database.budget import Readings, in_time
from monitoring.worker.heartbeat import queue_state

HEALTH = {"ok": 0, "warning": 1, "critical": 2, "unknown": -1}


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text for the bearer of METRICS_TOKEN: 401 for anybody else, 403 while no token is configured.

    503 where the database fails. The format: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    if not settings.METRICS_TOKEN:
        return HttpResponse("METRICS_TOKEN is not set.\n", status=403, content_type="text/plain")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode()):
        return HttpResponse(
            "The bearer token is missing or wrong.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    registry = CollectorRegistry()
    registry.register(Figures())
    try:
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    except Error as error:
        return HttpResponse(f"database error ({type(error).__name__})\n", status=503, content_type="text/plain")


class Figures(Collector):
    """One scrape: a handful of indexed queries, no state between scrapes.

    Names and units are as in https://prometheus.io/docs/practices/naming/
    """

    def describe(self) -> list[Metric]:
        """Nothing: otherwise registering would already scrape."""
        return []  # keeps registration from scraping

    def collect(self) -> Iterator[Metric]:
        """Read every figure from the database, in the order in which it is served.

        A part that cannot be read within its share of four seconds, as when a table is locked, is left out and named.
        Raises what the database raises when it is not there at all.
        """
        yield from in_time(_collected)


def _collected(readings: Readings) -> list[Metric]:
    nothing: list[Metric] = []
    found = [metric for name, read in PARTS.items() for metric in readings.read(name, partial(_all, read), nothing)]
    unavailable = [(name, reason, 1) for name, reason in readings.missing.items()]
    text = "1 for each part of this scrape that could not be read, with the reason."
    return [*found, _labelled("unavailable", text, ["part", "reason"], unavailable)]


def _all(read: Callable[[], Iterator[Metric]]) -> list[Metric]:
    return list(read())


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"glyphforge_{name}", help_text, value=float(value))


def _labelled(name: str, help_text: str, labels: list[str], rows: list[tuple[Any, ...]]) -> GaugeMetricFamily:
    """Rows end with the value, after one text for each label; rows without a value are left out."""
    family = GaugeMetricFamily(f"glyphforge_{name}", help_text, labels=labels)
    for *texts, value in rows:
        if value is not None:
            family.add_metric([str(text) for text in texts], float(value))
    return family


def _webhooks() -> Iterator[Metric]:
    yield _labelled(
        "webhook_events_unfinished",
        "Stripe events that are not finished, by status.",
        ["status"],
        _rows(
            "SELECT s.status, count(e.status)"
            " FROM unnest(ARRAY['pending', 'processing', 'failed', 'dead']) AS s (status)"
            " LEFT JOIN stripe_webhook_events AS e ON e.status = s.status"
            " AND e.status IN ('pending', 'processing', 'failed', 'dead') GROUP BY s.status ORDER BY s.status"
        ),
    )
    received, seconds, oldest = _rows(
        "SELECT count(*), coalesce(avg(extract(epoch FROM processed_at - received_at)), 0), ("
        " SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0) FROM stripe_webhook_events"
        " WHERE status IN ('pending', 'processing'))"
        " FROM stripe_webhook_events WHERE received_at >= now() - interval '1 hour'"
    )[0]
    yield _gauge("webhook_events_received_last_hour", "Stripe events received within the last hour.", received)
    yield _gauge("webhook_processing_seconds", "Mean time from receipt to processed, last hour.", seconds)
    yield _gauge("webhook_lag_seconds", "Age of the oldest event that waits or is being processed.", oldest)


def _queue() -> Iterator[Metric]:
    state = queue_state()
    yield _gauge("worker_alive", "1 when the queue is being read.", state.alive)
    yield _gauge("queue_waiting", "Tasks that wait in the queue.", state.waiting)
    yield _gauge("queue_oldest_seconds", "Age of the oldest waiting task.", state.oldest_waiting_seconds)


def _jobs() -> Iterator[Metric]:
    rows = _rows(
        "SELECT job, extract(epoch FROM last_success_at), extract(epoch FROM last_run_at - last_started_at),"
        " (last_status = 'failed')::int FROM job_health ORDER BY job"
    )
    yield _labelled(
        "job_last_success_timestamp_seconds", "When the job last succeeded.", ["job"], [row[:2] for row in rows]
    )
    yield _labelled(
        "job_last_duration_seconds", "How long the last run took.", ["job"], [(row[0], row[2]) for row in rows]
    )
    yield _labelled("job_failed", "1 when the last run failed.", ["job"], [(row[0], row[3]) for row in rows])


def _payments() -> Iterator[Metric]:
    yield _labelled(
        "payment_movements_this_month_cents",
        "What came in (positive) and went out this calendar month (UTC), in the currency's smallest unit.",
        ["kind", "currency"],
        _rows(
            "SELECT kind, currency, sum(amount_cents) FROM payment_movements"
            " WHERE occurred_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
            " AND occurred_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'"
            " GROUP BY kind, currency ORDER BY kind, currency"
        ),
    )


def _usage() -> Iterator[Metric]:
    requests, failed = _rows(
        "SELECT count(*), count(*) FILTER (WHERE status_code >= 400) FROM api_usage"
        " WHERE created_at >= now() - interval '5 minutes'"
    )[0]
    yield _gauge("api_requests_per_second", "API requests, mean of the last 5 minutes.", requests / 300)
    yield _gauge("api_failed_requests_per_second", "Failed API requests, mean of the last 5 minutes.", failed / 300)
    waiting = _rows("SELECT count(*) FROM api_usage_deltas")[0][0]
    yield _gauge("usage_deltas_waiting", "Counted usage that is not folded into the months yet.", waiting)


def _health() -> Iterator[Metric]:
    yield _labelled(
        "health",
        "Checks: 0 ok, 1 warning, 2 critical, -1 cannot be measured.",
        ["check"],
        [(name, HEALTH[status]) for name, status in _rows("SELECT check_name, status FROM v_system_health ORDER BY 1")],
    )


def _alerts() -> Iterator[Metric]:
    yield _labelled(
        "alerts",
        "Open alerts by severity and state.",
        ["severity", "state"],
        _rows(
            "SELECT v.severity, t.state, count(a.id)"
            " FROM unnest(ARRAY['critical', 'warning', 'info']) AS v (severity)"
            " CROSS JOIN unnest(ARRAY['pending', 'firing', 'acknowledged', 'snoozed']) AS t (state)"
            " LEFT JOIN alerts AS a ON a.severity = v.severity AND a.state = t.state AND a.state <> 'resolved'"
            " GROUP BY v.severity, t.state ORDER BY v.severity, t.state"
        ),
    )


def _messages() -> Iterator[Metric]:
    yield _labelled(
        "notifications_unsent",
        "Messages that wait to be delivered or were given up.",
        ["status"],
        _rows(
            "SELECT s.status, count(n.id) FROM unnest(ARRAY['pending', 'dead']) AS s (status)"
            " LEFT JOIN notifications AS n ON n.status = s.status GROUP BY s.status ORDER BY s.status"
        ),
    )


def _database() -> Iterator[Metric]:
    size = _rows("SELECT pg_database_size(current_database())")[0][0]
    yield _gauge("database_size_bytes", "Size of the database on disk.", size)
    active, idle, in_transaction, most = _rows(
        "SELECT active, idle, idle_in_transaction, max_connections FROM v_database_connections"
    )[0]
    yield _labelled(
        "database_connections",
        "Connections to the server by state.",
        ["state"],
        [("active", active), ("idle", idle), ("idle_in_transaction", in_transaction)],
    )
    yield _gauge("database_max_connections", "Connections that the server allows.", most)


# The checks first: they name what is locked, and have an end of their own.
PARTS: dict[str, Callable[[], Iterator[Metric]]] = {
    "health": _health,
    "database": _database,
    "queue": _queue,
    "jobs": _jobs,
    "webhooks": _webhooks,
    "payments": _payments,
    "usage": _usage,
    "alerts": _alerts,
    "messages": _messages,
}
