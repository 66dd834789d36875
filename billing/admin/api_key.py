"""The pages of API keys, with what may be done to a key."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.key_operations import ReportLeakedKey, RevokeKey, RotateKey
from billing.admin.new_key import new_key
from billing.keys import format as key_format
from billing.models import ApiKey
from glyphforge.admin.columns import badge, badge_column, column, copyable_column, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.choices import Tone


def key_state(key: ApiKey) -> SafeString:
    """Whether the key may be used, and if not, why."""
    if key.revoked_at:
        return badge("Revoked", Tone.DANGER)
    if key.is_expired:
        return badge("Replaced" if key.replaced_at else "Expired", Tone.WARNING)
    if key.replaced_at:
        return badge(f"Replaced, works until {key.expires_at:%Y-%m-%d %H:%M} UTC", Tone.INFO)
    return badge("Usable", Tone.SUCCESS)


class RevokedFilter(admin.SimpleListFilter):
    """Revoked or not; a partial index serves each side."""

    title = "revoked"
    parameter_name = "revoked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "No"), ("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        if self.value() in ("no", "yes"):
            return queryset.filter(revoked_at__isnull=self.value() == "no")
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """Customers' API keys: what they are recognised by, never what they are."""

    operations = (RotateKey(), RevokeKey(), ReportLeakedKey())
    customer = customer_column()
    prefix = copyable_column("key_prefix", description="begins with")
    kind = badge_column("environment", ApiKey.Environment, description="environment")
    requests = column("usage_count", number, description="requests")
    row_id = copyable_column("id", description="id")
    last_used = moment_column("last_used_at", description="last used")
    expires = moment_column("expires_at", description="expires")
    revoked = moment_column("revoked_at", description="revoked")
    created = moment_column("created_at", description="created", ordering="created_at")

    list_display = ("key", "customer", "name", "kind", "state", "requests", "last_used", "created")
    list_filter = ("environment", RevokedFilter)
    linked_by = ("user__id__exact",)
    list_select_related = ("user",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    search_help_text = "Customer's e-mail or the beginning of a key"
    fieldsets = (
        (None, {"fields": ("customer", "name", "prefix", "kind", "state")}),
        ("Use", {"fields": ("requests", "last_used", "expires")}),
        ("Revocation", {"fields": ("revoked", "revoked_reason")}),
        ("Ids", {"fields": ("row_id", "created")}),
    )
    readonly_fields = (
        "customer",
        "prefix",
        "kind",
        "state",
        "requests",
        "last_used",
        "expires",
        "revoked",
        "row_id",
        "created",
    )

    @admin.display(description="key")
    def key(self, obj: ApiKey) -> str:
        return f"{obj.key_prefix}…"

    @admin.display(description="state")
    def state(self, obj: ApiKey) -> SafeString:
        return key_state(obj)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(new_key)
        return [path("new/<str:name>/", view, name="billing_apikey_new_key"), *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if term.startswith(key_format.BEGINS):
            # A whole key may have been pasted: only its beginning is stored.
            return queryset.filter(key_prefix__startswith=key_format.prefix_of(term) or term), False
        return super().get_search_results(request, queryset, search_term)
