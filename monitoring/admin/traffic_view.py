"""Requests: who sends many, who fails, what is slow, how days and keys compare."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin.customer_link import customer_url
from billing.models import ApiKey, Tier, User
from glyphforge.admin.columns import EMPTY, badge_column, moment, number, percent
from glyphforge.admin.pagination import EstimatedPaginator
from monitoring.admin.view import ViewAdmin, customer, linked, rendered
from monitoring.models import ApiKeyUsage, ApiUsageDay, HighVolumeUser, RepeatedFailure, SlowEndpoint


@admin.register(HighVolumeUser)
class HighVolumeUserAdmin(ViewAdmin):
    """The hundred customers with the most requests; suspend or revoke on the customer's page."""

    who = customer()
    state = badge_column("user_status", User.Status, description="status", ordering="user_status")
    last_hour = rendered("requests_last_hour", number, description="last hour")
    last_day = rendered("requests_last_24h", number, description="last 24 h")
    failed = rendered("failed_last_24h", number, description="failed, 24 h")
    plan = badge_column("tier", Tier, description="plan", ordering="tier")
    list_display = ("who", "plan", "state", "last_hour", "last_day", "failed")
    list_display_links = None
    list_filter = ("tier", "user_status")
    ordering = ("-requests_last_hour", "-requests_last_24h")
    nothing = "No requests in the last day"
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"


@admin.register(RepeatedFailure)
class RepeatedFailureAdmin(ViewAdmin):
    """Customers who keep failing at an endpoint."""

    who = customer()
    last = rendered("last_failure_at", moment, description="last failure")
    failures = rendered("failures_last_hour", number, description="failures last hour")
    list_display = ("endpoint", "who", "failures", "last_status_code", "last")
    list_filter = ("last_status_code",)
    ordering = ("-failures_last_hour",)
    nothing = "Nobody keeps failing"
    search_fields = ("email__istartswith", "endpoint__startswith")
    search_help_text = "E-mail or endpoint"


@admin.register(SlowEndpoint)
class SlowEndpointAdmin(ViewAdmin):
    """Response times over the last day."""

    count = rendered("requests", number, description="requests")
    mean = rendered("avg_ms", number, description="mean, ms")
    slower_than_95 = rendered("p95_ms", number, description="95 %, ms")
    slower_than_99 = rendered("p99_ms", number, description="99 %, ms")
    slowest = rendered("max_ms", number, description="slowest, ms")
    list_display = ("endpoint", "method", "count", "mean", "slower_than_95", "slower_than_99", "slowest")
    list_filter = ("method",)
    ordering = ("-p95_ms",)
    nothing = "No requests in the last day"
    search_fields = ("endpoint__startswith",)
    search_help_text = "Endpoint (its beginning)"


@admin.register(ApiUsageDay)
class ApiUsageDayAdmin(ViewAdmin):
    """The last 30 days."""

    count = rendered("requests", number, description="requests")
    failed = rendered("failed_requests", number, description="failed")
    users = rendered("active_users", number, description="active customers")
    date = rendered("day", str, description="day")
    errors = rendered("error_percent", percent, description="errors")
    mean = rendered("avg_ms", lambda value: EMPTY if value is None else f"{number(value)} ms", description="mean")
    list_display = ("date", "count", "failed", "errors", "mean", "users")
    ordering = ("-day",)


@admin.register(ApiKeyUsage)
class ApiKeyUsageAdmin(ViewAdmin):
    """What each key is used for; a key is revoked on its own page."""

    paginator = EstimatedPaginator  # a row for each key there is: never read whole
    key = linked("key_prefix", "billing_apikey", to="api_key_id", description="key")
    kind = badge_column("environment", ApiKey.Environment, description="environment", ordering="environment")
    last_day = rendered("requests_last_24h", number, description="last 24 h")
    this_month = rendered("requests_this_month", number, description="this month")
    ever = rendered("usage_count", number, description="ever")
    used = rendered("last_used_at", moment, description="last used")
    revoked = rendered("revoked_at", moment, description="revoked")
    list_display = ("key", "owner", "kind", "last_day", "this_month", "ever", "used", "revoked")
    list_display_links = None
    list_filter = ("environment",)
    sortable_by = ()  # any other order would take every key's last 24 hours, seconds of work
    list_per_page = 25  # finding the busiest among all keys leaves less time than elsewhere for drawing them
    ordering = ("-requests_this_month", "api_key_id")
    search_fields = ("key_prefix__startswith", "name__istartswith")
    search_help_text = "Key (its beginning) or name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKeyUsage]:
        queryset: QuerySet[ApiKeyUsage] = super().get_queryset(request)
        # No join: the page is found first, then the addresses of its few rows.
        return queryset.annotate(email=Subquery(User.objects.filter(pk=OuterRef("user_id")).values("email")))

    @admin.display(description="customer", ordering="user_id")
    def owner(self, obj: Any) -> str:
        return format_html('<a class="gf-link" href="{}">{}</a>', customer_url(obj.user_id), obj.email or obj.user_id)
