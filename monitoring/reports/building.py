"""Puts a day beside the day and the week before it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Literal

from django.db import connection

from glyphforge.money import money
from monitoring.dashboard import figures
from monitoring.models import Alert, DailyFigures, DailyMrr, JobRun, Notification, SystemHealth
from monitoring.reports.day import Day, read_day
from monitoring.reports.report import CHART_DAYS, Comparison, Figure, Report, Section, Trend

Better = Literal["more", "less", "neither"]


def build_report(day: date | None = None) -> Report:
    """Build the report on a day (UTC), by default yesterday. Reads only.

    Health and the size of the database are those of this moment, whichever the day.
    """
    day = day or figures.today() - timedelta(days=1)
    currency = figures.revenue().currency
    since = day - timedelta(days=CHART_DAYS - 1)
    mrr = [row for row in figures.mrr_days(since, currency) if row.day <= day]
    rows = [row for row in figures.days(since) if row.day <= day]
    now, before, week = (
        read_day(on, currency, mrr, rows) for on in (day, day - timedelta(days=1), day - timedelta(days=7))
    )
    health = _health()
    headline = (
        f"MRR {money(now.mrr, currency, short=True)} ({_signed(now.net_new, currency)}), {now.requests:,} requests, "
        f"{health.lines[0].lower()}"
    )
    return Report(
        day=day,
        headline=headline,
        sections=[
            _business(now, before, week, currency),
            _usage(now, before, week),
            health,
            _maintenance(day, now, before, week),
        ],
        trends=_trends(mrr, rows, currency),
    )


def _business(now: Day, before: Day, week: Day, currency: str) -> Section:
    def cents(label: str, name: str, better: Better) -> Figure:
        return _figure(label, name, now, before, week, better=better, currency=currency)

    def count(label: str, name: str, better: Better) -> Figure:
        return _figure(label, name, now, before, week, better=better)

    return Section(
        "Business",
        [
            cents("MRR", "mrr", "more"),
            cents("Net new MRR", "net_new", "more"),
            count("Paying customers", "paying", "more"),
            count("Customers lost", "churned", "less"),
            count("New customers", "new_users", "more"),
            cents("Payments", "collected", "more"),
            count("Failed payments", "failed_payments", "less"),
            cents("Refunded", "refunded", "less"),
            cents("Disputed", "disputed", "less"),
        ],
    )


def _usage(now: Day, before: Day, week: Day) -> Section:
    return Section(
        "Usage",
        [
            _figure("Requests", "requests", now, before, week, better="more"),
            _figure("Error rate", "errors", now, before, week, better="less", unit=" %"),
            _figure("Active customers", "active", now, before, week, better="more"),
            _figure("Average response", "average_ms", now, before, week, better="less", unit=" ms"),
        ],
    )


def _health() -> Section:
    alerts = [alert for alert in figures.open_alerts() if alert.state == Alert.State.FIRING]
    # A check that raises alerts is told once.
    told = {alert.alert_type for alert in alerts}
    failing = [
        check
        for check in SystemHealth.objects.all()
        if check.status != SystemHealth.Status.OK and check.check_name not in told
    ]
    undelivered = Notification.objects.filter(status=Notification.Status.DEAD).count()
    critical = sum(alert.severity == Alert.Severity.CRITICAL for alert in alerts)
    lines = [
        f"{_plural(len(alerts), 'open alert')}, {critical} critical" if alerts else "No open alerts",
        *(f"{alert.get_severity_display()}: {alert.subject}: {alert.message}" for alert in alerts[:10]),
    ]
    if len(alerts) > 10:
        lines.append(f"and {len(alerts) - 10} more")
    lines += [
        f"{check.get_status_display()}: {check.title}: {check.message or 'cannot be measured'}" for check in failing
    ]
    if undelivered:
        lines.append(f"{_plural(undelivered, 'message')} could not be delivered")
    return Section("Health", lines=lines)


def _maintenance(day: date, now: Day, before: Day, week: Day) -> Section:
    start = figures.midnight(day)
    failed = JobRun.objects.filter(
        status=JobRun.Status.FAILED, started_at__gte=start, started_at__lt=start + timedelta(days=1)
    ).order_by("job", "started_at")
    latest = {run.job: run for run in failed}
    lines = [f"{run.job} failed: {(run.error or 'no error noted').splitlines()[0][:200]}" for run in latest.values()]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_size_pretty(pg_database_size(current_database())),"
            " round(100.0 * blks_hit / nullif(blks_hit + blks_read, 0), 1),"
            " (SELECT count(*) FROM pg_stat_user_indexes AS i JOIN pg_index AS x USING (indexrelid)"
            "  WHERE i.idx_scan = 0 AND NOT x.indisunique AND pg_relation_size(i.indexrelid) > 10 * 1024 * 1024),"
            " (SELECT coalesce(round(100.0 * sum(n_dead_tup) / nullif(sum(n_live_tup + n_dead_tup), 0), 1), 0)"
            "  FROM pg_stat_user_tables)"
            " FROM pg_stat_database WHERE datname = current_database()"
        )
        size, hits, unused, dead = cursor.fetchone()
    lines.append(
        f"Database {size}, {hits if hits is not None else 0} % of reads from cache, {dead} % dead rows, "
        f"{_plural(unused, 'index', 'indexes')} over 10 MB never used"
    )
    return Section(
        "Maintenance",
        [
            _figure("Stripe events", "events", now, before, week, better="neither"),
            _figure("Job runs", "job_runs", now, before, week, better="neither"),
            _figure("Failed job runs", "failed_runs", now, before, week, better="less"),
        ],
        lines,
    )


def _trends(mrr: list[DailyMrr], rows: list[DailyFigures], currency: str) -> list[Trend]:
    ends: dict[date, int] = {}
    for row in mrr:
        ends[row.day] = ends.get(row.day, 0) + row.end_cents
    return [
        trend
        for trend in (
            _trend("MRR", list(ends.values()), lambda value: money(value, currency, short=True)),
            _trend("Requests", [row.requests for row in rows], lambda value: f"{value:,}"),
            _trend("New customers", [row.new_users for row in rows], lambda value: f"{value:,}"),
        )
        if trend.heights
    ]


def _trend(title: str, values: list[int], show: Callable[[int], str]) -> Trend:
    top = max(values, default=0) or 1
    heights = [max(0, round(100 * value / top)) for value in values]
    return Trend(title, show(values[0]) if values else "", show(values[-1]) if values else "", heights)


def _figure(
    label: str, name: str, now: Day, before: Day, week: Day, *, better: Better, currency: str = "", unit: str = ""
) -> Figure:
    value, day_before, week_before = (getattr(day, name) for day in (now, before, week))
    if currency:
        shown = money(value, currency, short=True)
    elif isinstance(value, float):
        shown = f"{value:,.1f}{unit}"
    else:
        shown = f"{value:,}"
    return Figure(label, shown, _compare(value, day_before, better), _compare(value, week_before, better))


def _compare(now: float, then: float, better: Better) -> Comparison:
    change = now - then
    if then:
        percent = 100 * change / abs(then)
        text = f"{percent:+.1f} %" if abs(percent) < 1000 else "x10 or more"
        unchanged = abs(percent) < 0.05
    else:
        text, unchanged = ("new", False) if change else ("0.0 %", True)
    if unchanged or better == "neither":
        return Comparison("=" if unchanged else text, "neutral")
    return Comparison(text, "good" if (change > 0) == (better == "more") else "bad")


def _signed(cents: int, currency: str) -> str:
    return f"{'+' if cents >= 0 else ''}{money(cents, currency, short=True)}"


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
