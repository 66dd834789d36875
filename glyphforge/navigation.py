"""What the admin looks like and where its pages are found: a dozen places, their pages as tabs; Unfold's settings."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


@dataclass(frozen=True)
class Page:
    """A model's list, for those who may view it. `also` are other words that people look for it by."""

    title: str
    model: str
    app: str = "billing"
    also: tuple[str, ...] = ()

    @property
    def link(self) -> Any:
        """Its address, as soon as there are any."""
        return reverse_lazy(f"admin:{self.app}_{self.model}_changelist")

    def may_be_viewed(self, request: HttpRequest) -> bool:
        """Whether whoever asks may view the list."""
        return bool(request.user.has_perm(f"{self.app}.view_{self.model}"))


@dataclass(frozen=True)
class Place:
    """An item of the sidebar: it opens the first of its pages that one may view; `icon` is a Material Symbol.

    Where `acts` are given, those see it who hold one of these permissions: who can do nothing there finds its pages by
    links and by the command palette.
    """

    title: str
    icon: str
    pages: tuple[Page, ...]
    acts: tuple[str, ...] = ()

    def __deepcopy__(self, memo: Any) -> "Place":
        """Itself, as nothing of it changes: Unfold copies navigation for each page."""
        return self

    def is_shown(self, request: HttpRequest) -> bool:
        """Whether whoever asks has something to do, or to read, there."""
        held = not self.acts or any(request.user.has_perm(permission) for permission in self.acts)
        return held and any(page.may_be_viewed(request) for page in self.pages)

    def first_link(self, request: HttpRequest) -> str:
        """Where it leads whoever asks."""
        return next((str(page.link) for page in self.pages if page.may_be_viewed(request)), "")

    def is_open(self, request: HttpRequest) -> bool:
        """Whether one of its pages is open."""
        return any(request.path.startswith(str(page.link)) for page in self.pages)

    def as_item(self) -> dict[str, Any]:
        """As Unfold wants an item: https://unfoldadmin.com/docs/configuration/settings/"""
        return {
            "title": self.title,
            "icon": self.icon,
            "link": self.first_link,
            "active": self.is_open,
            "permission": self.is_shown,
        }

    def as_tabs(self) -> dict[str, Any]:
        """As Unfold wants tabs: https://unfoldadmin.com/docs/tabs/changelist/"""
        return {
            "models": [f"{page.app}.{page.model}" for page in self.pages],
            "items": [
                {
                    "title": page.title,
                    "link": page.link,
                    "permission": page.may_be_viewed,
                    "icon": self.icon,
                    "also": page.also,
                }
                for page in self.pages
            ],
        }


def monitoring(title: str, model: str, *also: str) -> Page:
    """A page of the monitoring app."""
    return Page(title, model, "monitoring", also)


# Who looks after the machine, and who examines what was done.
OPERATING = ("monitoring.run_job", "auth.view_user")
PLACES = (
    Place(
        "Inbox",
        "notifications",
        (
            monitoring("Alerts", "alert", "inbox", "incidents", "acknowledge", "snooze"),
            monitoring("Stale subscriptions", "stalesubscription", "overdue"),
            monitoring("Orphaned customers", "orphanedstripecustomer", "orphans", "fix orphans"),
            monitoring("Near their limit", "usernearlimit", "quota", "upgrade"),
            monitoring("Paying without key", "paiduserwithoutkey", "no key", "onboarding"),
            monitoring("Current alerts", "currentalert", "wrong now"),
            monitoring("Critical alerts", "criticalalert"),
            monitoring("Silences", "silence", "maintenance window", "mute"),
            monitoring("Messages", "notification", "slack", "e-mail"),
        ),
    ),
    Place(
        "Customers",
        "group",
        (
            Page("Customers", "user", also=("users", "accounts")),
            Page("API keys", "apikey", also=("tokens", "rotate", "revoke")),
            Page("Extra quota", "extraquota", also=("grants", "limit")),
            Page("Corrected usage", "usagecorrection", also=("corrections",)),
            Page("Stripe customers", "stripecustomer", also=("links",)),
            Page("Unmatched customers", "unmatchedcustomer", also=("link", "unlinked")),
        ),
    ),
    Place(
        "Subscriptions",
        "autorenew",
        (
            Page("Subscriptions", "subscription", also=("past due", "trials", "canceled")),
            Page("Plans", "plan", also=("tiers", "limits")),
            Page("Plan prices", "planprice", also=("map a price", "mapping")),
            Page("Products", "product", "djstripe", ("catalogue",)),
            Page("Prices", "price", "djstripe", ("catalogue",)),
        ),
    ),
    Place(
        "Payments",
        "credit_card",
        (
            Page("Payments", "payment", also=("charges", "refund", "failed payments")),
            monitoring("Payments at risk", "paymentatrisk", "dunning", "overdue", "money at risk"),
            monitoring("Recovery", "paymentrecovery", "recovered", "lost"),
            monitoring("Expiring cards", "expiringcard", "card expiry"),
            Page("Unpaid invoices", "openinvoice", also=("owed", "overdue", "dunning")),
            Page("Invoices", "invoice", "djstripe", ("bills", "receipts")),
        ),
    ),
    Place(
        "Usage",
        "monitoring",
        (
            monitoring("Usage by day", "apiusageday", "traffic", "trend"),
            Page("API requests", "apiusage", also=("calls", "log")),
            monitoring("High volume", "highvolumeuser", "abuse", "growth"),
            monitoring("Repeated failures", "repeatedfailure", "errors"),
            monitoring("Slow endpoints", "slowendpoint", "latency", "percentiles"),
            monitoring("Key usage", "apikeyusage", "busiest keys"),
        ),
    ),
    Place(
        "Business",
        "paid",
        (
            monitoring("Revenue", "revenuemetrics", "mrr", "arr"),
            monitoring("MRR movements", "mrrmovement", "new", "expansion", "churn"),
            monitoring("Subscriptions by plan", "subscriptionbreakdown", "tiers"),
            monitoring("Customer growth", "usergrowth", "sign-ups"),
            monitoring("Retention", "retention", "cohorts", "churn"),
            monitoring("Revenue retention", "mrrretention", "nrr", "grr", "quick ratio"),
            monitoring("Lifetime value", "lifetimevalue", "ltv"),
            monitoring("Forecast", "forecast", "next 30 days"),
            monitoring("Renewals", "renewal", "what is to come"),
            monitoring("Customers of a cohort", "retentioncustomer"),
        ),
    ),
    Place(
        "Stripe",
        "webhook",
        (
            Page("Webhook events", "webhookevent", also=("inbox", "retry webhooks")),
            monitoring("Failed events", "failedwebhookevent", "dead", "given up"),
            Page("Differences", "difference", also=("repair", "drift")),
            Page("Reconciliations", "reconciliationrun", also=("compare", "sync")),
            Page("Requests to Stripe", "striperequest", also=("outbox", "pending")),
            Page("Replays", "replayrun"),
        ),
    ),
    Place(
        "System",
        "monitor_heart",
        (
            monitoring("System health", "systemhealth", "checks", "status"),
            monitoring("Jobs", "jobschedule", "schedules", "run a job"),
            monitoring("Job runs", "jobrun", "history of jobs"),
            monitoring("Workers", "workerheartbeat", "queue"),
            Page("Failed tasks", "failure", "django_q", ("queue",)),
            Page("Backups", "backuprun", "database", ("restore", "drill")),
            monitoring("Thresholds", "healthcheck", "limits of checks"),
        ),
        acts=OPERATING,
    ),
    Place(
        "Database",
        "database",
        (
            monitoring("Sizes", "databasesize", "disk", "tables"),
            monitoring("Connections", "databasesession", "sessions", "locks", "end session"),
            monitoring("Connections used", "databaseconnections"),
            monitoring("Long running queries", "longrunningquery", "slow queries"),
            monitoring("Top queries", "topquery", "pg_stat_statements"),
            monitoring("Indexes", "indexfinding", "unused", "duplicate"),
            monitoring("Schema differences", "schemadifference", "verify", "drift"),
        ),
        acts=OPERATING,
    ),
    Place(
        "Audit",
        "history",
        (
            Page("Audit log", "auditentry", "audit", ("who did what", "changes")),
            Page("Approvals", "approval", "approval", ("four eyes", "erase", "decide")),
            Page("Failed authentication", "authenticationfailure", "web", ("sign-in", "lockout")),
        ),
        acts=(*OPERATING, "billing.refund_payment"),
    ),
)


SEARCH_BOX = {
    "url": "admin:billing_user_find",
    "permission": "billing.view_user",
    "label": "E-mail, name, or any id",
    "offer": "Search for a customer",
}

# What the command palette finds beside pages.
PALETTE = ("monitoring.admin.job.palette", "billing.admin.search.palette")

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
    "COMMAND": {"search_models": False, "search_callback": "glyphforge.admin.palette.find", "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "",
                "items": [
                    {"title": "Home", "icon": "space_dashboard", "link": reverse_lazy("admin:index")},
                    *(place.as_item() for place in PLACES),
                ],
            }
        ],
    },
    "TABS": [place.as_tabs() for place in PLACES],
}
