"""The admin's start page: how the business and the machinery are doing, as far as the viewer may know."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from django.contrib import admin
from django.core.cache import cache
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from billing.models import WebhookEvent
from glyphforge.admin.columns import EMPTY
from glyphforge.choices import Tone
from glyphforge.database.budget import Readings, in_time
from glyphforge.money import money
from monitoring.dashboard import charts, figures
from monitoring.dashboard.at_risk import AtRisk, at_risk
from monitoring.dashboard.figures import Job, Usage, Webhooks
from monitoring.models import Alert, DailyFigures, DailyMrr, JobRun, MrrMovement, PaymentAtRisk

RANGES = (30, 90)
CACHE_SECONDS = 60
ALERTS_SHOWN = 6

# Business figures are for those who answer for them; everything else follows the page it is drawn from.
MAY_SEE_REVENUE = "monitoring.view_dailymrr"
MAY_SEE_USAGE = "monitoring.view_dailyfigures"
MAY_SEE_RISK = "monitoring.view_paymentatrisk"
MAY_SEE_WEBHOOKS = "billing.view_webhookevent"
MAY_SEE_ALERTS = "monitoring.view_alert"
MAY_SEE_JOBS = "monitoring.view_jobrun"

Value = TypeVar("Value")

# The parts of the page by what is read for them.
MISSING = {
    "days": "The figures by day",
    "revenue": "Revenue",
    "at_risk": "Payments at risk",
    "usage": "Usage",
    "webhooks": "Stripe webhooks",
    "alerts": "Alerts",
    "jobs": "Jobs",
}


@dataclass(frozen=True)
class Change:
    """Since when and how much; the tone says whether that is good."""

    text: str
    tone: str
    since: str


@dataclass(frozen=True)
class Card:
    """A figure on the start page: what it is, how much, and what is worth knowing beside it.

    `icon` is a Material symbol, `details` pairs a label with a value, `spark` is the points of a small line.
    """

    title: str
    value: str
    icon: str
    tone: str = "neutral"
    change: Change | None = None
    details: list[tuple[str, str]] = field(default_factory=list)
    href: str = ""
    spark: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the context of the admin's start page with what the viewer may see; `?days=` is 30 or 90.

    Adds what `monitoring/dashboard.html` draws: `cards`, `charts`, `alerts` and `jobs`, each empty for whom it is not,
    and `missing`: what could not be read within four seconds, with the reason. Figures may be a minute old.
    Unfold calls it: https://unfoldadmin.com/docs/configuration/dashboard/
    """
    context.update(in_time(partial(_parts, request)))
    return context


def _parts(request: HttpRequest, readings: Readings) -> dict[str, Any]:
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, RANGES) else RANGES[0]
    may = request.user.has_perm
    cards: list[Card] = []
    drawn: list[charts.Chart] = []

    def cached(name: str, read: Callable[[], Value]) -> Value | None:
        return readings.read(name, lambda: _cached(name, read), None)

    history = (cached("days", _history) if may(MAY_SEE_USAGE) or may(MAY_SEE_REVENUE) else []) or []
    shown = [day for day in history if day.day > figures.today() - timedelta(days=days)]
    if may(MAY_SEE_REVENUE) and (read := cached("revenue", _revenue)):
        revenue, mrr = read
        cards += _revenue_cards(revenue, mrr, history)
        mrr_shown = [row for row in mrr if row.day > figures.today() - timedelta(days=days)]
        drawn += [charts.mrr_by_tier(mrr_shown, revenue.currency), charts.net_new_mrr(mrr_shown, revenue.currency)]
    if may(MAY_SEE_RISK) and (risk := cached("at_risk", at_risk)):
        cards.append(_risk_card(risk))
    if may(MAY_SEE_USAGE) and (usage := cached("usage", figures.usage_today)):
        cards.append(_usage_card(usage, history))
        drawn += [charts.usage_and_errors(shown), charts.user_growth(shown)]
    if may(MAY_SEE_WEBHOOKS) and (webhooks := cached("webhooks", figures.webhooks)):
        cards.append(_webhook_card(webhooks))
    alerts = readings.read("alerts", figures.open_alerts, None) if may(MAY_SEE_ALERTS) else None
    if alerts is not None:
        cards.append(_alert_card(alerts))
    jobs = cached("jobs", figures.jobs) if may(MAY_SEE_JOBS) else None
    if jobs is not None:
        cards.append(_job_card(jobs))
    return {
        "title": "Home",
        "days": days,
        "ranges": RANGES,
        "cards": cards,
        "charts": drawn,
        "alerts": (alerts or [])[:ALERTS_SHOWN],
        "alerts_hidden": max(0, len(alerts or []) - ALERTS_SHOWN),
        "shows_alerts": alerts is not None,
        "jobs": jobs or [],
        "missing": [(MISSING[name], reason) for name, reason in readings.missing.items()],
        "jobs_page": _page(JobRun),
    }


def _cached(name: str, read: Callable[[], Value]) -> Value:
    """The same for every viewer: what they may see is decided before it is asked for."""
    return cast(Value, cache.get_or_set(f"dashboard:{name}", read, CACHE_SECONDS))


def _history() -> list[DailyFigures]:
    return figures.days(figures.today() - timedelta(days=max(RANGES)))


def _revenue() -> tuple[figures.Revenue, list[DailyMrr]]:
    revenue = figures.revenue()
    return revenue, figures.mrr_days(figures.today() - timedelta(days=max(RANGES)), revenue.currency)


def _page(model: type[Model]) -> str:
    """The list page of a model; empty where the site has none."""
    if not admin.site.is_registered(model):
        return ""
    options = model._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_changelist")


def _revenue_cards(revenue: figures.Revenue, mrr: list[DailyMrr], history: list[DailyFigures]) -> list[Card]:
    currency = revenue.currency
    month_ago = figures.today() - timedelta(days=30)
    mrr_before = sum(row.end_cents for row in mrr if row.day == month_ago)
    customers_before = sum(day.paying_customers for day in history if day.day == month_ago)
    users = history[-1].total_users if history else 0
    lost = figures.churn(history, mrr)
    by_day: dict[Any, int] = {}
    for row in mrr:
        by_day[row.day] = by_day.get(row.day, 0) + row.end_cents
    return [
        Card(
            "MRR",
            money(revenue.mrr_cents, currency, short=True),
            "payments",
            change=_change(revenue.mrr_cents, mrr_before),
            details=[
                ("ARR", money(revenue.arr_cents, currency, short=True)),
                ("ARPU", money(revenue.arpu_cents, currency, short=True)),
            ],
            spark=spark(list(by_day.values())[-30:]),
            href=_page(MrrMovement),
        ),
        Card(
            "Paying customers",
            f"{revenue.paying_customers:,}",
            "group",
            change=_change(revenue.paying_customers, customers_before),
            details=[("of all customers", f"{users:,}")],
            spark=spark([day.paying_customers for day in history][-30:]),
        ),
        Card(
            "Customer churn, 30 days",
            _percent(lost.customer_percent),
            "person_remove",
            details=[
                ("Customers lost", f"{lost.customers:,}"),
                ("MRR churn", _percent(lost.mrr_percent)),
            ],
            href=_page(MrrMovement) and f"{_page(MrrMovement)}?kind__exact=churn",
        ),
        Card(
            "Payments this month",
            money(revenue.revenue_this_month_cents, currency, short=True),
            "credit_card",
            tone="warning" if revenue.failed_payments_this_month else "neutral",
            details=[
                ("Last month", money(revenue.revenue_last_month_cents, currency, short=True)),
                ("Failed", f"{revenue.failed_payments_this_month:,}"),
                ("Refunded", money(revenue.refunded_this_month_cents, currency, short=True)),
                ("Disputed", money(revenue.disputed_this_month_cents, currency, short=True)),
            ],
        ),
    ]


def _risk_card(risk: AtRisk) -> Card:
    return Card(
        "MRR at risk",
        risk.mrr,
        "request_quote",
        tone="warning" if risk.invoices else "success",
        details=[
            ("Overdue", risk.due),
            ("Customers", f"{risk.customers:,}"),
            ("Without owner", f"{risk.without_owner:,}"),
            ("With time", f"{risk.with_time:,}"),
        ],
        href=_page(PaymentAtRisk),
    )


def _percent(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.1f} %"


def _change(now: float, before: float) -> Change | None:
    if not before:
        return None
    percent = 100 * (now - before) / before
    tone = "neutral" if round(percent, 1) == 0 else "success" if percent > 0 else "danger"
    return Change(f"{percent:+.1f} %", tone, "in 30 days")


def _usage_card(usage: Usage, history: list[DailyFigures]) -> Card:
    yesterday = [day for day in history if day.day == figures.today() - timedelta(days=1)]
    return Card(
        "Requests today",
        f"{usage.requests:,}",
        "monitoring",
        tone="warning" if usage.error_percent >= 10 else "neutral",
        details=[
            ("Yesterday", f"{yesterday[0].requests:,}" if yesterday else EMPTY),
            ("Errors", f"{usage.error_percent:.1f} %"),
            ("Active customers", f"{usage.active_users:,}"),
        ],
        spark=spark([day.requests for day in history if day.day < figures.today()][-30:]),
    )


def _webhook_card(webhooks: Webhooks) -> Card:
    late = webhooks.oldest_waiting_seconds > 300
    if webhooks.dead:
        value, tone = f"{webhooks.dead:,} dead", "danger"
    elif webhooks.failed:
        value, tone = f"{webhooks.failed:,} failing", "warning"
    elif late:
        value, tone = f"{webhooks.oldest_waiting_seconds // 60:,} min behind", "warning"
    else:
        value, tone = "Healthy", "success"
    return Card(
        "Stripe webhooks",
        value,
        "webhook",
        tone=tone,
        details=[("Received, 24 h", f"{webhooks.received:,}"), ("Waiting", f"{webhooks.waiting:,}")],
        href=_page(WebhookEvent),
    )


def _alert_card(alerts: list[Alert]) -> Card:
    firing = [alert for alert in alerts if alert.state == Alert.State.FIRING]
    counts = {severity: sum(alert.severity == severity for alert in firing) for severity in Alert.Severity.values}
    worst = next((severity for severity, count in counts.items() if count), None)
    return Card(
        "Open alerts",
        f"{counts[worst]:,} {worst}" if worst else "None",
        "notifications",
        tone=Alert.Severity(worst).tone if worst else Tone.SUCCESS,
        details=[
            ("Warnings", f"{counts['warning']:,}"),
            ("Info", f"{counts['info']:,}"),
            ("Acknowledged or snoozed", f"{len(alerts) - len(firing):,}"),
            ("Silenced", f"{sum(alert.silenced_until is not None for alert in firing):,}"),
        ],
        href=_page(Alert),
    )


def _job_card(jobs: list[Job]) -> Card:
    failed = [job for job in jobs if job.status == "failed"]
    overdue = [job for job in jobs if job.is_overdue]
    if failed:
        value, tone = f"{len(failed)} failed", "danger"
    elif overdue:
        value, tone = f"{len(overdue)} overdue", "warning"
    else:
        value, tone = ("On schedule", "success") if jobs else ("None scheduled", "neutral")
    ended = [job.ended_at for job in jobs if job.ended_at]
    return Card(
        "Jobs",
        value,
        "schedule",
        tone=tone,
        details=[("Scheduled", f"{sum(job.enabled for job in jobs)}")]
        + ([("Last run", f"{max(ended):%H:%M} UTC")] if ended else []),
        href=_page(JobRun),
    )


def spark(values: list[int]) -> str:
    """The points of a small line for SVG, in a box of 100 by 24; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    height = (high - low) or 1
    step = 100 / (len(values) - 1)
    return " ".join(
        f"{position * step:.1f},{22 - 20 * (value - low) / height:.1f}" for position, value in enumerate(values)
    )
