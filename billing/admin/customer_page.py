"""Everything about one customer on one page, in a fixed number of queries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, Exists, Max, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing import customer_panels
from billing.admin import customer_invoices, customer_standing, extra_quota
from billing.admin.api_key import key_state
from billing.admin.customer_link import as_of_url
from billing.admin.payment import document_link
from billing.admin.stripe_links import dashboard_url, stripe_id
from billing.models import (
    ApiKey,
    CustomerNote,
    Entitlement,
    ExtraQuota,
    MonthlyUsageSummary,
    OpenInvoice,
    Payment,
    PaymentMovement,
    QuotaUsage,
    StripeCustomer,
    StripeRequest,
    Subscription,
    Tier,
    UsageCorrection,
    User,
    WebhookEvent,
)
from billing.services import dunning
from billing.services.declines import decline_words
from billing.stripe.events.filter import of_customers
from glyphforge.admin.columns import badge, choice_badge, relative_time
from glyphforge.admin.operations import offers_on
from glyphforge.audit.admin import changes
from glyphforge.audit.models import AuditEntry
from glyphforge.choices import Tone
from glyphforge.money import money

DAYS = 90
ROWS = 10  # of each list; the rest is behind its link
TIMELINE = 40
SEVERITY = {"critical": Tone.DANGER, "warning": Tone.WARNING}


@dataclass(frozen=True)
class TimelineEntry:
    """One entry of the timeline."""

    at: datetime
    actor: str
    title: str
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    reason: str = ""
    is_note: bool = False
    as_of: str = ""  # the customer's page as of then


@dataclass(frozen=True)
class Usage:
    """What counts of this calendar month (UTC) against the limit, and the requests of the last 90 days as a chart.

    `used` is the requests that count and what was `corrected`; `extra` of the limit was granted beyond the plan.
    """

    used: int
    corrected: int
    extra: int
    failed: int
    limit: int | None
    chart: str
    options: str
    summary: str
    forecast: customer_panels.UsageForecast | None

    @property
    def percent(self) -> int | None:
        """Share of the limit, rounded down, so that 100 means used up; None without a limit."""
        return None if self.limit is None else (100 * self.used // self.limit if self.limit else 100)

    @property
    def corrected_text(self) -> str:
        """With its sign."""
        return f"{self.corrected:+,}"

    @property
    def tone(self) -> str:
        percent = self.percent or 0
        return Tone.DANGER if percent >= 100 else Tone.WARNING if percent >= 80 else Tone.SUCCESS


def context(request: HttpRequest, user: Any) -> dict[str, Any]:
    """What the template of the page shows, by name; events and audit rows only to who may view them.

    `user` is one of `for_page()`.
    """
    live_first = Case(When(status__in=Subscription.LIVE, is_duplicate=False, then=0), default=1)
    with_limits = user.subscriptions.select_related("entitlement", "charged_card", "upcoming_invoice")
    subscriptions = list(with_limits.order_by(live_first, "-created_at")[:ROWS])
    live = next((row for row in subscriptions if row.is_live), None)
    entitlement: Entitlement | None = getattr(live, "entitlement", None)
    owed = user.open_invoices.annotate(reason=decline_words(), **dunning.of_case())
    invoices = list(owed.order_by("created_at", "stripe_invoice_id"))
    keys = list(user.api_keys.defer("key_hash", "key_fast_hash").order_by("-created_at")[:ROWS])
    payments = list(user.payments.order_by("-created_at")[:ROWS])
    customers = list(user.stripe_customers.order_by("-is_primary", "linked_at")[:ROWS])
    quotas = list(user.extra_quotas.select_related("api_key").order_by("-ends_at")[:ROWS]) if user.quotas else []
    corrections = list(user.usage_corrections.order_by("-created_at")[:ROWS]) if user.corrections else []
    events = _events(customers) if request.user.has_perm("billing.view_webhookevent") else []
    return {
        "customer": user,
        "status": badge(f"Account {user.get_status_display().lower()}", User.Status(user.status).tone),
        "facts": _facts(user, live),
        "ids": _ids(user),
        "stripe_customers": [_stripe_customer(request, row) for row in customers],
        "live": _subscription(request, live) if live else None,
        "subscriptions": [_subscription(request, row) for row in subscriptions],
        "usage": _usage(user, live),
        "quotas": [_quota(request, row) for row in quotas],
        "corrections": [{"row": row, "url": _url(row)} for row in corrections],
        "entitlement": entitlement,
        "standing": customer_standing.standing(live, entitlement, invoices) if live else [],
        "invoices": [_invoice(request, row) for row in invoices[:ROWS]],
        "statement": customer_invoices.statement(
            request, customers, live, reverse("admin:billing_user_upcoming", args=[user.pk])
        ),
        "keys": [_key(request, row) for row in keys],
        "payments": [_payment(request, row) for row in payments],
        "events": [_event(row) for row in events[:ROWS]],
        "timeline": _timeline(
            request, user, [*customers, *subscriptions, *keys, *payments, *events, *quotas, *corrections]
        ),
        "requests": _requests(user),
        "alerts": _alerts(user, subscriptions),
        "links": _links(user, customers),
    }


def _facts(user: User, live: Subscription | None) -> list[tuple[str, str, str]]:
    """`(name, value, beside it)`: what support looks for first."""
    movements = PaymentMovement.objects.filter(payment=OuterRef("pk")).values("payment")
    moved = Subquery(movements.annotate(cents=Sum("amount_cents")).values("cents"))
    totals = (
        user.payments.annotate(moved=moved)
        .values("currency")
        .annotate(
            paid=Coalesce(Sum("moved"), 0),
            failed=Count("pk", filter=Q(status=Payment.Status.FAILED)),
            last=Max("paid_at"),
        )
    )
    rows = list(totals.order_by("-paid", "currency"))
    paid = " + ".join(money(row["paid"], row["currency"]) for row in rows if row["paid"]) or money(0)
    last = max((row["last"] for row in rows if row["last"]), default=None)
    failed = sum(row["failed"] for row in rows)
    monthly = money(live.price_cents, live.currency) if live else money(0)
    since = timezone.localtime(user.created_at)
    return [
        ("Pays a month", monthly, customer_standing.outlook(live)),
        ("Paid so far", paid, f"last on {last:%Y-%m-%d}" if last else "nothing yet"),
        ("Failed payments", f"{failed:,}", "ever"),
        ("Customer since", f"{since:%Y-%m-%d}", relative_time(user.created_at)),
    ]


def _ids(user: User) -> list[tuple[str, str]]:
    shown = [("Customer", stripe_id(str(user.pk)))]
    if user.stripe_customer_id:
        shown.append(("Stripe", stripe_id(user.stripe_customer_id)))
    if user.cognito_user_id:
        shown.append(("Cognito", stripe_id(user.cognito_user_id)))
    return shown


def _url(row: Any) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_change", args=[row.pk])


def _subscription(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    return {
        "row": row,
        "url": _url(row),
        "tier": choice_badge(Tier(row.tier)),
        "status": choice_badge(Subscription.Status(row.status)),
        "price": money(row.price_cents, row.currency),
        "stripe": stripe_id(row.stripe_subscription_id),
        "remarks": customer_standing.remarks(row),
        "offers": offers_on(request, row),
    }


def _invoice(request: HttpRequest, row: OpenInvoice) -> dict[str, Any]:
    return {
        "row": row,
        "offers": offers_on(request, row),
        "amount": money(row.amount_due_cents, row.currency),
        "document": document_link(row.hosted_invoice_url, "Invoice") if row.hosted_invoice_url else "",
    }


def _stripe_customer(request: HttpRequest, row: StripeCustomer) -> dict[str, Any]:
    badges = [badge("Primary", Tone.SUCCESS)] if row.is_primary else []
    if row.deleted_at:
        badges.append(badge(f"Deleted {row.deleted_at:%Y-%m-%d}"))
    if row.ownership == StripeCustomer.Ownership.UNCLAIMED:
        badges.append(badge("Waits for its owner", Tone.WARNING))
    return {"row": row, "stripe": stripe_id(row.pk), "badges": badges, "offers": offers_on(request, row)}


def _key(request: HttpRequest, row: ApiKey) -> dict[str, Any]:
    return {"row": row, "url": _url(row), "state": key_state(row), "offers": offers_on(request, row)}


def _quota(request: HttpRequest, row: ExtraQuota) -> dict[str, Any]:
    return {"row": row, "url": _url(row), "state": extra_quota.state(row), "offers": offers_on(request, row)}


def _payment(request: HttpRequest, row: Payment) -> dict[str, Any]:
    return {
        "row": row,
        "url": _url(row),
        "amount": money(row.amount_cents, row.currency),
        "as_of": as_of_url(row.user_id, row.paid_at or row.created_at),
        "refunded": money(row.refunded_cents, row.currency) if row.refunded_cents else "",
        "disputed": money(row.disputed_cents, row.currency) if row.disputed_cents else "",
        "status": choice_badge(Payment.Status(row.status)),
        "documents": [
            document_link(url, name)
            for url, name in ((row.receipt_url, "Receipt"), (row.invoice_url, "Invoice"))
            if url
        ],
        "offers": offers_on(request, row),
    }


def _event(row: WebhookEvent) -> dict[str, Any]:
    status = choice_badge(WebhookEvent.Status(row.status))
    return {"row": row, "url": _url(row), "status": status}


def _events(customers: list[StripeCustomer]) -> list[WebhookEvent]:
    """Sorted here: asked for the newest few, the planner would rather read every event by time."""
    if not customers:
        return []
    found = WebhookEvent.objects.filter(of_customers(customer.pk for customer in customers)).defer("payload")
    return sorted(found, key=lambda event: event.received_at, reverse=True)


def _timeline(request: HttpRequest, user: User, rows: Sequence[Any]) -> list[TimelineEntry]:
    """Changes of the customer and of the rows shown, and the notes, newest first."""
    timeline = [
        TimelineEntry(at=note.created_at, actor=note.author, title="Note", reason=note.body, is_note=True)
        for note in CustomerNote.objects.filter(user=user)[:TIMELINE]
    ]
    if request.user.has_perm("audit.view_auditentry"):
        named: dict[str, list[str]] = {"users": [str(user.pk)]}
        for row in rows:
            key = row.stripe_event_id if isinstance(row, WebhookEvent) else str(row.pk)
            named.setdefault(row._meta.db_table, []).append(key)
        wanted = Q()
        for table, ids in named.items():
            wanted |= Q(table_name=table, row_id__in=ids)
        # The note itself is there already.
        entries = AuditEntry.objects.filter(wanted).exclude(action="add_note").order_by("-occurred_at", "-id")
        timeline += [_timeline_entry(entry) for entry in entries[:TIMELINE]]
    newest = sorted(timeline, key=lambda entry: entry.at, reverse=True)[:TIMELINE]
    return [replace(entry, as_of=as_of_url(user.pk, entry.at)) for entry in newest]


def _timeline_entry(entry: AuditEntry) -> TimelineEntry:
    words = {"insert": "created", "update": "changed", "delete": "deleted"}
    nouns = {
        "users": "Customer",
        "stripe_customers": "Stripe customer",
        "subscriptions": "Subscription",
        "api_keys": "API key",
        "payment_history": "Payment",
        "entitlement_grants": "Extra quota",
        "usage_corrections": "Usage correction",
        "stripe_webhook_events": "Webhook event",
    }
    action = words.get(entry.action, entry.action.replace("_", " "))
    shown = [] if entry.action == "insert" else changes(entry)
    title = f"{nouns.get(entry.table_name, entry.table_name)} {action}"
    return TimelineEntry(at=entry.occurred_at, actor=entry.actor, title=title, changes=shown, reason=entry.reason or "")


def _requests(user: User) -> list[dict[str, Any]]:
    """What Stripe was asked to change, and may have changed."""
    opened = StripeRequest.objects.filter(user=user, state__in=StripeRequest.OPEN)[:ROWS]
    return [{"row": row, "url": _url(row), "state": choice_badge(StripeRequest.State(row.state))} for row in opened]


def _alerts(user: User, subscriptions: list[Subscription]) -> list[dict[str, Any]]:
    found = customer_panels.open_alerts([user.pk, *(row.pk for row in subscriptions)])
    return [
        {
            "alert": alert,
            "severity": badge(alert.severity.capitalize(), SEVERITY.get(alert.severity, Tone.INFO)),
            "as_of": as_of_url(user.pk, alert.since),
        }
        for alert in found
    ]


def for_page() -> QuerySet[Any]:
    """Customers as `context` wants them: with what counts of this month as `used`, `corrected` and `failed`, each None
    without any, and whether there is extra quota or corrected usage to show."""
    month = timezone.now().date().replace(day=1)
    usage = QuotaUsage.objects.filter(user=OuterRef("pk"), month=month)
    recorded = MonthlyUsageSummary.objects.filter(user=OuterRef("pk"), month=month)
    return User.objects.annotate(
        used=Subquery(usage.values("used_requests")),
        corrected=Subquery(usage.values("corrected_requests")),
        failed=Subquery(recorded.values("failed_requests")),
        quotas=Exists(ExtraQuota.objects.filter(user=OuterRef("pk"))),
        corrections=Exists(UsageCorrection.objects.filter(user=OuterRef("pk"))),
    )


def _usage(user: Any, live: Subscription | None) -> Usage:
    today = timezone.now().date()
    since = today - timedelta(days=DAYS - 1)
    usage = customer_panels.usage(user.pk, since)
    by_day = {day.day: day for day in usage.days}
    days = [since + timedelta(days=number) for number in range(DAYS)]
    failed = [by_day[day].failed if day in by_day else 0 for day in days]
    answered = [by_day[day].requests - by_day[day].failed if day in by_day else 0 for day in days]
    total = sum(answered) + sum(failed)
    return Usage(
        used=user.used or 0,
        corrected=user.corrected or 0,
        extra=live.extra_requests if live else 0,
        failed=user.failed or 0,
        limit=live.limit if live else 0,
        chart=_chart(days, answered, failed),
        options=OPTIONS,
        summary=f"API requests of the last {DAYS} days: {total:,}, of which {sum(failed):,} failed.",
        forecast=usage.forecast,
    )


def _chart(days: list[date], answered: list[int], failed: list[int]) -> str:
    bar = {"type": "bar", "stack": "requests", "borderRadius": 1, "barPercentage": 0.9, "categoryPercentage": 0.95}
    datasets = [
        {"label": "Answered", "data": answered, "backgroundColor": "#9333ea", **bar},
        {"label": "Failed", "data": failed, "backgroundColor": "#ef4444", **bar},
    ]
    return json.dumps({"labels": [f"{day:%b} {day.day}" for day in days], "datasets": datasets})


_TICKS = {"color": "#94a3b8", "maxTicksLimit": 6, "maxRotation": 0, "autoSkipPadding": 16}
_AXIS = {"stacked": True, "border": {"display": False}}
OPTIONS = json.dumps(
    {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {"legend": {"display": False}},
        "scales": {
            "x": {**_AXIS, "grid": {"display": False}, "ticks": _TICKS},
            "y": {**_AXIS, "beginAtZero": True, "grid": {"drawTicks": False}, "ticks": {**_TICKS, "precision": 0}},
        },
    }
)


def _links(user: User, customers: list[StripeCustomer]) -> dict[str, str]:
    """Where each section goes on."""

    def all_link(model: str, query: str) -> str:
        return f"{reverse(f'admin:billing_{model}_changelist')}?{query}"

    by_user = f"user__id__exact={user.pk}"
    return {
        "subscriptions": all_link("subscription", by_user),
        "keys": all_link("apikey", by_user),
        "payments": all_link("payment", by_user),
        "quotas": all_link("extraquota", by_user),
        "corrections": all_link("usagecorrection", by_user),
        "requests": all_link("apiusage", by_user),
        "events": all_link("webhookevent", f"q={'+'.join(customer.pk for customer in customers)}") if customers else "",
        "stripe": dashboard_url(user.stripe_customer_id) or "",
    }
