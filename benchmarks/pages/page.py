"""The pages that promise something, and what."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

PROMISED_MS = 200
LIST_QUERIES = DASHBOARD_QUERIES = 15
CUSTOMER_QUERIES = 20


@dataclass(frozen=True)
class Page:
    """An address, what it is for, and its promises. `by_index`: no large table may be read from its start."""

    kind: str
    name: str
    path: str
    promised_queries: int = LIST_QUERIES
    promised_ms: int = PROMISED_MS
    by_index: bool = False
    is_cold: bool = False
    permission: str = ""


def pages(viewer: Any) -> Iterator[Page]:
    """Every page to be measured that this person may open."""
    for page in _pages(viewer):
        if not page.permission or viewer.has_perm(page.permission):
            yield page


def _pages(viewer: Any) -> Iterator[Page]:
    for days in (30, 90):
        path, name = f"/admin/?days={days}", f"{days} days"
        yield Page("dashboard", f"{name}, nothing cached", path, DASHBOARD_QUERIES, is_cold=True)
        yield Page("dashboard", f"{name}, cached", path, DASHBOARD_QUERIES)
    yield from _customers()
    yield from _searches()
    yield from _lists(viewer)
    yield from _views(viewer)


def _customers() -> Iterator[Page]:
    from django.urls import reverse

    for name, user in _busy_customers():
        yield Page("customer", name, reverse("admin:billing_user_change", args=[user]), CUSTOMER_QUERIES)


def _busy_customers() -> list[tuple[str, Any]]:
    """Paying ones, who have most to show."""
    from django.db import connection

    most = {
        "most requests": "SELECT t.user_id FROM monthly_usage_totals AS t INNER JOIN payment_history USING (user_id)"
        " GROUP BY 1 ORDER BY max(t.total_requests) DESC LIMIT 1",
        "most payments": "SELECT user_id FROM payment_history GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        "most events": "SELECT u.id FROM stripe_webhook_events AS e"
        " INNER JOIN users AS u ON u.stripe_customer_id = e.payload #>> '{data,object,customer}'"
        " GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
    }
    found = []
    with connection.cursor() as cursor:
        for name, statement in most.items():
            cursor.execute(statement)
            found.append((name, cursor.fetchone()[0]))
    return found


def _searches() -> Iterator[Page]:
    from django.urls import reverse

    from billing.models import ApiKey, Payment, Subscription, User, WebhookEvent

    user = User.objects.filter(status="active").order_by("created_at").first()
    payment = Payment.objects.order_by("created_at").first()
    assert user is not None
    assert payment is not None
    key = ApiKey.objects.order_by("created_at").first()
    subscription = Subscription.objects.exclude(stripe_subscription_id=None).order_by("created_at").first()
    event = WebhookEvent.objects.order_by("received_at").first()
    terms = {
        "beginning of many e-mails": user.email[:4],
        "beginning of an e-mail": user.email[:12],
        "e-mail": user.email,
        "first name": user.name.split()[0],
        "name": user.name,
        "last name, inside": user.name.split()[1],
        "inside many": "example",
        "nobody": "nobodyhere",
        "user id": user.pk,
        "Cognito id": user.cognito_user_id,
        "Stripe customer": user.stripe_customer_id,
        "Stripe subscription": subscription.stripe_subscription_id,
        "Stripe invoice": payment.stripe_invoice_id,
        "Stripe charge": payment.stripe_charge_id,
        "Stripe payment intent": payment.stripe_payment_intent_id,
        "Stripe event": event.stripe_event_id,
        "beginning of many keys": "glyph_sk_live_",
        "beginning of a key": key.key_prefix,
    }
    for name, term in terms.items():
        path = f"{reverse('admin:billing_user_find')}?{urlencode({'q': term})}"
        yield Page("search", name, path, by_index=True, permission="billing.view_user")


def _lists(viewer: Any) -> Iterator[Page]:
    """The first page of each large list as it opens, with each sort and filter that it offers, and searched."""
    from billing.models import ApiKey, ApiUsage, Payment, Subscription, User, WebhookEvent
    from glyphforge.audit.models import AuditEntry

    busy = _busy_customers()[0][1]
    searched: dict[Any, tuple[str, ...]] = {
        User: ("?q=ada", "?q=cus_77", "?q=lovelace"),
        Subscription: ("?q=ada", "?q=sub_75", f"?user__id__exact={busy}"),
        ApiKey: ("?q=ada", "?q=glyph_sk_live_7", f"?user__id__exact={busy}"),
        Payment: ("?q=ada", "?q=ch_sub_75_1", f"?user__id__exact={busy}"),
        WebhookEvent: ("?q=evt_77", "?q=cus_75", "?q=invoice."),
        ApiUsage: (f"?user__id__exact={busy}",),
        AuditEntry: ("?q=agent90", "?q=nobody", f"?q={busy}"),
    }
    for model, searches in searched.items():
        owner, request = _owner(model, viewer)
        paths = ["", *_offered(owner, request), *searches]
        if hasattr(owner, "keyset"):
            paths += _deep(owner, request)
        for path in paths:
            yield _list_page(model, path, by_index=True)


def _views(viewer: Any) -> Iterator[Page]:
    """The page of each monitoring view; of the long one also what it offers."""
    from django.apps import apps

    from monitoring.models import ApiKeyUsage

    for model in apps.get_app_config("monitoring").get_models():
        if not model._meta.managed:
            offered = _offered(*_owner(model, viewer)) if model is ApiKeyUsage else []
            for path in ("", *offered):
                yield _list_page(model, path)


def _list_page(model: Any, query: str, *, by_index: bool = False) -> Page:
    from django.urls import reverse

    options = model._meta
    return Page(
        kind=str(options.verbose_name_plural),
        name=query or "as it opens",
        path=reverse(f"admin:{options.app_label}_{options.model_name}_changelist") + query,
        by_index=by_index,
        permission=f"{options.app_label}.view_{options.model_name}",
    )


def _owner(model: Any, viewer: Any) -> tuple[Any, Any]:
    from django.contrib import admin
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.user = viewer
    return admin.site.get_model_admin(model), request


def _offered(owner: Any, request: Any) -> list[str]:
    """The addresses behind the headings and the filters of a list."""
    changelist = owner.get_changelist_instance(request)
    found = [
        f"?o={sign}{number}"
        for number, name in enumerate(changelist.list_display)
        if (changelist.sortable_by is None or name in changelist.sortable_by) and changelist.get_ordering_field(name)
        for sign in ("", "-")
    ]
    for spec in changelist.filter_specs:
        found += [choice["query_string"] for choice in spec.choices(changelist) if not choice["selected"]]
    return found


def _deep(owner: Any, request: Any) -> list[str]:
    """The page that begins in the middle of the list."""
    keys = owner.keyset
    rows = owner.get_queryset(request)
    row = rows.order_by(*keys)[rows.count() // 2]
    values = [getattr(row, key) for key in keys]
    cursor = "~".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
    return [f"?{urlencode({'after': cursor})}"]
