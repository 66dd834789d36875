"""The inbox of Stripe's events: search, content, retry and replay."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin.event_operations import Replay, RetryWebhooks
from billing.admin.stripe_links import stripe_id_column
from billing.models import WebhookEvent
from billing.services import search
from billing.stripe.events.filter import of_customers
from glyphforge.admin.columns import EMPTY, badge_column, copyable_column, moment_column, preformatted, yes_no_column
from glyphforge.admin.keyset import KeysetModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.audit.masking import mask_values


@admin.register(WebhookEvent)
class WebhookEventAdmin(OperationsMixin, KeysetModelAdmin):
    """The events that Stripe sent, and how far their processing is."""

    operations = (RetryWebhooks(), Replay())
    state = badge_column("status", WebhookEvent.Status, description="status")
    stripe_event = stripe_id_column("stripe_event_id", description="Stripe event")
    received = moment_column("received_at", description="received")
    started = moment_column("processing_started_at", description="started")
    processed = moment_column("processed_at", description="processed")
    next_retry = moment_column("next_retry_at", description="next try")
    live = yes_no_column("livemode", description="live mode")
    row_id = copyable_column("id", description="id")

    list_display = ("stripe_event_id", "event_type", "state", "attempts", "received", "error")
    list_filter = ("status",)
    keyset = ("received_at", "stripe_event_id")
    search_fields = ("stripe_event_id",)
    search_help_text = "A Stripe event, a type (its beginning), or Stripe customers"
    fieldsets = (
        (None, {"fields": ("stripe_event", "event_type", "state", "attempts", "last_error")}),
        ("Times", {"fields": ("received", "started", "processed", "next_retry")}),
        ("Content", {"fields": ("api_version", "live", "content")}),
        ("Ids", {"fields": ("row_id",)}),
    )
    readonly_fields = (
        "stripe_event",
        "state",
        "received",
        "started",
        "processed",
        "next_retry",
        "live",
        "content",
        "row_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        queryset: QuerySet[WebhookEvent] = super().get_queryset(request)
        # The payloads of a page of events are megabytes that only the detail page shows.
        return queryset.defer("payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search.cleaned(search_term)
        if term.startswith("evt_"):
            return queryset.filter(search.starting("stripe_event_id", term)), False
        if term.startswith("cus_"):
            named = [whole for part in search.stripe_ids(term) for whole in search.customer_ids(part)]
            return queryset.filter(of_customers(named)), False
        return (queryset.filter(event_type__startswith=term) if term else queryset), False

    @admin.display(description="last error")
    def error(self, obj: WebhookEvent) -> str:
        if not obj.last_error:
            return EMPTY
        return format_html('<span class="gf-clip" title="{}">{}</span>', obj.last_error, obj.last_error)

    @admin.display(description="payload")
    def content(self, obj: WebhookEvent) -> str:
        return preformatted(json.dumps(mask_values(obj.payload), indent=2))
