"""The page of the Stripe events that failed, with the button that tries them again."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import Count, Min, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.admin.event_operations import RetryWebhooks
from billing.models import WebhookEvent
from glyphforge.admin.columns import EMPTY, badge_column, moment, number
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.models import FailedWebhookEvent

CAUSES_OFFERED = 20
LONGEST_CAUSE = 80


class CauseFilter(SimpleListFilter):
    """Events whose errors differ in ids and numbers only: the most frequent causes, each by one of its errors."""

    title = "cause"
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = FailedWebhookEvent.objects.values("cause").annotate(events=Count("pk"), error=Min("last_error"))
        return [
            (row["cause"], f"{(row['error'] or 'No error noted')[:LONGEST_CAUSE]} ({row['events']:,})")
            for row in found.order_by("-events", "cause")[:CAUSES_OFFERED]
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[FailedWebhookEvent]) -> QuerySet[FailedWebhookEvent]:
        return queryset.filter(cause=self.value()) if self.value() else queryset


@admin.register(FailedWebhookEvent)
class FailedWebhookEventAdmin(ViewAdmin):
    """Events that failed or were given up, with the button that tries them again."""

    state = badge_column("status", WebhookEvent.Status, description="status", ordering="status")
    received = rendered("received_at", moment, description="received")
    next_retry = rendered("next_retry_at", moment, description="next try")
    tries = rendered("attempts", number, description="attempts")
    fixes = (RetryWebhooks(),)
    list_display = ("stripe_event_id", "event", "state", "tries", "error", "next_retry", "received")
    list_filter = ("status", CauseFilter)
    repeated = ("last_error", "cause")
    ordering = ("-received_at",)
    nothing = "Every event is processed"
    search_fields = ("stripe_event_id__exact", "event_type__startswith")
    search_help_text = "Stripe event, or a type (its beginning)"

    @admin.display(description="last error")
    def error(self, obj: FailedWebhookEvent) -> str:
        if not obj.last_error:
            return EMPTY
        return format_html('<span class="gf-clip" title="{}">{}</span>', obj.last_error, obj.last_error)

    @admin.display(description="in the inbox", ordering="event_type")
    def event(self, obj: FailedWebhookEvent) -> str:
        inbox = reverse("admin:billing_webhookevent_changelist")
        return format_html('<a class="gf-link" href="{}?q={}">{}</a>', inbox, obj.stripe_event_id, obj.event_type)
