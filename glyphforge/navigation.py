"""What the admin looks like and where its pages are found: Unfold's settings."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def may(permission: str) -> Callable[[HttpRequest], bool]:
    """The condition of an item: those see it who hold the permission, `app.codename`, of what it links to."""
    return lambda request: request.user.has_perm(permission)


def page(title: str, icon: str, model: str, app: str = "billing") -> dict[str, Any]:
    """An item of the sidebar that opens a model's list, for those who may view it; `icon` is a Material Symbol."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": may(f"{app}.view_{model}"),
    }


SEARCH_BOX = {
    "url": "admin:billing_user_find",
    "permission": "billing.view_user",
    "label": "E-mail, name, or any id",
    "offer": "Search for a customer",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Glyph Forge back office",
    "SITE_HEADER": "Glyph Forge",
    "SITE_SUBHEADER": "Billing back office",
    "SITE_SYMBOL": "payments",
    "SITE_URL": "/admin/",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("glyphforge/favicon.svg")}
    ],
    "ACCOUNT": {"navigation": [{"title": "Sign-in and security", "link": reverse_lazy("mfa_index")}]},
    "SHOW_HISTORY": False,  # the audit log is the history
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "monitoring.dashboard.page.dashboard",
    "STYLES": [
        lambda request: static("glyphforge/backoffice.css"),
        lambda request: static("glyphforge/lists.css"),
        lambda request: static("billing/pages.css"),
        lambda request: static("monitoring/lists.css"),
    ],
    "SCRIPTS": [lambda request: static("glyphforge/backoffice.js"), lambda request: static("glyphforge/keyboard.js")],
    # Models are not searched as they are: that would read whole tables, without a limit.
    "COMMAND": {"search_models": False, "search_callback": "billing.admin.search.palette", "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "",
                "items": [{"title": "Dashboard", "icon": "space_dashboard", "link": reverse_lazy("admin:index")}],
            },
            {
                "title": "Customers",
                "separator": True,
                "items": [
                    page("Customers", "group", "user"),
                    page("Subscriptions", "autorenew", "subscription"),
                    page("API keys", "key", "apikey"),
                    page("API requests", "monitoring", "apiusage"),
                    page("Extra quota", "add_chart", "extraquota"),
                    page("Corrected usage", "exposure", "usagecorrection"),
                ],
            },
            {
                "title": "Money",
                "separator": True,
                "items": [
                    page("Payments", "credit_card", "payment"),
                    page("Unpaid invoices", "request_quote", "openinvoice"),
                    page("MRR movements", "trending_up", "mrrmovement", app="monitoring"),
                    page("Plans", "sell", "plan"),
                    page("Plan prices", "price_change", "planprice"),
                ],
            },
            {
                "title": "Stripe",
                "separator": True,
                "items": [
                    page("Webhook events", "webhook", "webhookevent"),
                    page("Replays", "replay", "replayrun"),
                    page("Requests to Stripe", "outbox", "striperequest"),
                    page("Stripe customers", "contacts", "stripecustomer"),
                    page("Unmatched customers", "person_search", "unmatchedcustomer"),
                    page("Differences", "difference", "difference"),
                    page("Reconciliations", "compare_arrows", "reconciliationrun"),
                    page("Products", "inventory_2", "product", app="djstripe"),
                    page("Prices", "payments", "price", app="djstripe"),
                    page("Invoices", "receipt_long", "invoice", app="djstripe"),
                ],
            },
            {
                "title": "Monitoring",
                "separator": True,
                "items": [
                    page("Alerts", "notifications", "alert", app="monitoring"),
                    page("Messages", "outgoing_mail", "notification", app="monitoring"),
                    page("System health", "monitor_heart", "systemhealth", app="monitoring"),
                    page("Current alerts", "report", "currentalert", app="monitoring"),
                    page("Failed events", "sync_problem", "failedwebhookevent", app="monitoring"),
                    page("Stale subscriptions", "event_busy", "stalesubscription", app="monitoring"),
                    page("Orphaned customers", "person_off", "orphanedstripecustomer", app="monitoring"),
                    page("Near their limit", "speed", "usernearlimit", app="monitoring"),
                    page("Paying without key", "key_off", "paiduserwithoutkey", app="monitoring"),
                    page("Thresholds", "tune", "healthcheck", app="monitoring"),
                    page("Silences", "notifications_off", "silence", app="monitoring"),
                ],
            },
            {
                "title": "Traffic",
                "separator": True,
                "items": [
                    page("Usage by day", "show_chart", "apiusageday", app="monitoring"),
                    page("High volume", "trending_up", "highvolumeuser", app="monitoring"),
                    page("Repeated failures", "error", "repeatedfailure", app="monitoring"),
                    page("Slow endpoints", "hourglass_bottom", "slowendpoint", app="monitoring"),
                    page("Key usage", "vpn_key", "apikeyusage", app="monitoring"),
                ],
            },
            {
                "title": "Figures",
                "separator": True,
                "items": [
                    page("Revenue", "paid", "revenuemetrics", app="monitoring"),
                    page("Subscriptions by plan", "donut_small", "subscriptionbreakdown", app="monitoring"),
                    page("Customer growth", "group_add", "usergrowth", app="monitoring"),
                ],
            },
            {
                "title": "Database",
                "separator": True,
                "items": [
                    page("Sizes", "database", "databasesize", app="monitoring"),
                    page("Connections", "lan", "databasesession", app="monitoring"),
                    page("Connections used", "data_usage", "databaseconnections", app="monitoring"),
                    page("Long running queries", "timer", "longrunningquery", app="monitoring"),
                    page("Top queries", "leaderboard", "topquery", app="monitoring"),
                    page("Indexes", "format_list_numbered", "indexfinding", app="monitoring"),
                    page("Schema differences", "schema", "schemadifference", app="monitoring"),
                ],
            },
            {
                "title": "Maintenance",
                "separator": True,
                "items": [
                    page("Jobs", "build_circle", "jobschedule", app="monitoring"),
                    page("Job runs", "list_alt", "jobrun", app="monitoring"),
                    page("Workers", "memory", "workerheartbeat", app="monitoring"),
                    page("Backups", "settings_backup_restore", "backuprun", app="database"),
                    page("Failed tasks", "running_with_errors", "failure", app="django_q"),
                ],
            },
            {
                "title": "Record",
                "separator": True,
                "items": [
                    page("Audit log", "history", "auditentry", app="audit"),
                    page("Failed authentication", "gpp_bad", "authenticationfailure", app="web"),
                ],
            },
        ],
    },
}
