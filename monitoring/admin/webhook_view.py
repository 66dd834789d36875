"""The page of the Stripe events that failed, with the button that tries them again."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from billing.admin.event_operations import RetryWebhooks
from billing.models import WebhookEvent
from glyphforge.admin.columns import EMPTY, badge_column, moment, number
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.models import FailedWebhookEvent


class CauseFilter(admin.FieldListFilter):
    """The events of one cause, to which an alert leads; shown only while it is used."""

    def expected_parameters(self) -> list[str | None]:
        return [self.field_path]

    def has_output(self) -> bool:
        return bool(self.used_parameters)

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"selected": False, "query_string": changelist.get_query_string({}, [self.field_path]), "display": "All"}
        yield {"selected": True, "query_string": changelist.get_query_string(), "display": "Those of one alert"}


@admin.register(FailedWebhookEvent)
class FailedWebhookEventAdmin(ViewAdmin):
    """Events that failed or were given up, with the button that tries them again."""

    state = badge_column("status", WebhookEvent.Status, description="status", ordering="status")
    received = rendered("received_at", moment, description="received")
    next_retry = rendered("next_retry_at", moment, description="next try")
    tries = rendered("attempts", number, description="attempts")
    fixes = (RetryWebhooks(),)
    list_display = ("stripe_event_id", "event", "state", "tries", "error", "next_retry", "received")
    list_filter = ("status", ("cause", CauseFilter))
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
