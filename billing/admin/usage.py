"""The list of single API requests, paged by time because the table has too many rows to count."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.customer_link import customer_column
from billing.models import ApiUsage
from glyphforge.admin.columns import EMPTY, badge, column, moment_column, number
from glyphforge.admin.keyset import KeysetModelAdmin
from glyphforge.choices import Tone


@admin.register(ApiUsage)
class ApiUsageAdmin(KeysetModelAdmin):
    """Single requests to the API, newest first; usually those of one customer or key."""

    customer = customer_column()
    when = moment_column("created_at", description="when")
    took = column("response_time_ms", lambda value: f"{number(value)} ms", description="took")
    address = column("ip_address", lambda value: value or EMPTY, description="IP address")

    list_display = ("when", "method", "endpoint", "answer", "took", "customer", "address", "error_message")
    keyset = ("created_at", "id")
    linked_by = ("user__id__exact", "api_key_id__exact")
    list_display_links = None  # a request has no page of its own

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiUsage]:
        queryset: QuerySet[ApiUsage] = super().get_queryset(request)
        return queryset.prefetch_related("user")  # after the page is found: a join could change the way to it

    @admin.display(description="answer")
    def answer(self, obj: ApiUsage) -> SafeString:
        tone = Tone.SUCCESS if obj.status_code < 400 else Tone.WARNING if obj.status_code < 500 else Tone.DANGER
        return badge(str(obj.status_code), tone)
