from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.customer_link import customer_url
from billing.models import ApiUsage
from glyphforge.display import EMPTY, Tone, badge, column, moment_column, number
from glyphforge.keyset import KeysetModelAdmin


@admin.register(ApiUsage)
class ApiUsageAdmin(KeysetModelAdmin):
    """Single requests to the API, newest first; usually those of one customer or key."""

    when = moment_column("created_at", description="when")
    took = column("response_time_ms", lambda value: f"{number(value)} ms", description="took")

    address = column("ip_address", lambda value: value or EMPTY, description="IP address")

    list_display = ("when", "method", "endpoint", "answer", "took", "customer", "address", "error_message")
    keyset = ("created_at", "id")
    list_display_links = None  # a request has no page of its own

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiUsage]:
        queryset: QuerySet[ApiUsage] = super().get_queryset(request)
        return queryset.prefetch_related("user")  # after the page is found: a join could change the way to it

    @admin.display(description="answer")
    def answer(self, obj: ApiUsage) -> SafeString:
        tone = Tone.SUCCESS if obj.status_code < 400 else Tone.WARNING if obj.status_code < 500 else Tone.DANGER
        return badge(str(obj.status_code), tone)

    @admin.display(description="customer")
    def customer(self, obj: ApiUsage) -> str:
        return format_html('<a class="gf-link" href="{}">{}</a>', customer_url(obj.user_id), obj.user)
