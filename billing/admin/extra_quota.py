"""The pages of extra quota and of corrected usage: who was given what, by whom, why and until when."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.quota_operations import EndExtraQuota
from billing.models import ExtraQuota, UsageCorrection
from glyphforge.admin.columns import EMPTY, choice_badge, column, copyable_column, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin


class StateFilter(SimpleListFilter):
    """By the clock: what is in force, to come, or over."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in ExtraQuota.State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ExtraQuota]) -> QuerySet[ExtraQuota]:
        now = Now()
        wanted = {
            ExtraQuota.State.UPCOMING: {"starts_at__gt": now},
            ExtraQuota.State.IN_FORCE: {"starts_at__lte": now, "ends_at__gt": now},
            ExtraQuota.State.ENDED: {"ends_at__lte": now},
        }
        return queryset.filter(**wanted.get(self.value(), {}))  # type: ignore[call-overload]


def state(obj: ExtraQuota) -> SafeString:
    """Whether it is in force, as a badge."""
    return choice_badge(obj.state_at(timezone.now()))


@admin.register(ExtraQuota)
class ExtraQuotaAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """What customers may use beyond their plan."""

    operations = (EndExtraQuota(),)
    customer = customer_column()
    requests = column("extra_requests", number, description="requests a month")
    per_minute = column("extra_per_minute", number, description="requests a minute")
    begins = moment_column("starts_at", description="from")
    ends = moment_column("ends_at", description="until")
    created = moment_column("created_at", description="granted", ordering="created_at")
    row_id = copyable_column("id", description="id")

    list_display = ("given", "current", "customer", "key", "ends", "granted_by", "created")
    list_filter = (StateFilter,)
    list_select_related = ("user", "api_key")
    linked_by = ("user__id__exact",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    search_help_text = "A customer's e-mail (its beginning)"
    fields = (
        "customer", "current", "requests", "per_minute", "key", "begins", "ends", "reason", "granted_by", "created",
        "row_id",
    )  # fmt: skip
    readonly_fields = ("customer", "current", "requests", "per_minute", "key", "begins", "ends", "created", "row_id")

    @admin.display(description="extra quota")
    def given(self, obj: ExtraQuota) -> str:
        return str(obj).partition(" until ")[0]

    @admin.display(description="state")
    def current(self, obj: ExtraQuota) -> SafeString:
        return state(obj)

    @admin.display(description="key")
    def key(self, obj: ExtraQuota) -> str:
        return f"{obj.api_key.key_prefix}…" if obj.api_key else "all keys"


@admin.register(UsageCorrection)
class UsageCorrectionAdmin(SearchByCustomerMixin, ReadOnlyModelAdmin):
    """What of customers' usage was corrected; never changed, only added to."""

    customer = customer_column()
    of_month = column("month", lambda month: f"{month:%Y-%m}", description="month")
    signed = column("requests", lambda requests: f"{requests:+,}", description="requests")
    created = moment_column("created_at", description="when", ordering="created_at")
    row_id = copyable_column("id", description="id")

    list_display = ("signed", "of_month", "customer", "reason", "made_by", "created")
    list_select_related = ("user",)
    linked_by = ("user__id__exact",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    search_help_text = "A customer's e-mail (its beginning)"
    fields = ("customer", "of_month", "signed", "key", "reason", "made_by", "created", "row_id")
    readonly_fields = ("customer", "of_month", "signed", "key", "created", "row_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageCorrection]:
        queryset: QuerySet[UsageCorrection] = super().get_queryset(request)
        # No foreign key: the key may be gone.
        return queryset.annotate(key_prefix=F("api_key__key_prefix"))

    @admin.display(description="about")
    def key(self, obj: Any) -> str:
        return f"{obj.key_prefix}…" if obj.key_prefix else EMPTY
