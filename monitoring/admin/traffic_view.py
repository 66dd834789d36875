"""Requests: who sends many, who fails, what is slow, how days and keys compare."""

from django.contrib import admin

from billing.admin import tones
from glyphforge.display import badge_column, moment, number
from glyphforge.pagination import EstimatedPaginator
from monitoring.admin.view import ViewAdmin, customer, linked, rendered
from monitoring.models import ApiKeyUsage, ApiUsageDay, HighVolumeUser, RepeatedFailure, SlowEndpoint


@admin.register(HighVolumeUser)
class HighVolumeUserAdmin(ViewAdmin):
    """The hundred customers with the most requests; suspend or revoke on the customer's page."""

    who = customer()
    state = badge_column("user_status", tones.CUSTOMER, description="status", ordering="user_status")
    last_hour = rendered("requests_last_hour", number, description="last hour")
    last_day = rendered("requests_last_24h", number, description="last 24 h")
    failed = rendered("failed_last_24h", number, description="failed, 24 h")
    list_display = ("user_id", "who", "tier", "state", "last_hour", "last_day", "failed")
    list_filter = ("tier", "user_status")
    ordering = ("-requests_last_hour", "-requests_last_24h")
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"


@admin.register(RepeatedFailure)
class RepeatedFailureAdmin(ViewAdmin):
    """Customers who keep failing at an endpoint."""

    who = customer()
    last = rendered("last_failure_at", moment, description="last failure")
    list_display = ("endpoint", "who", "failures_last_hour", "last_status_code", "last")
    list_filter = ("last_status_code",)
    ordering = ("-failures_last_hour",)
    search_fields = ("email__istartswith", "endpoint__startswith")
    search_help_text = "E-mail or endpoint"


@admin.register(SlowEndpoint)
class SlowEndpointAdmin(ViewAdmin):
    """Response times over the last day."""

    count = rendered("requests", number, description="requests")
    list_display = ("endpoint", "method", "count", "avg_ms", "p95_ms", "p99_ms", "max_ms")
    list_filter = ("method",)
    ordering = ("-p95_ms",)
    search_fields = ("endpoint__startswith",)
    search_help_text = "Endpoint (its beginning)"


@admin.register(ApiUsageDay)
class ApiUsageDayAdmin(ViewAdmin):
    """The last 30 days."""

    count = rendered("requests", number, description="requests")
    failed = rendered("failed_requests", number, description="failed")
    users = rendered("active_users", number, description="active users")
    list_display = ("day", "count", "failed", "error_percent", "avg_ms", "users")
    ordering = ("-day",)


@admin.register(ApiKeyUsage)
class ApiKeyUsageAdmin(ViewAdmin):
    """What each key is used for; a key is revoked on its own page."""

    paginator = EstimatedPaginator  # a row for each key there is: never read whole
    key = linked("key_prefix", "billing_apikey", to="api_key_id", description="key")
    owner = linked("user_id", "billing_user", description="customer")
    last_day = rendered("requests_last_24h", number, description="last 24 h")
    this_month = rendered("requests_this_month", number, description="this month")
    ever = rendered("usage_count", number, description="ever")
    used = rendered("last_used_at", moment, description="last used")
    revoked = rendered("revoked_at", moment, description="revoked")
    list_display = ("api_key_id", "key", "owner", "environment", "last_day", "this_month", "ever", "used", "revoked")
    list_filter = ("environment",)
    sortable_by = ()  # any other order would take every key's last 24 hours, seconds of work
    list_per_page = 25  # finding the busiest among all keys leaves less time than elsewhere for drawing them
    ordering = ("-requests_this_month", "api_key_id")
    search_fields = ("key_prefix__startswith", "name__istartswith")
    search_help_text = "Key (its beginning) or name"
