import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.models import AuditEntry
from glyphforge.display import EMPTY, column, copyable, copyable_column, moment_column
from glyphforge.keyset import KeysetModelAdmin

PAGES = {
    "users": "billing_user",
    "subscriptions": "billing_subscription",
    "api_keys": "billing_apikey",
    "plans": "billing_plan",
    "plan_prices": "billing_planprice",
    "payment_history": "billing_payment",
}
EVENTS = "stripe_webhook_events"
TABLES = (*PAGES, EVENTS)


def changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """What changed: `(column, before, after)`, in the order of the columns' names."""
    old, new = entry.old_values or {}, entry.new_values or {}
    return [(name, _shown(old.get(name)), _shown(new.get(name))) for name in sorted(old.keys() | new.keys())]


def page_of(entry: AuditEntry) -> str | None:
    """The page of the row that was changed; None where there is none."""
    if entry.row_id is None or entry.action == "delete":
        return None
    if entry.table_name == EVENTS:  # written by Stripe's id
        return reverse("admin:billing_webhookevent_changelist", query={"q": entry.row_id})
    page = PAGES.get(entry.table_name)
    return reverse(f"admin:{page}_change", args=[quote(entry.row_id)]) if page else None


def _shown(value: Any) -> str:
    if value is None:
        return EMPTY
    return value if isinstance(value, str) else json.dumps(value)


class TableFilter(admin.SimpleListFilter):
    """The table that was changed."""

    title = "table"
    parameter_name = "table_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name.replace("_", " ")) for name in TABLES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(table_name=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(KeysetModelAdmin):
    """Who changed what, when and why. Nobody can change it, here or in the database."""

    when = moment_column("occurred_at", description="when")
    table = column("table_name", str, description="table")
    origin = copyable_column("request_id", description="request")

    list_display = ("when", "actor", "action", "table", "row", "summary", "reason")
    list_filter = (TableFilter,)
    keyset = ("occurred_at", "id")
    search_fields = ("row_id",)
    search_help_text = "A row's id or an actor, exactly"
    fieldsets = (
        (None, {"fields": ("when", "actor", "action", "reason")}),
        ("What", {"fields": ("table", "row", "before_and_after")}),
        ("Origin", {"fields": ("origin", "id")}),
    )
    readonly_fields = ("when", "table", "row", "before_and_after", "origin")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        # The index on rows begins with the table.
        return queryset.filter(Q(table_name__in=TABLES, row_id=term) | Q(actor=term)), False

    @admin.display(description="row")
    def row(self, obj: AuditEntry) -> str:
        return copyable(obj.row_id, page_of(obj))

    @admin.display(description="changed")
    def summary(self, obj: AuditEntry) -> str:
        if obj.action == "insert":
            return "a new row"
        names = [name for name, _, _ in changes(obj)]
        shown = ", ".join(names[:3])
        return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or EMPTY

    @admin.display(description="before and after")
    def before_and_after(self, obj: AuditEntry) -> str:
        lines = "\n".join(f"{name}: {before} → {after}" for name, before, after in changes(obj))
        return format_html('<pre class="gf-json" tabindex="0">{}</pre>', lines or "nothing")
