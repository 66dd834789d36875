"""Puts a day beside the day and the week before it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Literal

from django.db import connection

from glyphforge.audit import seals
from glyphforge.database.budget import Readings, in_time
from glyphforge.money import money
from monitoring.dashboard import figures
from monitoring.dashboard.at_risk import at_risk, expiring_cards, recovery_lines
from monitoring.models import Alert, DailyFigures, DailyMrr, JobRun, Notification, SystemHealth
from monitoring.reports.day import Day, read_day
from monitoring.reports.report import CHART_DAYS, Comparison, Figure, Report, Section, Trend

Better = Literal["more", "less", "neither"]
NOT_KNOWN = Comparison("-", "neutral")
# A report is waited for by nobody; at size a day takes a second.
SECONDS = 60.0


def build_report(day: date | None = None) -> Report:
    """Build the report on a day (UTC), by default yesterday. Reads only.

    Health and the size of the database are those of this moment, whichever the day. What is locked, broken or too slow
    is left out and named at the end.
    """
    return in_time(lambda readings: _build(day or figures.today() - timedelta(days=1), readings), seconds=SECONDS)


def _build(day: date, readings: Readings) -> Report:
    currency = readings.read("Currency", lambda: figures.revenue().currency, "usd")
    since = day - timedelta(days=CHART_DAYS - 1)
    mrr = readings.read("MRR", lambda: [row for row in figures.mrr_days(since, currency) if row.day <= day], None)
    rows = readings.read("Usage", lambda: [row for row in figures.days(since) if row.day <= day], None)
    now, before, week = (
        read_day(on, currency, mrr, rows, readings) for on in (day, day - timedelta(days=1), day - timedelta(days=7))
    )
    health = _health(readings)
    sections = [
        _business(now, before, week, currency),
        _at_risk(readings),
        _usage(now, before, week),
        health,
        _maintenance(day, now, before, week, readings),
    ]
    if readings.missing:
        sections.append(
            Section("Not in this report", lines=[f"{name}: {why}" for name, why in readings.missing.items()])
        )
    headline = [
        f"MRR {money(now.mrr, currency, short=True)} ({_signed(now.net_new, currency)})"
        if now.mrr is not None and now.net_new is not None
        else "MRR not known",
        f"{now.requests:,} requests" if now.requests is not None else "requests not known",
        health.lines[0].lower(),
    ]
    return Report(
        day=day, headline=", ".join(headline), sections=sections, trends=_trends(mrr or [], rows or [], currency)
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


def _at_risk(readings: Readings) -> Section:
    nothing: list[str] = []
    return Section(
        "Payments at risk",
        lines=[
            *readings.read("Payments at risk", _overdue, nothing),
            *readings.read("Recovery", recovery_lines, nothing),
            *readings.read("Cards", _cards, nothing),
        ],
    )


def _overdue() -> list[str]:
    risk = at_risk()
    if not risk.invoices:
        return ["Nothing is overdue"]
    overdue = f"{_plural(risk.invoices, 'invoice')} of {_plural(risk.customers, 'customer')}, {risk.due}"
    return [
        f"Overdue: {overdue}; MRR at stake {risk.mrr}",
        f"Without an owner: {risk.without_owner:,}; with time until a day: {risk.with_time:,}",
    ]


def _cards() -> list[str]:
    count = expiring_cards()
    return [f"{_plural(count, 'card')} will have expired at the next charge"] if count else []


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


def _health(readings: Readings) -> Section:
    nothing: list[str] = []
    lines = readings.read("Alerts", _open_alerts, ["Alerts not known"])
    lines += readings.read("Checks", _failing_checks, nothing)
    return Section("Health", lines=lines + readings.read("Messages", _undelivered, nothing))


def _firing() -> list[Alert]:
    return [alert for alert in figures.open_alerts() if alert.state == Alert.State.FIRING]


def _open_alerts() -> list[str]:
    alerts = _firing()
    critical = sum(alert.severity == Alert.Severity.CRITICAL for alert in alerts)
    lines = [
        f"{_plural(len(alerts), 'open alert')}, {critical} critical" if alerts else "No open alerts",
        *(f"{alert.get_severity_display()}: {alert.subject}: {alert.message}" for alert in alerts[:10]),
    ]
    if len(alerts) > 10:
        lines.append(f"and {len(alerts) - 10} more")
    return lines


def _failing_checks() -> list[str]:
    # A check that raises alerts is told once.
    told = {alert.alert_type for alert in _firing()}
    return [
        f"{check.get_status_display()}: {check.title}: {check.message or 'cannot be measured'}"
        for check in SystemHealth.objects.all()
        if check.status != SystemHealth.Status.OK and check.check_name not in told
    ]


def _undelivered() -> list[str]:
    undelivered = Notification.objects.filter(status=Notification.Status.DEAD).count()
    return [f"{_plural(undelivered, 'message')} could not be delivered"] if undelivered else []


def _maintenance(day: date, now: Day, before: Day, week: Day, readings: Readings) -> Section:
    nothing: list[str] = []
    return Section(
        "Maintenance",
        [
            _figure("Stripe events", "events", now, before, week, better="neither"),
            _figure("Job runs", "job_runs", now, before, week, better="neither"),
            _figure("Failed job runs", "failed_runs", now, before, week, better="less"),
        ],
        [
            *readings.read("Failed jobs", lambda: _failed_jobs(day), nothing),
            *readings.read("Database", _database, nothing),
            *readings.read("Audit log", _audit_log, nothing),
        ],
    )


def _failed_jobs(day: date) -> list[str]:
    start = figures.midnight(day)
    failed = JobRun.objects.filter(
        status=JobRun.Status.FAILED, started_at__gte=start, started_at__lt=start + timedelta(days=1)
    ).order_by("job", "started_at")
    latest = {run.job: run for run in failed}
    return [f"{run.job} failed: {(run.error or 'no error noted').splitlines()[0][:200]}" for run in latest.values()]


def _audit_log() -> list[str]:
    """The anchor, which so leaves the house each day."""
    anchor = seals.anchor()
    return [f"Audit log sealed: {anchor}"] if anchor else []


def _database() -> list[str]:
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
    return [
        (
            f"Database {size}, {hits if hits is not None else 0} % of reads from cache, {dead} % dead rows,"
            f" {_plural(unused, 'index', 'indexes')} over 10 MB never used"
        )
    ]


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
    if value is None:
        return Figure(label, NOT_KNOWN.text, NOT_KNOWN, NOT_KNOWN)
    if currency:
        shown = money(value, currency, short=True)
    elif isinstance(value, float):
        shown = f"{value:,.1f}{unit}"
    else:
        shown = f"{value:,}"
    return Figure(label, shown, _compare(value, day_before, better), _compare(value, week_before, better))


def _compare(now: float, then: float | None, better: Better) -> Comparison:
    if then is None:
        return NOT_KNOWN
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
